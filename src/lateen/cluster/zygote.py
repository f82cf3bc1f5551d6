"""The zygote: a process forked before anything heavy is imported, from which every pod descends.

Flow: `fork_zygote()` (first thing in the daemon) -> new user, pid, mount and network namespace -> node-init ->
`ZygoteHandle`, the daemon's end of node-init's channel.
Invariants: standard library only and one thread, because `unshare(CLONE_NEWUSER)` is EINVAL with two; every module
that a pod's processes need is imported before the fork, since they later have no host file system to import from.
When the daemon ends, however it ends, the channel closes and the kernel kills the whole pid namespace.
"""

import gc
import os
import signal
import socket
import traceback

from lateen.cluster.sandbox import kernel, node_init
from lateen.cluster.sandbox.channel import Channel, Message, open_channel_pair

BRIDGE_ADDRESS = "10.244.0.1"
POD_PREFIX = 16
DNS_ADDRESS = "10.96.0.10"
SERVICE_NETWORK = ("10.96.0.0", 16)  # also apiserver/service_addresses.py, which allocates from it
_FIRST_DESCRIPTOR = 3


class ZygoteHandle:
    """The daemon's side: a socket to node-init and the pid to wait for."""

    def __init__(self, pid: int, channel: socket.socket) -> None:
        self.pid = pid
        self.channel = channel

    def close(self) -> None:
        """End node-init and every pod; returns when no process of theirs is left."""
        self.channel.close()
        if self.pid:
            os.waitpid(self.pid, 0)
            self.pid = 0


def fork_zygote(
    *, gateway: str = BRIDGE_ADDRESS, prefix: int = POD_PREFIX, addresses: tuple[str, ...] = (DNS_ADDRESS,)
) -> ZygoteHandle:
    """Fork the zygote and return at once; node-init's first message says `ready` or which step failed.

    Must be called by a process with one thread. `addresses` become local addresses of the node namespace.
    """
    network: Message = {
        "gateway": gateway,
        "prefix": prefix,
        "addresses": list(addresses),
        "services": list(SERVICE_NETWORK),
    }
    ours, theirs = open_channel_pair()
    pid = os.fork()
    if pid == 0:
        _become_zygote(theirs, network)
    theirs.close()
    return ZygoteHandle(pid, ours)


def _become_zygote(end: socket.socket, network: Message) -> None:
    """Never returns."""
    channel = Channel(end)
    try:
        kernel.die_with_parent(signal.SIGKILL)
        os.setsid()
        kernel.set_title("lateen: zygote")
        _close_all_but(end.fileno())
        gc.freeze()
        _fork_node_init(channel, network)
    except BaseException:
        os.write(2, f"zygote failed\n{traceback.format_exc()}".encode())
    finally:
        os._exit(1)


def _fork_node_init(channel: Channel, network: Message) -> None:
    user, group = os.geteuid(), os.getegid()
    try:
        kernel.set_dumpable(dumpable=True)
        kernel.unshare(node_init.NAMESPACES)
        kernel.map_user(0, 0, user, group)
        pid = os.fork()
    except OSError as error:
        channel.send({"event": "failed", "step": "enter the node's namespaces", "errno": error.errno})
        return
    if pid == 0:
        node_init.run(channel, network)
        os._exit(0)
    channel.close()
    kernel.set_dumpable(dumpable=False)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
        signal.signal(number, signal.SIG_IGN)
    os.waitpid(pid, 0)


def _close_all_but(kept: int) -> None:
    """Close what the daemon had open (its lock, its progress pipe); standard descriptors stay."""
    highest = os.sysconf("SC_OPEN_MAX")
    os.closerange(_FIRST_DESCRIPTOR, kept)
    os.closerange(kept + 1, highest)
