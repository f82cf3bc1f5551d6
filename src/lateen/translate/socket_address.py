"""Addresses, durations and sources of configuration: the small messages that all resources share.

Plain values -> messages in the form that message constructors take (mappings).

Invariants: connections of Envoy that do not go out by the bootstrap's bind configuration carry the socket mark here,
or the pod's rules would send them back to Envoy.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from lateen.envoy.bootstrap import ENVOY_SOCKET_MARK, SOCKET_LEVEL, SOCKET_MARK_OPTION
from lateen.envoy.messages import EnvoyMessage, message_class

Duration = message_class("google.protobuf.Duration")
BindConfig = message_class("envoy.config.core.v3.BindConfig")
SocketOption = message_class("envoy.config.core.v3.SocketOption")
ConfigSource = message_class("envoy.config.core.v3.ConfigSource")

INBOUND_SOURCE = "127.0.0.6"  # who apps see as their client; the node's nft rules let it pass, Istio's too.

NEVER = Duration()
"""Zero: in Envoy's timeouts it means that there is none."""


def build_duration(duration: timedelta) -> EnvoyMessage:
    """Return a duration as Envoy has it."""
    message = Duration()
    message.FromTimedelta(duration)
    return message


def build_address(address: str, port: int) -> dict[str, Any]:
    """Return a TCP address."""
    return {"socket_address": {"address": address, "port_value": port}}


def build_ads_source() -> EnvoyMessage:
    """Return the source of whatever discovery serves; Envoy waits for it without end."""
    return ConfigSource(ads={}, initial_fetch_timeout=NEVER, resource_api_version="V3")


def build_inbound_bind_config() -> EnvoyMessage:
    """Return how Envoy connects to the app beside it."""
    mark = SocketOption(
        description="own traffic: not to be redirected",
        level=SOCKET_LEVEL,
        name=SOCKET_MARK_OPTION,
        int_value=ENVOY_SOCKET_MARK,
        state="STATE_PREBIND",
    )
    return BindConfig(source_address={"address": INBOUND_SOURCE, "port_value": 0}, socket_options=[mark])
