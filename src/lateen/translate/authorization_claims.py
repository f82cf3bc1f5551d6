"""What filters have found out about a request, as AuthorizationPolicies ask for it: tokens' claims and other metadata.

key and values of a condition -> principal or permission of RBAC.

| key | asks for |
| --- | --- |
| `requestPrincipals`, `request.auth.principal` | `ISSUER/SUBJECT`, split at the last slash |
| `request.auth.claims[a][b]`, `audiences`, `presenter` | a claim that is one of the values or a list with one of them |
| `experimental.envoy.filters.F[K]` | key K of the metadata of filter `envoy.filters.F`; `[v]` is an item of a list |

Source: Istio's pilot/pkg/security/authz/model (generators); Envoy's metadata.proto.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from lateen.translate.authorization_match import (
    JWT_FILTER,
    JWT_PAYLOAD,
    BrokenValue,
    Matcher,
    build_claim,
    build_metadata,
    build_string,
)

_ANYTHING: Matcher = {"safe_regex": {"regex": ".+"}}
_BRACKETS = re.compile(r"[^\[\]]*((?:\[[^\[\]]+\])+)")


def parse_brackets(key: str) -> tuple[str, ...]:
    """Return the names in the brackets of a key, none when the key is malformed."""
    found = _BRACKETS.fullmatch(key)
    return () if found is None else tuple(found[1][1:-1].split("]["))


def build_request_principals(values: tuple[str, ...]) -> Matcher:
    """Return the principal of tokens."""
    found = [_build_request_principal(value) for value in values]
    return found[0] if len(found) == 1 else {"or_ids": {"ids": found}}


def build_claim_principal(path: tuple[str, ...]) -> Callable[[tuple[str, ...]], Matcher]:
    """Return what builds the principal of a claim from its values."""

    def build(values: tuple[str, ...]) -> Matcher:
        if not path:
            raise BrokenValue(values[0])
        return {"metadata": build_claim(path, values)}

    return build


def build_envoy_metadata(key: str) -> Callable[[tuple[str, ...]], Matcher]:
    """Return what builds the permission of a filter's metadata from its values."""
    filter_name, _, rest = key.removeprefix("experimental.").partition("[")
    name = rest.removesuffix("]")

    def build(values: tuple[str, ...]) -> Matcher:
        if not name or not rest.endswith("]"):
            raise BrokenValue(key)
        matchers = [_build_metadata_value(value) for value in values]
        value = matchers[0] if len(matchers) == 1 else {"or_match": {"value_matchers": matchers}}
        return {"metadata": build_metadata(filter_name, (name,), value)}

    return build


def _build_metadata_value(value: str) -> Matcher:
    if value.startswith("[") and value.endswith("]"):
        return {"list_match": {"one_of": {"string_match": build_string(value.strip("[]"))}}}
    return {"string_match": build_string(value)}


def _build_request_principal(value: str) -> Matcher:
    if not value:
        raise BrokenValue(value)
    issuer, subject = _split(value)
    claims = (("iss", issuer), ("sub", subject))
    return {
        "and_ids": {
            "ids": [
                {"metadata": build_metadata(JWT_FILTER, (JWT_PAYLOAD, claim), {"string_match": matcher})}
                for claim, matcher in claims
            ]
        }
    }


def _split(value: str) -> tuple[Matcher, Matcher]:
    """Return the matchers of issuer and subject; the issuer may be a URL with slashes of its own."""
    if "/" in value:
        issuer, _, subject = value.rpartition("/")
        if issuer.startswith("*"):
            return build_string(issuer), {"exact": subject}
        return {"exact": issuer}, build_string(subject) if subject.endswith("*") else {"exact": subject}
    if value.startswith("*"):
        return _ANYTHING, build_string(value)
    if value.endswith("*"):
        return build_string(value), _ANYTHING
    return {"exact": value}, {"exact": ""}
