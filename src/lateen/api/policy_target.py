"""What a policy applies to, and the status of Istio's objects: shared by all kinds outside
`networking.istio.io`.

Source: istio/api `type/v1beta1/selector.proto`, `meta/v1alpha1/status.proto`,
`analysis/v1alpha1/message.proto`.
"""

from collections.abc import Mapping
from typing import Annotated, Literal

from msgspec import Meta

from lateen.api.view import ProtoView, Required

Time = Annotated[str, Meta(extra_json_schema={"format": "date-time"})]
LabelValue = Annotated[str, Meta(max_length=63)]


class WorkloadSelector(ProtoView, frozen=True, kw_only=True):
    """Pods that carry all of the labels; without any label, all pods of the namespace."""

    match_labels: Annotated[Mapping[str, LabelValue], Meta(max_length=4096)] = {}
    """Labels, all of which the pod must have."""


class PolicyTargetReference(ProtoView, frozen=True, kw_only=True):
    """An object of the policy's namespace, such as a Gateway or Service, that the policy is attached to."""

    group: Annotated[
        str,
        Meta(max_length=253, pattern=r"^$|^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$"),
    ] = ""
    """API group of the target; empty is the core group."""
    kind: Required[
        Annotated[str, Meta(min_length=1, max_length=63, pattern="^[a-zA-Z]([-a-zA-Z0-9]*[a-zA-Z0-9])?$")]
    ] = ""
    """Kind of the target."""
    name: Required[Annotated[str, Meta(min_length=1, max_length=253)]] = ""
    """Name of the target."""
    namespace: str = ""
    """Must stay empty: targets are in the policy's own namespace."""


TargetReferences = Annotated[tuple[PolicyTargetReference, ...], Meta(max_length=16)]


class MessageType(ProtoView, frozen=True, kw_only=True):
    """The code of a message."""

    name: str = ""
    """Readable name of the message."""
    code: str = ""
    """Code such as IST0101."""


class AnalysisMessage(ProtoView, frozen=True, kw_only=True):
    """A finding of the analysis."""

    type: MessageType | None = None
    """Which message it is."""
    level: Literal["UNKNOWN", "ERROR", "WARNING", "INFO"] = "UNKNOWN"
    """How severe it is."""
    documentation_url: str = ""
    """Where the message is explained."""


class IstioCondition(ProtoView, frozen=True, kw_only=True):
    """One observation of a controller."""

    type: str = ""
    """What is observed."""
    status: str = ""
    """True, False or Unknown."""
    last_probe_time: Time = ""
    """When it was last looked at."""
    last_transition_time: Time = ""
    """When the status last changed."""
    reason: str = ""
    """One word of why."""
    message: str = ""
    """The reason in a sentence."""
    observed_generation: int | str | None = None
    """The generation of the object that was looked at."""


class IstioStatus(ProtoView, frozen=True, kw_only=True):
    """What controllers say of an Istio object."""

    conditions: tuple[IstioCondition, ...] = ()
    """Observations."""
    validation_messages: tuple[AnalysisMessage, ...] = ()
    """Findings of the analysis."""
    observed_generation: int | str | None = None
    """The generation of the object that the status belongs to."""
