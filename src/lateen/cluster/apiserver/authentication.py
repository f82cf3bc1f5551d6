"""Who sends a request: bearer token -> `User`, or anonymous, or 401.

Static tokens (pki.py) name the administrator and the system's components; everything else must be a
service-account token for the API server's audience. Source: the Kubernetes page "Authenticating"; where we
differ, there are no client certificates, and impersonation is refused.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from lateen.base.errors import DataError
from lateen.cluster.apiserver.status import StatusError, unauthorized
from lateen.cluster.apiserver.tokens import ServiceAccountToken, TokenIssuer

AUTHENTICATED = "system:authenticated"


@dataclass(frozen=True, slots=True)
class User:
    """An authenticated identity."""

    name: str
    groups: tuple[str, ...]
    uid: str = ""
    extra: Mapping[str, list[str]] = field(default_factory=dict)

    def build_info(self) -> dict[str, Any]:
        """The `UserInfo` of reviews and admission requests."""
        info: dict[str, Any] = {"username": self.name, "groups": list(self.groups)}
        if self.uid:
            info["uid"] = self.uid
        if self.extra:
            info["extra"] = dict(self.extra)
        return info


ANONYMOUS = User("system:anonymous", ("system:unauthenticated",))

COMPONENT_USERS: dict[str, User] = {
    "admin": User("kubernetes-admin", ("system:masters", AUTHENTICATED)),
    "discovery": User("system:lateen:discovery", ("system:lateen", AUTHENTICATED)),
    "controllers": User("system:lateen:controllers", ("system:lateen", AUTHENTICATED)),
    "node": User("system:node:lateen", ("system:nodes", AUTHENTICATED)),
}
"""Holder of each static token; authorization.py lists what each may do."""


def build_service_account_user(token: ServiceAccountToken) -> User:
    """The user that a service-account token stands for."""
    extra = {"authentication.kubernetes.io/credential-id": [f"JTI={token.token_id}"]}
    for prefix, found in (("pod", token.bound), ("node", token.node)):
        if found is not None and found.kind.lower() == prefix:
            extra[f"authentication.kubernetes.io/{prefix}-name"] = [found.name]
            extra[f"authentication.kubernetes.io/{prefix}-uid"] = [found.uid]
    groups = ("system:serviceaccounts", f"system:serviceaccounts:{token.namespace}", AUTHENTICATED)
    return User(f"system:serviceaccount:{token.namespace}:{token.name}", groups, token.uid, extra)


class Authenticator:
    """Finds the user of a request."""

    def __init__(self, tokens: Mapping[str, str], issuer: TokenIssuer) -> None:
        self._static = {_digest(token): COMPONENT_USERS[component] for component, token in tokens.items()}
        self._issuer = issuer

    def authenticate(self, headers: Mapping[str, str]) -> User:
        """The user of a request with these headers; StatusError 401 if its token is not valid."""
        if "Impersonate-User" in headers:
            raise StatusError(403, "Forbidden", "impersonation is not supported by this server")
        authorization = headers.get("Authorization")
        if authorization is None:
            return ANONYMOUS
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() != "bearer":
            raise unauthorized()
        user = self.find_static(token.strip())
        if user is not None:
            return user
        try:
            return build_service_account_user(self._issuer.check(token.strip()))
        except DataError:
            raise unauthorized() from None

    def find_static(self, token: str) -> User | None:
        """The user of a static token; looked up by digest, so the time taken tells nothing."""
        return self._static.get(_digest(token))


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()
