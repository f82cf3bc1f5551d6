"""Images that a user added: name -> the command of this machine that stands for it.

`UserImages(file)` adds, removes and lists; the node reads the file when a container starts, so an entry counts from
the next start on and stays over restarts of the cluster.
Invariants: the file is replaced whole, so a reader sees the old or the new one; a file that is not ours is an error
that names it, never an empty list.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from lateen.base.errors import DataError, NotFoundError, UsageError
from lateen.cluster.images import Image, build_command, is_proxy, parse_repository

FILE_NAME = "images.json"
_TOOLS = ("curl", "nc", "wget")


@dataclass(frozen=True)
class UserImage:
    """A command, and the directory of this machine that it needs besides /usr (read-only, its working directory)."""

    command: tuple[str, ...]
    directory: str = ""


class UserImages:
    """The user's entries of one cluster."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> dict[str, UserImage]:
        """All entries by name; raises DataError when the file cannot be understood."""
        try:
            document = json.loads(self._path.read_text())
            return {
                str(name): UserImage(tuple(map(str, entry["command"])), str(entry.get("directory", "")))
                for name, entry in document.items()
            }
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, AttributeError, KeyError, TypeError) as error:
            raise DataError(
                f"{self._path} cannot be read as a list of images: {error}", fix="correct the file, or remove it"
            ) from error

    def images(self) -> Mapping[str, Image]:
        """The entries as the node runs them."""
        commands = {name: build_command(name) for name in _TOOLS}
        return {
            name: Image(entry.command, commands=commands, directory=entry.directory)
            for name, entry in self.read().items()
        }

    def add(self, name: str, entry: UserImage) -> str:
        """Add or replace an entry; returns the name it stands under, which has no registry and no tag."""
        repository = parse_repository(name)
        if not repository or any(character.isspace() for character in repository):
            raise UsageError(f"{name!r} is no image name", fix="give it as in `image:` of a pod, such as my-app:1.0")
        if is_proxy(name):
            raise UsageError(f"{name!r} is Istio's proxy, which always runs the Envoy of this installation")
        if not entry.command:
            raise UsageError("the command is missing", fix="for example `lateen image add my-app -- python3 app.py`")
        self._write({**self.read(), repository: entry})
        return repository

    def remove(self, name: str) -> str:
        """Remove an entry; raises NotFoundError when there is none."""
        entries, repository = self.read(), parse_repository(name)
        if repository not in entries:
            known = ", ".join(sorted(entries)) or "none"
            raise NotFoundError(f"no image {repository!r} was added here", fix=f"added are: {known}")
        del entries[repository]
        self._write(entries)
        return repository

    def _write(self, entries: Mapping[str, UserImage]) -> None:
        document = {
            name: {"command": list(entry.command)} | ({"directory": entry.directory} if entry.directory else {})
            for name, entry in sorted(entries.items())
        }
        draft = self._path.with_suffix(f".{os.getpid()}.new")
        draft.write_text(json.dumps(document, indent=1) + "\n")
        draft.replace(self._path)
