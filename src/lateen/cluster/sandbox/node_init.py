"""Pid 1 of the node: one user, pid, mount and network namespace that holds the bridge and every pod.

Flow: the zygote forks it -> bridge, service addresses, forwarding -> loop over requests of the node:
`sandbox` (a new pod; answers with the pod's own channel), `rules`, `connect`, `listen`.
Invariants: it is the pid namespace's init, so that its end (the daemon closed the channel or died) is the end of every
process of every pod, by the kernel. Standard library only, one thread.
"""

import contextlib
import errno
import os
import signal
import socket
import traceback
from typing import Any

from lateen.cluster.network import links, nft
from lateen.cluster.sandbox import kernel, pod_init
from lateen.cluster.sandbox.channel import Channel, Message, open_channel_pair
from lateen.cluster.sandbox.poll import Poller, ignore_terminal_signals, iterate_ended_children
from lateen.cluster.sandbox.root import StepFailed

BRIDGE = "lateen0"
PARAMETERS = (
    ("net/ipv4/ip_forward", "1"),
    ("net/ipv4/conf/all/send_redirects", "0"),
    ("net/ipv4/conf/default/send_redirects", "0"),
    ("net/ipv4/ip_unprivileged_port_start", "0"),
    ("net/ipv6/conf/all/disable_ipv6", "1"),
    ("net/ipv6/conf/default/disable_ipv6", "1"),
    # Where br_netfilter is loaded (Docker does), the bridge would itself translate packets and hand them on without
    # routing them: a pod that meets itself behind a Service would then not get its own packets.
    ("net/bridge/bridge-nf-call-iptables", "0"),
)
NAMESPACES = kernel.CLONE_NEWUSER | kernel.CLONE_NEWNS | kernel.CLONE_NEWPID | kernel.CLONE_NEWNET

Step = tuple[str, Any]


class NodeInit:
    """The loop of the node namespace."""

    def __init__(self, daemon: Channel, gateway: str) -> None:
        self._daemon = daemon
        self._gateway = gateway
        self._pods: dict[int, str] = {}
        self._links = 0
        self._poller = Poller(self._reap)
        self._poller.add(daemon.fileno(), self._receive)

    def run(self) -> None:
        """Serve requests until the daemon is gone."""
        while True:
            self._poller.run_once()

    def _receive(self) -> None:
        messages = self._daemon.receive()
        if messages is None:
            os._exit(0)
        for message, descriptors in messages:
            try:
                self._handle(message)
            except StepFailed as failed:
                self._refuse(message, failed.step, failed.number)
            except OSError as error:
                self._refuse(message, message["op"], error.errno or errno.EIO)
            except (ValueError, TypeError, OverflowError):
                self._refuse(message, message["op"], errno.EINVAL)
            finally:
                for descriptor in descriptors:
                    os.close(descriptor)

    def _refuse(self, message: Message, step: str, number: int) -> None:
        self._daemon.send({"id": message["id"], "error": {"step": step, "errno": number}})

    def _handle(self, message: Message) -> None:
        match message["op"]:
            case "sandbox":
                self._create_sandbox(message)
            case "rules":
                nft.apply(bytes.fromhex(message["batch"]), message["last"])
                self._daemon.send({"id": message["id"], "result": {}})
            case "connect" | "listen":
                pod_init.answer_socket(self._daemon, message)

    def _create_sandbox(self, message: Message) -> None:
        node_end, pod_end = open_channel_pair()
        ours, theirs = open_channel_pair()
        pid = os.fork()
        if pid == 0:
            self._become_pod(message, Channel(theirs), Channel(pod_end), (node_end, ours))
        theirs.close()
        pod_end.close()
        handshake = Channel(ours)
        try:
            # In either order: the pod's pid 1 may be faster than the process that forked it.
            peer = _expect(handshake, "pid", "prepared")["pid"]
            self._pods[peer] = message["uid"]
            self._links += 1
            try:
                links.connect_pod(f"pod{self._links}", BRIDGE, peer)
            except OSError as error:
                raise StepFailed("create the pod's veth pair", error) from error
            handshake.send({"connected": True})
            _expect(handshake, "running")
            self._daemon.send({"id": message["id"], "result": {"pid": peer}}, [node_end.fileno()])
        finally:
            handshake.close()
            node_end.close()

    def _become_pod(
        self, message: Message, handshake: Channel, node: Channel, others: tuple[socket.socket, ...]
    ) -> None:
        """Never returns: the forked process becomes the pod's pid 1, or tells why not."""
        try:
            self._poller.close()
            self._daemon.close()
            for other in others:
                other.close()
            _step("enter the pod's namespaces", pod_init.enter_namespaces)
            child = os.fork()
            if child:
                handshake.send({"pid": child})
                os._exit(0)
            _step("prepare the pod's namespaces", lambda: pod_init.prepare(message["host_name"]))
            handshake.send({"prepared": True})
            _expect(handshake, "connected")
            _step("configure eth0", lambda: links.configure_pod(message["address"], self._gateway))
            handshake.send({"running": True})
            handshake.close()
            pod_init.run(node)
        except StepFailed as failed:
            with contextlib.suppress(OSError):
                handshake.send({"error": {"step": failed.step, "errno": failed.number}})
        except BaseException:
            os.write(2, f"pod-init failed\n{traceback.format_exc()}".encode())
        finally:
            os._exit(1)

    def _reap(self) -> None:
        for pid, _code in iterate_ended_children():
            uid = self._pods.pop(pid, None)
            if uid is not None:
                self._daemon.send({"event": "sandbox-exited", "uid": uid})


def _step(name: str, action: Any) -> None:
    try:
        action()
    except OSError as error:
        raise StepFailed(name, error) from error


def _expect(handshake: Channel, *fields: str) -> Message:
    """Return what the handshake says until it has said all these fields; raises StepFailed."""
    told: Message = {}
    while not told.keys() >= set(fields):
        message = handshake.wait()
        if message is None:
            missing = ", ".join(field for field in fields if field not in told)
            raise StepFailed(f"wait for the pod ({missing})", OSError(errno.EPIPE, os.strerror(errno.EPIPE)))
        if "error" in message:
            number = message["error"]["errno"]
            raise StepFailed(message["error"]["step"], OSError(number, os.strerror(number)))
        told |= message
    return told


def run(daemon: Channel, network: Message) -> None:
    """Be the node's pid 1: make its network, say `ready` (or which step failed), serve."""
    kernel.set_title("lateen: node")
    ignore_terminal_signals()
    kernel.die_with_parent(signal.SIGKILL)
    steps: tuple[Step, ...] = (
        ("make mounts private", lambda: kernel.mount("none", "/", None, kernel.MS_REC | kernel.MS_PRIVATE)),
        ("mount /proc", lambda: kernel.mount("proc", "/proc", "proc", _PROC_FLAGS)),
        ("set network parameters", _set_parameters),
        (
            "create the bridge",
            lambda: links.configure_node(
                BRIDGE,
                network["gateway"],
                network["prefix"],
                tuple(network["addresses"]),
                tuple(network["services"]),
            ),
        ),
    )
    try:
        for name, action in steps:
            _step(name, action)
    except StepFailed as failed:
        daemon.send({"event": "failed", "step": failed.step, "errno": failed.number})
        return
    daemon.send({"event": "ready"})
    NodeInit(daemon, network["gateway"]).run()


_PROC_FLAGS = kernel.MS_NOSUID | kernel.MS_NODEV | kernel.MS_NOEXEC


def _set_parameters() -> None:
    for name, value in PARAMETERS:
        kernel.set_kernel_parameter(name, value)
