"""What several kinds of `networking.istio.io` share: string matches, ports, destinations, selectors.

Source: istio/api `networking/v1alpha3/virtual_service.proto`, `gateway.proto`, `sidecar.proto`.
"""

from collections.abc import Mapping
from typing import Annotated

from msgspec import Meta

from lateen.api.policy_target import LabelValue
from lateen.api.view import ProtoView, Required, UInt32

ExportTo = tuple[str, ...]
"""Namespaces that may use an object: names, `.` for its own, `*` for all, `~` for none; empty means the default."""


class StringMatch(ProtoView, frozen=True, kw_only=True):
    """How a text must look; when nothing is set, it must only be there."""

    ONE_OF = (("exact", "prefix", "regex"),)

    exact: str | None = None
    """The whole text."""
    prefix: str | None = None
    """The beginning of the text."""
    regex: str | None = None
    """An RE2 expression that the whole text must match."""


class PortSelector(ProtoView, frozen=True, kw_only=True):
    """A port by number."""

    number: UInt32 = 0
    """Port number."""


class Destination(ProtoView, frozen=True, kw_only=True):
    """A service, a subset of it and one of its ports, that traffic goes to."""

    host: Required[str] = ""
    """Name of the service; a short name is completed with the namespace of the object that holds it."""
    subset: str = ""
    """Subset that a DestinationRule of the host defines."""
    port: PortSelector | None = None
    """Port of the service; needed when it has several."""


class Percent(ProtoView, frozen=True, kw_only=True):
    """A share in percent, with fractions."""

    value: float = 0.0
    """0 to 100."""


class NetworkingWorkloadSelector(ProtoView, frozen=True, kw_only=True):
    """Pods of the namespace that carry all of the labels."""

    labels: Annotated[Mapping[str, LabelValue], Meta(max_length=256)] = {}
    """Labels, all of which the pod must have."""
