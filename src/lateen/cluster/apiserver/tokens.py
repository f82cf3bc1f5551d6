"""Service-account tokens: claims -> signed JWT (ES256) -> the account that it proves, if it still exists.

A token names its audiences and expires; one that is bound to a pod dies with the pod. The signature is
checked once per token and process, expiry and existence of the account and the pod at every use.

Source: the Kubernetes pages "Managing Service Accounts" and "TokenRequest", RFC 7515 and 7519. Only ES256
with our own key is accepted: the header's `alg` chooses nothing.
"""

from __future__ import annotations

import base64
import hashlib
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature

from lateen.base.errors import DataError
from lateen.cluster.revisions import Key
from lateen.cluster.store import Store

ISSUER = "https://kubernetes.default.svc.cluster.local"
API_AUDIENCE = ISSUER
"""What the API server calls itself: the audience of a token that asked for none."""

_COORDINATE_BYTES = 32
_CACHED_TOKENS = 4096


@dataclass(frozen=True)
class BoundObject:
    """The pod, secret or node whose life bounds a token's."""

    kind: str
    name: str
    uid: str


@dataclass(frozen=True)
class ServiceAccountToken:
    """A token that was checked."""

    namespace: str
    name: str
    uid: str
    audiences: tuple[str, ...]
    expires: float
    bound: BoundObject | None
    node: BoundObject | None
    token_id: str


class TokenIssuer:
    """Signs and checks the tokens of one cluster; `now` is the clock in seconds since the epoch."""

    def __init__(self, key: ec.EllipticCurvePrivateKey, store: Store, *, now: Callable[[], float] = time.time) -> None:
        self._key = key
        self._store = store
        self._now = now
        public = key.public_key().public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        self._key_id = _encode(hashlib.sha256(public).digest()[:16])
        self._checked: dict[str, dict[str, Any]] = {}

    def issue(
        self,
        namespace: str,
        name: str,
        uid: str,
        *,
        audiences: Sequence[str],
        seconds: int,
        bound: BoundObject | None = None,
        node: BoundObject | None = None,
    ) -> tuple[str, float]:
        """A signed token and when it expires."""
        now = int(self._now())
        kubernetes: dict[str, Any] = {"namespace": namespace, "serviceaccount": {"name": name, "uid": uid}}
        for found in (bound, node):
            if found is not None:
                kubernetes[found.kind.lower()] = {"name": found.name, "uid": found.uid}
        claims = {
            "aud": list(audiences),
            "exp": now + seconds,
            "iat": now,
            "iss": ISSUER,
            "jti": str(uuid.uuid4()),
            "kubernetes.io": kubernetes,
            "nbf": now,
            "sub": f"system:serviceaccount:{namespace}:{name}",
        }
        header = {"alg": "ES256", "kid": self._key_id, "typ": "JWT"}
        signed = f"{_encode(msgspec.json.encode(header))}.{_encode(msgspec.json.encode(claims))}"
        r, s = decode_dss_signature(self._key.sign(signed.encode(), ec.ECDSA(hashes.SHA256())))
        signature = r.to_bytes(_COORDINATE_BYTES, "big") + s.to_bytes(_COORDINATE_BYTES, "big")
        return f"{signed}.{_encode(signature)}", float(now + seconds)

    def check(self, token: str, audiences: Sequence[str] = (API_AUDIENCE,)) -> ServiceAccountToken:
        """The account behind a token that is valid for one of the audiences; DataError says why it is not."""
        claims = self._checked.get(token)
        if claims is None:
            claims = self._verify(token)
            if len(self._checked) >= _CACHED_TOKENS:
                self._checked.clear()
            self._checked[token] = claims
        checked = _read_claims(claims)
        now = self._now()
        if not claims["nbf"] <= now + 1 or now >= checked.expires:
            raise DataError("service account token has expired")
        matched = tuple(audience for audience in audiences if audience in checked.audiences)
        if not matched:
            raise DataError(f"token audiences {list(checked.audiences)} do not match {list(audiences)}")
        self._check_objects(checked)
        return replace(checked, audiences=matched)

    def _verify(self, token: str) -> dict[str, Any]:
        try:
            header_text, claims_text, signature_text = token.split(".")
            header = msgspec.json.decode(_decode(header_text), type=dict[str, Any])
            claims = msgspec.json.decode(_decode(claims_text), type=dict[str, Any])
            signature = _decode(signature_text)
        except (ValueError, msgspec.MsgspecError):
            raise DataError("the token is no JSON web token") from None
        if header.get("alg") != "ES256" or len(signature) != 2 * _COORDINATE_BYTES:
            raise DataError("the token is not signed with ES256")
        r, s = (int.from_bytes(part, "big") for part in (signature[:_COORDINATE_BYTES], signature[_COORDINATE_BYTES:]))
        try:
            self._key.public_key().verify(
                encode_dss_signature(r, s), f"{header_text}.{claims_text}".encode(), ec.ECDSA(hashes.SHA256())
            )
        except InvalidSignature:
            raise DataError("the token's signature is not ours") from None
        return claims

    def _check_objects(self, token: ServiceAccountToken) -> None:
        wanted = [("serviceaccounts", token.namespace, token.name, token.uid)]
        if token.bound is not None:
            resource, is_namespaced = _PLACES[token.bound.kind]
            wanted.append((resource, token.namespace if is_namespaced else "", token.bound.name, token.bound.uid))
        for place, namespace, name, uid in wanted:
            revision = self._store.get(Key(place, namespace, name))
            if revision is None or revision.document()["metadata"].get("uid") != uid:
                raise DataError(f"the token's {place} {namespace}/{name} no longer exists")


_PLACES = {"Pod": ("pods", True), "Secret": ("secrets", True), "Node": ("nodes", False)}
"""Kinds that a token may be bound to: resource, and whether it has a namespace."""


def _read_claims(claims: dict[str, Any]) -> ServiceAccountToken:
    kubernetes = claims["kubernetes.io"]
    found = {
        kind: BoundObject(kind, kubernetes[kind.lower()]["name"], kubernetes[kind.lower()]["uid"])
        for kind in _PLACES
        if kind.lower() in kubernetes
    }
    return ServiceAccountToken(
        namespace=kubernetes["namespace"],
        name=kubernetes["serviceaccount"]["name"],
        uid=kubernetes["serviceaccount"]["uid"],
        audiences=tuple(claims["aud"]),
        expires=float(claims["exp"]),
        bound=found.get("Pod") or found.get("Secret") or found.get("Node"),
        node=found.get("Node") if "Pod" in found else None,
        token_id=claims["jti"],
    )


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _decode(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
