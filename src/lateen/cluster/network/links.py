"""Bridge, veth pairs, addresses and routes of the node namespace and of pods, over rtnetlink.

Flow: names and addresses -> rtnetlink requests -> kernel. Every function acts in the calling process's network
namespace; `create_pair` puts the far end straight into the namespace of another process.
Invariants: a pod's address is a /32 whose only route is through the bridge address, so that traffic between pods
is routed by the node namespace and its connection tracking sees both directions.
Source: rtnetlink(7), include/uapi/linux/{rtnetlink,if_link,veth,if_addr}.h. Standard library only.
"""

import socket
import struct

from lateen.cluster.network.netlink import (
    NETLINK_ROUTE,
    NLM_F_CREATE,
    NLM_F_EXCL,
    NetlinkSocket,
    encode_attribute,
    encode_nested,
    encode_text,
)

RTM_NEWLINK, RTM_DELLINK, RTM_NEWADDR, RTM_NEWROUTE = 16, 17, 20, 24
IFLA_ADDRESS, IFLA_IFNAME, IFLA_MTU, IFLA_MASTER, IFLA_LINKINFO, IFLA_NET_NS_PID = 1, 3, 4, 10, 18, 19
IFLA_INFO_KIND, IFLA_INFO_DATA, VETH_INFO_PEER = 1, 2, 1
IFA_ADDRESS, IFA_LOCAL = 1, 2
RTA_DST, RTA_OIF, RTA_GATEWAY = 1, 4, 5
IFF_UP = 1
RT_TABLE_MAIN, RTPROT_STATIC, RTN_UNICAST = 254, 4, 1
RT_SCOPE_UNIVERSE, RT_SCOPE_LINK = 0, 253


# MAC addresses follow from IP addresses: a later pod with the same address is where its neighbours expect it.
_MAC_PREFIX = b"\x0a\x58"


def _link(index: int, flags: int, change: int) -> bytes:
    return struct.pack("=BxHiII", socket.AF_UNSPEC, 0, index, flags, change)


def _create(netlink: NetlinkSocket, attributes: bytes) -> None:
    netlink.request(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, _link(0, 0, 0) + attributes)


def set_up(netlink: NetlinkSocket, name: str) -> None:
    """Bring a link up."""
    netlink.request(RTM_NEWLINK, 0, _link(socket.if_nametoindex(name), IFF_UP, IFF_UP))


def set_hardware_address(netlink: NetlinkSocket, name: str, address: bytes) -> None:
    """Give a link that is down its MAC address."""
    netlink.request(RTM_NEWLINK, 0, _link(socket.if_nametoindex(name), 0, 0) + encode_attribute(IFLA_ADDRESS, address))


def add_address(netlink: NetlinkSocket, name: str, address: str, prefix: int) -> None:
    """Give a link an IPv4 address."""
    packed = socket.inet_aton(address)
    header = struct.pack("=BBBBI", socket.AF_INET, prefix, 0, 0, socket.if_nametoindex(name))
    attributes = encode_attribute(IFA_LOCAL, packed) + encode_attribute(IFA_ADDRESS, packed)
    netlink.request(RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, header + attributes)


def _add_route(netlink: NetlinkSocket, prefix: int, scope: int, attributes: bytes) -> None:
    header = struct.pack(
        "=BBBBBBBBI", socket.AF_INET, prefix, 0, 0, RT_TABLE_MAIN, RTPROT_STATIC, scope, RTN_UNICAST, 0
    )
    netlink.request(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL, header + attributes)


def create_bridge(netlink: NetlinkSocket, name: str, address: str, prefix: int) -> None:
    """Create a bridge, give it an address and bring it up.

    Its MAC address is fixed: otherwise it is that of one of its ports, changes as pods come and go, and pods lose
    what they send to the one they remember.
    """
    _create(
        netlink,
        encode_text(IFLA_IFNAME, name)
        + encode_attribute(IFLA_ADDRESS, _MAC_PREFIX + socket.inet_aton(address))
        + encode_nested(IFLA_LINKINFO, encode_text(IFLA_INFO_KIND, "bridge")),
    )
    add_address(netlink, name, address, prefix)
    set_up(netlink, name)


def create_pair(netlink: NetlinkSocket, name: str, bridge: str, peer_name: str, peer_pid: int) -> None:
    """Create a veth pair: `name` here, on `bridge` and up; `peer_name` in the namespace of process `peer_pid`."""
    peer = _link(0, 0, 0) + encode_text(IFLA_IFNAME, peer_name)
    peer += encode_attribute(IFLA_NET_NS_PID, struct.pack("=I", peer_pid))
    info = encode_text(IFLA_INFO_KIND, "veth")
    info += encode_nested(IFLA_INFO_DATA, encode_attribute(VETH_INFO_PEER, peer))
    _create(
        netlink,
        encode_text(IFLA_IFNAME, name)
        + encode_attribute(IFLA_MASTER, struct.pack("=I", socket.if_nametoindex(bridge)))
        + encode_nested(IFLA_LINKINFO, info),
    )
    set_up(netlink, name)


def delete(netlink: NetlinkSocket, name: str) -> None:
    """Delete a link (a veth takes its peer along)."""
    netlink.request(RTM_DELLINK, 0, _link(socket.if_nametoindex(name), 0, 0))


def configure_node(
    bridge: str, address: str, prefix: int, service_addresses: tuple[str, ...], services: tuple[str, int] | None = None
) -> None:
    """Create loopback and bridge of the node namespace; `service_addresses` become local (DNS listens there).

    `services` is the network of all cluster IPs: without a route to it, the node's own connections to Services would
    fail before the rules that translate them are asked.
    """
    with NetlinkSocket(NETLINK_ROUTE) as netlink:
        set_up(netlink, "lo")
        for service_address in service_addresses:
            add_address(netlink, "lo", service_address, 32)
        create_bridge(netlink, bridge, address, prefix)
        if services is not None:
            index = encode_attribute(RTA_OIF, struct.pack("=I", socket.if_nametoindex(bridge)))
            network = encode_attribute(RTA_DST, socket.inet_aton(services[0]))
            _add_route(netlink, services[1], RT_SCOPE_LINK, network + index)


def connect_pod(name: str, bridge: str, peer_pid: int) -> None:
    """Join the pod whose pod-init is `peer_pid` to the bridge; its end is called eth0."""
    with NetlinkSocket(NETLINK_ROUTE) as netlink:
        create_pair(netlink, name, bridge, "eth0", peer_pid)


def configure_pod(address: str, gateway: str) -> None:
    """Bring up lo and eth0 in the pod with its /32 address and the default route through the node."""
    with NetlinkSocket(NETLINK_ROUTE) as netlink:
        set_up(netlink, "lo")
        packed = socket.inet_aton(address)
        set_hardware_address(netlink, "eth0", _MAC_PREFIX + packed)
        add_address(netlink, "eth0", address, 32)
        set_up(netlink, "eth0")
        index = encode_attribute(RTA_OIF, struct.pack("=I", socket.if_nametoindex("eth0")))
        packed = socket.inet_aton(gateway)
        _add_route(netlink, 32, RT_SCOPE_LINK, encode_attribute(RTA_DST, packed) + index)
        _add_route(netlink, 0, RT_SCOPE_UNIVERSE, encode_attribute(RTA_GATEWAY, packed) + index)
