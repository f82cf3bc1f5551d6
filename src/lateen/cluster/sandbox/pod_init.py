"""Pid 1 of a pod: owns its namespaces, starts its containers, opens sockets inside its network namespace.

Flow: node-init forks it -> own user, mount, pid, net, ipc, uts and cgroup namespaces -> network -> loop over requests
of the node: `start`, `kill`, `signal`, `exec` (relayed to the container's pid 1), `rules`, `connect`, `listen`.
Invariants: it never blocks on an app: connects are begun here and finished by the node, which gets the socket; when
the node's channel closes it exits, and the kernel kills every process of the pod.
"""

import contextlib
import errno
import os
import signal
import socket
import traceback
from collections.abc import Iterator
from typing import Any

from lateen.cluster.network import nft
from lateen.cluster.sandbox import container_init, kernel, process
from lateen.cluster.sandbox.channel import Channel, Message, open_channel_pair
from lateen.cluster.sandbox.poll import Poller, ignore_terminal_signals, iterate_ended_children
from lateen.cluster.sandbox.root import StepFailed

# IPv6 is off until it is intercepted too; before any link exists, so that none gets an address.
PARAMETERS = (
    ("net/ipv6/conf/all/disable_ipv6", "1"),
    ("net/ipv6/conf/default/disable_ipv6", "1"),
    ("net/ipv4/ip_unprivileged_port_start", "0"),
    ("net/ipv4/ping_group_range", "0 0"),
)
NAMESPACES = (
    kernel.CLONE_NEWUSER
    | kernel.CLONE_NEWNS
    | kernel.CLONE_NEWPID
    | kernel.CLONE_NEWNET
    | kernel.CLONE_NEWIPC
    | kernel.CLONE_NEWUTS
    | kernel.CLONE_NEWCGROUP
)
_LISTEN_BACKLOG = 128


class _Container:
    def __init__(self, key: str, pid: int, channel: Channel, start: int) -> None:
        """`start` is the request that its pid 1 answers first."""
        self.key = key
        self.pid = pid
        self.channel = channel
        self.started = False
        self.exited = False
        self.unanswered = {start}

    def take(self, message: Message) -> None:
        """Note what its pid 1 says."""
        if "event" in message:
            self.exited = self.exited or message["event"] == "exited"
        else:
            self.started = self.started or "result" in message
            self.unanswered.discard(message["id"])


class PodInit:
    """The loop of one pod."""

    def __init__(self, node: Channel) -> None:
        self._node = node
        self._containers: dict[str, _Container] = {}
        self._own_pid_namespace = os.open("/proc/self/ns/pid", os.O_RDONLY | os.O_CLOEXEC)
        self._poller = Poller(self._reap)
        self._poller.add(node.fileno(), self._receive)

    def run(self) -> None:
        """Serve requests until the node is gone."""
        while True:
            self._poller.run_once()

    def _receive(self) -> None:
        messages = self._node.receive()
        if messages is None:
            os._exit(0)
        for message, descriptors in messages:
            try:
                self._handle(message, descriptors)
            except StepFailed as failed:
                self._refuse(message, failed.step, failed.number)
            except OSError as error:
                self._refuse(message, message["op"], error.errno or errno.EIO)
            except (ValueError, TypeError, OverflowError):
                # What no system call can be asked, such as a host name with a null character.
                self._refuse(message, message["op"], errno.EINVAL)
            finally:
                for descriptor in descriptors:
                    os.close(descriptor)

    def _refuse(self, message: Message, step: str, number: int) -> None:
        self._node.send({"id": message["id"], "error": {"step": step, "errno": number}})

    def _handle(self, message: Message, descriptors: list[int]) -> None:
        match message["op"]:
            case "start":
                self._start(message)
            case "signal" | "exec":
                container = self._find(message)
                container.channel.send(message, descriptors)
                container.unanswered.add(message["id"])
            case "kill":
                with contextlib.suppress(ProcessLookupError):
                    os.kill(self._find(message).pid, signal.SIGKILL)
                self._answer(message)
            case "rules":
                nft.apply(bytes.fromhex(message["batch"]), message["last"])
                self._answer(message)
            case "connect" | "listen":
                answer_socket(self._node, message)

    def _answer(self, message: Message) -> None:
        self._node.send({"id": message["id"], "result": {}})

    def _find(self, message: Message) -> _Container:
        container = self._containers.get(message["container"])
        if container is None:
            raise StepFailed("find the container", OSError(errno.ESRCH, os.strerror(errno.ESRCH)))
        return container

    def _start(self, message: Message) -> None:
        ours, theirs = open_channel_pair()
        # The container's pid namespace is for this one child; later children go to the pod's again.
        kernel.unshare(kernel.CLONE_NEWPID)
        try:
            pid = os.fork()
            if pid == 0:
                with _exit_after("container-init"):
                    self._poller.close()
                    ours.close()
                    self._node.close()
                    for other in self._containers.values():
                        other.channel.close()
                    container_init.run(Channel(theirs), message)
        finally:
            # Also when no process could be forked: the next container needs it.
            kernel.enter_namespace(self._own_pid_namespace, kernel.CLONE_NEWPID)
        theirs.close()
        container = _Container(message["container"], pid, Channel(ours), message["id"])
        self._containers[container.key] = container
        self._poller.add(container.channel.fileno(), lambda: self._relay(container))

    def _relay(self, container: _Container) -> bool:
        messages = container.channel.receive()
        for message, descriptors in messages or []:
            container.take(message)
            if "event" in message:
                message["container"] = container.key
            self._node.send(message, descriptors)
            for descriptor in descriptors:
                os.close(descriptor)
        if messages is None:
            self._poller.remove(container.channel.fileno())
        return messages is not None

    def _reap(self) -> None:
        for pid, code in iterate_ended_children():
            container = next((each for each in self._containers.values() if each.pid == pid), None)
            if container is None:
                continue
            while self._relay(container):
                pass
            for request in sorted(container.unanswered):
                self._refuse({"id": request}, "wait for the container", errno.ESRCH)
            if container.started and not container.exited:
                event: dict[str, Any] = {"event": "exited", "container": container.key, "code": code}
                self._node.send(event)
            container.channel.close()
            del self._containers[container.key]


def answer_socket(channel: Channel, message: Message) -> None:
    """Open the socket that a `connect` or `listen` request names and send it; connects are only begun."""
    kind = socket.SOCK_DGRAM if message.get("datagram") else socket.SOCK_STREAM
    with socket.socket(socket.AF_INET, kind | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK) as opened:
        # Names are the caller's to resolve: here that would keep the pod's requests waiting.
        address = (socket.inet_ntoa(socket.inet_pton(socket.AF_INET, message["host"])), message["port"])
        if message["op"] == "listen":
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            opened.bind(address)
            if kind == socket.SOCK_STREAM:
                opened.listen(_LISTEN_BACKLOG)
        else:
            if message.get("source"):
                opened.bind((message["source"], 0))
            begun = opened.connect_ex(address)
            if begun not in (0, errno.EINPROGRESS):
                raise StepFailed(f"connect to {address[0]}:{address[1]}", OSError(begun, os.strerror(begun)))
        channel.send({"id": message["id"], "result": {}}, [opened.fileno()])


@contextlib.contextmanager
def _exit_after(what: str) -> Iterator[None]:
    """End the forked process after the block, with its traceback in the daemon's log if it raises."""
    try:
        yield
    except BaseException:
        os.write(2, f"{what} failed\n{traceback.format_exc()}".encode())
    finally:
        os._exit(container_init.START_FAILED)


def enter_namespaces() -> None:
    """Make the pod's namespaces; the next fork is its pid 1."""
    # /proc/self/uid_map is ours to write only while we are dumpable.
    kernel.set_dumpable(dumpable=True)
    kernel.unshare(NAMESPACES)
    kernel.map_user(0, 0, 0, 0)


def prepare(host_name: str) -> None:
    """First half of being pid 1 of the pod, before its link exists."""
    os.setsid()
    kernel.set_title(f"lateen: pod {host_name}")
    ignore_terminal_signals()
    kernel.mount("none", "/", None, kernel.MS_REC | kernel.MS_PRIVATE)
    kernel.set_host_name(host_name)
    for name, value in PARAMETERS:
        kernel.set_kernel_parameter(name, value)
    # What counts by user spares processes of the machine's root, whose pods' roots they are.
    kernel.limit_processes(process.PROCESSES)


def run(node: Channel) -> None:
    """Serve the node's requests, once the network is configured."""
    kernel.set_dumpable(dumpable=False)
    PodInit(node).run()
