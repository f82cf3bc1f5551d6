"""The HTTP routes of a VirtualService: matches, destinations, redirects, rewrites, retries, faults, mirrors,
CORS.

Source: istio/api `networking/v1alpha3/virtual_service.proto`.
"""

from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, Literal

from msgspec import Meta

from lateen.api.networking import Destination, Percent, StringMatch
from lateen.api.view import Int32, Marker, Nullable, ProtoView, Required, UInt32, Weight


class HeaderOperations(ProtoView, frozen=True, kw_only=True):
    """What happens to the headers of one direction."""

    set: Mapping[str, str] = {}
    """Headers that are overwritten."""
    add: Mapping[str, str] = {}
    """Headers that are appended."""
    remove: tuple[str, ...] = ()
    """Headers that are taken away."""


class Headers(ProtoView, frozen=True, kw_only=True):
    """What happens to headers."""

    request: HeaderOperations | None = None
    """Headers on the way to the backend."""
    response: HeaderOperations | None = None
    """Headers on the way back."""


class HTTPMatchRequest(ProtoView, frozen=True, kw_only=True):
    """Matches a request when all fields that are set match."""

    name: str = ""
    """Name that shows in logs, after that of the route."""
    uri: StringMatch | None = None
    """Path, case-sensitive unless `ignoreUriCase`."""
    scheme: StringMatch | None = None
    """Scheme."""
    method: StringMatch | None = None
    """HTTP method."""
    authority: StringMatch | None = None
    """Host header."""
    headers: Mapping[str, StringMatch] = {}
    """Header -> how it must look."""
    port: UInt32 = 0
    """Port that the client addressed."""
    source_labels: Mapping[str, str] = {}
    """Labels of the client's pod."""
    gateways: tuple[str, ...] = ()
    """Gateways it is meant for; replaces those of the VirtualService."""
    query_params: Mapping[str, StringMatch] = {}
    """Query parameter -> how it must look."""
    ignore_uri_case: bool = False
    """Whether exact and prefix matches of the path ignore case."""
    without_headers: Mapping[str, StringMatch] = {}
    """Header -> how it must not look."""
    source_namespace: str = ""
    """Namespace of the client's pod."""
    stat_prefix: str = ""
    """Prefix of the statistics of this match."""


class HTTPRouteDestination(ProtoView, frozen=True, kw_only=True):
    """One destination of a route and its share."""

    destination: Required[Destination] = Destination()
    """Where traffic goes."""
    weight: Weight = 0
    """Share, relative to the sum of the weights; a lone destination gets all."""
    headers: Headers | None = None
    """Headers that change for this destination only."""


class HTTPRedirect(ProtoView, frozen=True, kw_only=True):
    """Answers with a redirect."""

    ONE_OF = (("port", "derive_port"),)

    uri: str = ""
    """New path, in place of the whole one."""
    prefix_rewrite: str = ""
    """New beginning of the path, in place of the matched prefix."""
    authority: str = ""
    """New host."""
    port: UInt32 | None = None
    """New port."""
    derive_port: Literal["FROM_PROTOCOL_DEFAULT", "FROM_REQUEST_PORT"] | None = None
    """Where the new port comes from."""
    scheme: str = ""
    """New scheme."""
    redirect_code: UInt32 = 0
    """Status; 301 unless set."""


class HTTPBody(ProtoView, frozen=True, kw_only=True):
    """A body."""

    ONE_OF = (("string", "bytes"),)

    string: str | None = None
    """Text."""
    bytes: Annotated[str, Meta(extra_json_schema={"format": "byte"})] | None = None
    """Bytes in base64."""


class HTTPDirectResponse(ProtoView, frozen=True, kw_only=True):
    """A fixed answer."""

    status: Required[UInt32] = 0
    """HTTP status."""
    body: HTTPBody | None = None
    """Body, at most 1 MB."""


class Delegate(ProtoView, frozen=True, kw_only=True):
    """Another VirtualService that holds the routes."""

    name: str = ""
    """Its name."""
    namespace: str = ""
    """Its namespace; unset is that of the root."""


class RegexRewrite(ProtoView, frozen=True, kw_only=True):
    """Rewrites a path with an expression."""

    match: str = ""
    """RE2 expression."""
    rewrite: str = ""
    """Replacement, with `\\1` for groups."""


class HTTPRewrite(ProtoView, frozen=True, kw_only=True):
    """Changes path and host before the backend sees them."""

    uri: str = ""
    """New path, or new beginning when the match is a prefix."""
    authority: str = ""
    """New host."""
    uri_regex_rewrite: RegexRewrite | None = None
    """Rewrite by expression."""


class HTTPRetry(ProtoView, frozen=True, kw_only=True):
    """When a request is tried again."""

    attempts: Int32 = 0
    """Tries after the first; 0 turns retries off."""
    per_try_timeout: timedelta | None = None
    """Time for each try; unset is the timeout of the route."""
    retry_on: str = ""
    """Conditions and status codes, separated by commas."""
    retry_remote_localities: Nullable[bool | None] = None
    """Whether retries may leave the locality."""
    retry_ignore_previous_hosts: Nullable[bool | None] = None
    """Whether retries avoid backends that were tried already."""
    backoff: timedelta | None = None
    """Least pause between tries; 25 ms unless set."""


class FaultDelay(ProtoView, frozen=True, kw_only=True):
    """Holds requests back."""

    ONE_OF = (("fixed_delay", "exponential_delay"),)

    percent: Int32 = 0
    """Older form of `percentage`."""
    fixed_delay: timedelta | None = None
    """How long."""
    exponential_delay: timedelta | None = None
    """Not implemented by Istio either."""
    percentage: Percent | None = None
    """Share of requests."""


class FaultAbort(ProtoView, frozen=True, kw_only=True):
    """Answers requests with an error."""

    ONE_OF = (("http_status", "grpc_status", "http2_error"),)

    http_status: Int32 | None = None
    """HTTP status."""
    grpc_status: str | None = None
    """gRPC status by name."""
    http2_error: str | None = None
    """Not implemented by Istio either."""
    percentage: Percent | None = None
    """Share of requests."""


class HTTPFaultInjection(ProtoView, frozen=True, kw_only=True):
    """Faults on purpose; a delayed request may be aborted too."""

    delay: FaultDelay | None = None
    """Delay."""
    abort: FaultAbort | None = None
    """Error."""


class HTTPMirrorPolicy(ProtoView, frozen=True, kw_only=True):
    """Sends a copy of requests somewhere and drops the answers."""

    destination: Required[Destination] = Destination()
    """Where copies go."""
    percentage: Percent | None = None
    """Share of requests; all unless set."""


class CorsPolicy(ProtoView, frozen=True, kw_only=True):
    """Cross-origin rules that the proxy answers preflight requests with."""

    allow_origin: tuple[str, ...] = ()
    """Older form of `allowOrigins`."""
    allow_origins: tuple[StringMatch, ...] = ()
    """Origins that may call."""
    allow_methods: tuple[str, ...] = ()
    """Methods they may use."""
    allow_headers: tuple[str, ...] = ()
    """Headers they may send."""
    expose_headers: tuple[str, ...] = ()
    """Headers they may read."""
    max_age: timedelta | None = None
    """How long an answer may be cached."""
    allow_credentials: Nullable[bool | None] = None
    """Whether credentials may be sent."""
    unmatched_preflights: Literal["UNSPECIFIED", "FORWARD", "IGNORE"] = "UNSPECIFIED"
    """Whether preflights of other origins reach the backend."""


class HTTPRoute(ProtoView, frozen=True, kw_only=True):
    """Requests that match, and what happens to them; the first route that matches wins."""

    name: str = ""
    """Name that shows in access logs."""
    match: tuple[HTTPMatchRequest, ...] = ()
    """Alternatives; none matches everything."""
    route: tuple[HTTPRouteDestination, ...] = ()
    """Destinations with their shares."""
    redirect: HTTPRedirect | None = None
    """Answer with a redirect."""
    direct_response: HTTPDirectResponse | None = None
    """Answer with fixed content."""
    delegate: Delegate | None = None
    """Leave the rest to another VirtualService."""
    rewrite: HTTPRewrite | None = None
    """Change path and host."""
    timeout: timedelta | None = None
    """Time for the request with all its tries; unset is none."""
    retries: HTTPRetry | None = None
    """When to try again."""
    fault: HTTPFaultInjection | None = None
    """Faults on purpose."""
    mirror: Destination | None = None
    """Where copies of requests go."""
    mirrors: tuple[HTTPMirrorPolicy, ...] = ()
    """Several places for copies."""
    mirror_percent: Annotated[Nullable[UInt32 | None], Marker.SNAKE_CASE_TOO] = None
    """Older form of `mirrorPercentage`."""
    mirror_percentage: Percent | None = None
    """Share of requests that are copied; all unless set."""
    cors_policy: CorsPolicy | None = None
    """Cross-origin rules."""
    headers: Headers | None = None
    """Headers that change."""
