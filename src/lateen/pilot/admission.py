"""Who opens a stream, and what it may see: identity proven, then compared with what the proxy says of itself.

Flow: (caller, `Node` bytes) -> token reviewed -> `Proxy` -> `ProxyViewer`.

| port | identity | sees |
| --- | --- | --- |
| encrypted (15012) | bearer token, reviewed for the audience `istio-ca` | its own namespace and account only |
| plaintext (15010) | none | what any proxy sees; nothing secret is served there |

Invariants: the namespace, the account and (for a token bound to a pod) the pod that the node claims are those of
the token; a reviewed token is asked about again after `REVIEW_SECONDS`, so a deleted pod does not come back.
Source: Istio's pilot/pkg/xds/auth.go. We differ: Istio does not compare the pod's name.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable

from google.protobuf.json_format import MessageToDict
from google.protobuf.message import DecodeError

from lateen.base.errors import DataError, PermissionDeniedError
from lateen.citadel.tokens import TokenIdentity, TokenReviewer, UnauthenticatedError, take_bearer
from lateen.envoy.messages import message_class
from lateen.mesh.proxy import Proxy
from lateen.xds.server import Caller
from lateen.xds.streams import Viewer

REVIEW_SECONDS = 30.0
_MAX_REVIEWED = 10_000


class Admission:
    """Decides on every stream."""

    def __init__(self, review: TokenReviewer, build_viewer: Callable[[Proxy], Viewer], ready: asyncio.Event) -> None:
        """`ready` is set once the mesh is known; until then callers wait."""
        self._reviewer = review
        self._build_viewer = build_viewer
        self._ready = ready
        self._reviewed: dict[bytes, tuple[float, TokenIdentity]] = {}

    async def admit(self, caller: Caller, node: bytes) -> Viewer:
        """The viewer of a caller; raises PermissionDeniedError, DataError or UnavailableError."""
        await self._ready.wait()
        identity = await self._identify(caller) if caller.is_encrypted else None
        proxy = read_proxy(node)
        if identity is not None:
            check_claims(proxy, identity)
        return self._build_viewer(proxy)

    async def _identify(self, caller: Caller) -> TokenIdentity:
        token = take_bearer(caller.metadata)
        if not token:
            raise UnauthenticatedError("a token for the audience istio-ca is needed here, and none was sent")
        digest = hashlib.sha256(token.encode()).digest()
        now = asyncio.get_running_loop().time()
        known = self._reviewed.get(digest)
        if known is not None and now < known[0]:
            return known[1]
        identity = await self._reviewer.review(token)
        if len(self._reviewed) >= _MAX_REVIEWED:
            self._reviewed.clear()
        self._reviewed[digest] = (now + REVIEW_SECONDS, identity)
        return identity


def read_proxy(node: bytes) -> Proxy:
    """The proxy in a serialised `envoy.config.core.v3.Node`; raises DataError."""
    if not node:
        raise DataError("the first request of a stream has to say which node it comes from")
    try:
        message = message_class("envoy.config.core.v3.Node").FromString(node)
    except DecodeError as error:
        raise DataError("the node of the first request cannot be read") from error
    return Proxy.from_node(message.id, MessageToDict(message.metadata))


def check_claims(proxy: Proxy, identity: TokenIdentity) -> None:
    """Compare what a proxy says of itself with what was proven; raises PermissionDeniedError."""
    claims = {
        "namespace": (proxy.namespace, identity.namespace),
        "service account": (proxy.service_account, identity.service_account),
        "pod": (proxy.name, identity.pod_name or proxy.name),
    }
    for what, (claimed, proven) in claims.items():
        if claimed != proven:
            raise PermissionDeniedError(f"node {proxy.id!r} claims {what} {claimed!r}, but its token is for {proven!r}")
