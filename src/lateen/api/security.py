"""Views of `security.istio.io`: PeerAuthentication, RequestAuthentication, AuthorizationPolicy.

Flow: JSON document -> `codec.decode(document, PeerAuthentication)`.
Source: istio/api `security/v1beta1/peer_authentication.proto`, `request_authentication.proto`,
`authorization_policy.proto`.
"""

from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, Literal

from msgspec import Meta, field

from lateen.api.core import ObjectMeta
from lateen.api.policy_target import IstioStatus, PolicyTargetReference, TargetReferences, WorkloadSelector
from lateen.api.view import Marker, ProtoView, Required, Text

MutualTLSMode = Literal["UNSET", "DISABLE", "PERMISSIVE", "STRICT"]
Names = Annotated[tuple[Annotated[str, Meta(max_length=320)], ...], Meta(max_length=16)]


class MutualTLS(ProtoView, frozen=True, kw_only=True):
    """Whether a workload takes plain text, mutual TLS or both."""

    mode: MutualTLSMode = "UNSET"
    """DISABLE, PERMISSIVE or STRICT; UNSET inherits from the wider policy."""


class PeerAuthenticationSpec(ProtoView, frozen=True, kw_only=True):
    """How workloads authenticate the peers that connect to them."""

    selector: WorkloadSelector | None = None
    """The workloads it applies to; none means the namespace, or the mesh in the root namespace."""
    mtls: MutualTLS | None = None
    """The mode of all ports."""
    port_level_mtls: Annotated[Mapping[str, MutualTLS], Meta(min_length=1)] = {}
    """Container port -> its own mode; takes effect with a selector only."""


class PeerAuthentication(ProtoView, frozen=True, kw_only=True):
    """A PeerAuthentication."""

    metadata: ObjectMeta = ObjectMeta()
    spec: PeerAuthenticationSpec = PeerAuthenticationSpec()
    status: IstioStatus = IstioStatus()


class JWTHeader(ProtoView, frozen=True, kw_only=True):
    """A request header that carries a token."""

    name: Required[Text] = ""
    """Name of the header."""
    prefix: str = ""
    """What stands before the token, such as `Bearer `."""


class ClaimToHeader(ProtoView, frozen=True, kw_only=True):
    """A claim of a valid token that is copied to a request header."""

    header: Required[Annotated[str, Meta(min_length=1, pattern="^[-_A-Za-z0-9]+$")]] = ""
    """Name of the header."""
    claim: Required[Text] = ""
    """Name of the claim; dots lead into nested claims."""


class JWTRule(ProtoView, frozen=True, kw_only=True):
    """Tokens of one issuer."""

    issuer: Text = ""
    """The `iss` claim of the tokens."""
    audiences: tuple[Text, ...] = ()
    """Accepted `aud` claims; none means the service's own name."""
    jwks_uri: Annotated[str, Meta(min_length=1, max_length=2048), Marker.SNAKE_CASE_TOO] = ""
    """Where the issuer's public keys are fetched."""
    jwks: str = ""
    """The issuer's public keys as JSON text."""
    from_headers: tuple[JWTHeader, ...] = ()
    """Headers to look for a token in."""
    from_params: tuple[Text, ...] = ()
    """Query parameters to look for a token in."""
    from_cookies: tuple[Text, ...] = ()
    """Cookies to look for a token in."""
    output_payload_to_header: str = ""
    """Header that gets the payload of a valid token, base64url encoded."""
    forward_original_token: bool = False
    """Whether the token goes on to the application."""
    output_claim_to_headers: tuple[ClaimToHeader, ...] = ()
    """Claims that become request headers."""
    timeout: timedelta | None = None
    """How long fetching the keys may take."""
    space_delimited_claims: Annotated[tuple[Text, ...], Meta(max_length=64)] = ()
    """Claims whose text is a list separated by spaces."""
    presence: Literal["OPTIONAL", "REQUIRED"] = "OPTIONAL"
    """Whether a request without a token is refused."""


class RequestAuthenticationSpec(ProtoView, frozen=True, kw_only=True):
    """Which tokens workloads accept; a request without a token passes."""

    selector: WorkloadSelector | None = None
    """The workloads it applies to."""
    target_ref: PolicyTargetReference | None = None
    """The object it is attached to."""
    target_refs: TargetReferences = ()
    """The objects it is attached to."""
    jwt_rules: Annotated[tuple[JWTRule, ...], Meta(max_length=4096)] = ()
    """One rule for each issuer."""


class RequestAuthentication(ProtoView, frozen=True, kw_only=True):
    """A RequestAuthentication."""

    metadata: ObjectMeta = ObjectMeta()
    spec: RequestAuthenticationSpec = RequestAuthenticationSpec()
    status: IstioStatus = IstioStatus()


class Source(ProtoView, frozen=True, kw_only=True):
    """Who a request comes from; all fields that are set must match."""

    principals: tuple[str, ...] = ()
    """Peer identities from mutual TLS, without `spiffe://`."""
    not_principals: tuple[str, ...] = ()
    """Peer identities that do not match."""
    request_principals: tuple[str, ...] = ()
    """`issuer/subject` of the token."""
    not_request_principals: tuple[str, ...] = ()
    """Token principals that do not match."""
    namespaces: tuple[str, ...] = ()
    """Namespaces of the peer's identity."""
    not_namespaces: tuple[str, ...] = ()
    """Namespaces that do not match."""
    service_accounts: Names = ()
    """Service accounts of the peer, as `name` or `namespace/name`."""
    not_service_accounts: Names = ()
    """Service accounts that do not match."""
    ip_blocks: tuple[str, ...] = ()
    """Addresses and CIDRs of the connection."""
    not_ip_blocks: tuple[str, ...] = ()
    """Addresses and CIDRs that do not match."""
    remote_ip_blocks: tuple[str, ...] = ()
    """Addresses and CIDRs of the original client, from X-Forwarded-For or the PROXY protocol."""
    not_remote_ip_blocks: tuple[str, ...] = ()
    """Original client addresses that do not match."""
    trust_domains: tuple[str, ...] = ()
    """Trust domains of the peer's identity."""
    not_trust_domains: tuple[str, ...] = ()
    """Trust domains that do not match."""


class Operation(ProtoView, frozen=True, kw_only=True):
    """What a request asks for; all fields that are set must match."""

    hosts: tuple[str, ...] = ()
    """Host header values, case-insensitive."""
    not_hosts: tuple[str, ...] = ()
    """Hosts that do not match."""
    ports: tuple[str, ...] = ()
    """Destination ports, as text."""
    not_ports: tuple[str, ...] = ()
    """Ports that do not match."""
    methods: tuple[str, ...] = ()
    """HTTP methods; gRPC is POST."""
    not_methods: tuple[str, ...] = ()
    """Methods that do not match."""
    paths: tuple[str, ...] = ()
    """Paths: exact, `prefix*`, `*suffix`, `*`, or templates with `{*}` and `{**}`."""
    not_paths: tuple[str, ...] = ()
    """Paths that do not match."""


class RuleFrom(ProtoView, frozen=True, kw_only=True):
    """One alternative of sources."""

    source: Source | None = None
    """Who the request comes from."""


class RuleTo(ProtoView, frozen=True, kw_only=True):
    """One alternative of operations."""

    operation: Operation | None = None
    """What the request asks for."""


class Condition(ProtoView, frozen=True, kw_only=True):
    """A further attribute of the request."""

    key: Required[str] = ""
    """Attribute, such as `request.headers[name]` or `request.auth.claims[name]`."""
    values: tuple[str, ...] = ()
    """Values, one of which must match."""
    not_values: tuple[str, ...] = ()
    """Values that must not match."""


class Rule(ProtoView, frozen=True, kw_only=True):
    """Matches when a source, an operation and all conditions match; an empty list matches everything."""

    from_: Annotated[tuple[RuleFrom, ...], Meta(max_length=512)] = field(name="from", default=())
    """Alternatives of where the request comes from."""
    to: tuple[RuleTo, ...] = ()
    """Alternatives of what it asks for."""
    when: tuple[Condition, ...] = ()
    """Conditions, all of which must hold."""


class ExtensionProviderReference(ProtoView, frozen=True, kw_only=True):
    """An external authorizer."""

    name: str = ""
    """Name of an extension provider in the mesh configuration."""


class AuthorizationPolicySpec(ProtoView, frozen=True, kw_only=True):
    """Which requests workloads admit."""

    selector: WorkloadSelector | None = None
    """The workloads it applies to."""
    target_ref: PolicyTargetReference | None = None
    """The object it is attached to."""
    target_refs: TargetReferences = ()
    """The objects it is attached to."""
    rules: Annotated[tuple[Rule, ...], Meta(max_length=512)] = ()
    """Alternatives; none at all matches nothing, one empty rule matches everything."""
    action: Literal["ALLOW", "DENY", "AUDIT", "CUSTOM"] = "ALLOW"
    """What happens to a request that matches."""
    provider: ExtensionProviderReference | None = None
    """Who decides when the action is CUSTOM."""


class AuthorizationPolicy(ProtoView, frozen=True, kw_only=True):
    """An AuthorizationPolicy."""

    metadata: ObjectMeta = ObjectMeta()
    spec: AuthorizationPolicySpec = AuthorizationPolicySpec()
    status: IstioStatus = IstioStatus()
