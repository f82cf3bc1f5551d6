"""Two read-only directories shown as one: by overlayfs, or by links where the kernel refuses it.

overlayfs takes no directory below which something is mounted that this user namespace may not unmount (EINVAL),
for instance a file of /usr/bin that an administrator or a container engine hid. Then the lower directory is bound
elsewhere, with what is mounted in it, and the target becomes a tmpfs of links to it and of copies of the upper one.
Source: mount_namespaces(7) on locked mounts, Documentation/filesystems/overlayfs. Standard library only.
"""

import errno
import os
import shutil
from dataclasses import dataclass

from lateen.cluster.sandbox import kernel

_FLAGS = kernel.MS_NOSUID | kernel.MS_NODEV


@dataclass(frozen=True)
class Stash:
    """Where the lower directory is bound if there is no overlay: the path now, and in the finished root."""

    path: str
    final_path: str


def unite(upper: str, lower: str, target: str, stash: Stash) -> None:
    """Show both directories at `target`, read-only, entries of `upper` first; raises OSError."""
    try:
        _overlay(upper, lower, target)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        _link(upper, lower, target, stash)


def _overlay(upper: str, lower: str, target: str) -> None:
    layers = ":".join(path.replace("\\", "\\\\").replace(":", "\\:") for path in (upper, lower))
    options = "lowerdir=" + layers.replace(",", "\\,")
    kernel.mount("overlay", target, "overlay", _FLAGS | kernel.MS_RDONLY, options)


def _link(upper: str, lower: str, target: str, stash: Stash) -> None:
    os.makedirs(stash.path)
    kernel.mount(lower, stash.path, None, kernel.MS_BIND | kernel.MS_REC)
    kernel.mount("tmpfs", target, "tmpfs", _FLAGS, "mode=0755")
    for name in os.listdir(stash.path):
        os.symlink(f"{stash.final_path}/{name}", f"{target}/{name}")
    for entry in os.scandir(upper):
        place = f"{target}/{entry.name}"
        if os.path.lexists(place):
            os.unlink(place)
        if entry.is_dir(follow_symlinks=False):
            shutil.copytree(entry.path, place, symlinks=True)
        else:
            shutil.copy(entry.path, place, follow_symlinks=False)
    kernel.restrict_mount(target, kernel.MOUNT_ATTR_RDONLY, recursive=False)
