"""Whose token is this: service-account tokens checked by the Kubernetes API.

Flow: bearer token -> TokenReview for the audience `istio-ca` -> `TokenIdentity` (namespace, account, pod).
Invariants: only what the API server confirms counts: authenticated, our audience among the confirmed ones,
a service account's user name; where a pod is demanded, a token bound to none is refused. A token is sent
to the API server alone and never logged. Source: Kubernetes TokenReview (authentication.k8s.io/v1) and
bound service account tokens; Istio security/pkg/k8s/tokenreview. We differ: a token bound to no pod is
refused unless allowed, since none of our clients has one.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from lateen.base.errors import LateenError, PermissionDeniedError, UnavailableError

AUDIENCE = "istio-ca"
"""The audience of the token that the node projects into istio-proxy, as Istio's `tokenAudiences`."""

_USER_PREFIX = "system:serviceaccount:"
_POD_NAME = "authentication.kubernetes.io/pod-name"
_POD_UID = "authentication.kubernetes.io/pod-uid"

Document = dict[str, Any]


class UnauthenticatedError(PermissionDeniedError):
    """The caller did not prove who it is."""


class TokenIdentity(msgspec.Struct, frozen=True, kw_only=True):
    """Who a token was made for; pod fields are empty for a token bound to no pod."""

    namespace: str
    service_account: str
    pod_name: str = ""
    pod_uid: str = ""


class TokenReviewer:
    """Asks the Kubernetes API about tokens."""

    def __init__(self, create: Callable[[Document], Awaitable[Document]], *, pod_bound: bool = True) -> None:
        """`create` posts a TokenReview and returns it answered; it raises a `LateenError` when it cannot."""
        self._create = create
        self._pod_bound = pod_bound

    async def review(self, token: str) -> TokenIdentity:
        """Return whose token it is; raises `UnauthenticatedError`, or `UnavailableError` if none answers."""
        if not token:
            raise UnauthenticatedError("no token was sent")
        document = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenReview",
            "metadata": {},
            "spec": {"token": token, "audiences": [AUDIENCE]},
        }
        try:
            answer = await self._create(document)
        except LateenError as error:
            raise UnavailableError(f"the token could not be reviewed: {error.message}") from error
        identity = read_review(answer.get("status") or {})
        if self._pod_bound and not identity.pod_uid:
            raise UnauthenticatedError("the token is bound to no pod")
        return identity


def read_review(status: Document) -> TokenIdentity:
    """Return the identity in a TokenReview's status; raises `UnauthenticatedError`."""
    if status.get("authenticated") is not True:
        raise UnauthenticatedError(f"the token is not valid: {status.get('error') or 'the API server refuses it'}")
    if AUDIENCE not in (status.get("audiences") or []):
        raise UnauthenticatedError(f"the token is not for the audience {AUDIENCE}")
    user = status.get("user") or {}
    name = str(user.get("username") or "")
    namespace, _, account = name.removeprefix(_USER_PREFIX).partition(":")
    if not name.startswith(_USER_PREFIX) or not namespace or not account or ":" in account:
        raise UnauthenticatedError(f"{name or 'the token'} is no service account")
    extra = user.get("extra") or {}
    return TokenIdentity(
        namespace=namespace,
        service_account=account,
        pod_name=_first(extra.get(_POD_NAME)),
        pod_uid=_first(extra.get(_POD_UID)),
    )


def take_bearer(metadata: object) -> str:
    """Return the bearer token in gRPC metadata, empty when there is none."""
    for key, value in metadata or ():  # type: ignore[attr-defined]
        if key == "authorization" and isinstance(value, str) and value[:7].lower() == "bearer ":
            return value[7:].strip()
    return ""


def _first(values: Any) -> str:
    return str(values[0]) if isinstance(values, list) and values else ""
