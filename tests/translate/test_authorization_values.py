"""What Envoy would refuse never reaches it: broken values close doors, and leave the listener whole."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from mesh_case import build_database, build_proxy, build_static_bootstrap, configure
from test_sidecar_pair import build_mesh

from lateen.api.codec import decode
from lateen.api.security import AuthorizationPolicy
from lateen.envoy.messages import build_document
from lateen.envoy.process import validate
from lateen.translate.authorization import RuleBuilder
from lateen.translate.trust_domain import list_aliases

SOURCES = {
    "principals": ["", "spiffe://a/ns/b/sa/c", "a\nb", "**"],
    "requestPrincipals": [""],
    "namespaces": ["", "a(b", "[", "\\", "a\x00"],
    "serviceAccounts": ["", "/", "a/", "/b", "a/b*", "a(b/c["],
    "trustDomains": ["", "(", "[a"],
    "ipBlocks": ["", "1.2.3", "1.2.3.4/33", "::1/129", "fe80::1%eth0", "1.2.3.4/-1", "1.2.3.4/x", "a/8"],
}
OPERATIONS = {
    "hosts": ["", "a\r\nb", "*"],
    "methods": ["", "GET\n"],
    "ports": ["", "x", "65536", "-1", "80 ", "²"],
    "paths": [
        "",
        "/{*}{*}",
        "{**}",
        "/{**}/{*}",
        "/{**}/{**}",
        "/a{*}",
        "/{a}/{*}",
        "//{*}",
        "/{*}?x",
        "/{*}/[",
        "/{**}/x",
    ],
}
CONDITIONS = ["", "x", "request.headers", "request.headers[]", "request.headers[a b]", "request.headers[a][b]"]
CONDITIONS += [
    "request.auth.claims",
    "request.auth.claims[",
    "request.auth.claims[][a]",
    "experimental.envoy.filters.a",
]


def build_rules() -> list[dict[str, Any]]:
    rules: list[dict[str, Any]] = []
    for field, values in SOURCES.items():
        negated = f"not{field[0].upper()}{field[1:]}"
        rules += [{"from": [{"source": {name: [value]}}]} for value in values for name in (field, negated)]
    for field, values in OPERATIONS.items():
        negated = f"not{field[0].upper()}{field[1:]}"
        rules += [{"to": [{"operation": {name: [value]}}]} for value in values for name in (field, negated)]
    return rules + [{"when": [{"key": key, "values": ["a"]}]} for key in CONDITIONS]


@pytest.mark.parametrize("action", ["ALLOW", "DENY", "AUDIT"])
@pytest.mark.parametrize("port_name", ["http", "tcp"])
async def test_envoy_takes_a_listener_with_every_broken_value(action: str, port_name: str, tmp_path: Path) -> None:
    policy = {
        "kind": "AuthorizationPolicy",
        "metadata": {"name": "broken", "namespace": "default"},
        "spec": {"action": action, "rules": build_rules()},
    }
    database = build_database([*build_mesh(port_name), policy])
    await validate(
        build_static_bootstrap(configure(database, build_proxy("default", "server", "10.244.0.2"))), tmp_path
    )


def build(rule: dict[str, Any], *, allows: bool, tcp: bool = False) -> dict[str, Any] | None:
    found = decode({"spec": {"rules": [rule]}}, AuthorizationPolicy).value
    assert found is not None
    built = RuleBuilder("default", ("cluster.local",), allows=allows, tcp=tcp).build(found.spec.rules[0])
    return None if built is None else build_document(built)


ANY_PERMISSION = [{"andRules": {"rules": [{"any": True}]}}]
ANY_PRINCIPAL = [{"andIds": {"ids": [{"any": True}]}}]


@pytest.mark.parametrize(
    "rule",
    [
        pytest.param({"from": [{"source": {"ipBlocks": ["nowhere"]}}]}, id="alone"),
        pytest.param({"from": [{"source": {"notIpBlocks": ["nowhere"]}}]}, id="negated"),
        pytest.param({"from": [{"source": {"ipBlocks": ["10.0.0.1", "nowhere"]}}]}, id="beside a sound one"),
        pytest.param({"to": [{"operation": {"ports": ["x"]}}]}, id="port"),
        pytest.param({"when": [{"key": "unknown", "values": ["x"]}]}, id="unknown key"),
        pytest.param({"when": [{"key": "unknown"}]}, id="unknown key without values"),
    ],
)
def test_a_broken_value_narrows_what_is_allowed_and_widens_what_is_denied(rule: dict[str, Any]) -> None:
    assert build(rule, allows=True) is None
    assert build(rule, allows=False) == {"permissions": ANY_PERMISSION, "principals": ANY_PRINCIPAL}


def test_names_in_expressions_stand_for_themselves() -> None:
    built = build({"from": [{"source": {"serviceAccounts": ["a.b/c+d"]}}]}, allows=True)
    assert built is not None
    (principal,) = built["principals"][0]["andIds"]["ids"][0]["orIds"]["ids"]
    expression = principal["authenticated"]["principalName"]["safeRegex"]["regex"]
    assert expression == r"spiffe://.+/ns/a\.b/(.+/|)sa/c\+d(/.+)?"


DOMAINS = ("new", "old")


@pytest.mark.parametrize(
    ("principal", "found"),
    [
        ("new/ns/a/sa/b", ("new/ns/a/sa/b", "old/ns/a/sa/b")),
        ("old/ns/a/sa/b", ("new/ns/a/sa/b", "old/ns/a/sa/b")),
        ("cluster.local/ns/a/sa/b", ("new/ns/a/sa/b", "old/ns/a/sa/b")),
        ("foreign/ns/a/sa/b", ("foreign/ns/a/sa/b",)),
        ("*/ns/a/sa/b", ("*/ns/a/sa/b",)),
        ("*ld/ns/a/sa/b", ("new/ns/a/sa/b", "*ld/ns/a/sa/b")),
        ("*", ("*",)),
        ("sa/b", ("sa/b",)),
    ],
)
def test_principals_of_the_mesh_hold_in_all_its_trust_domains(principal: str, found: tuple[str, ...]) -> None:
    assert list_aliases([principal], DOMAINS) == found
