from datetime import timedelta
from typing import Any

import pytest

from lateen.api.codec import decode
from lateen.api.security import AuthorizationPolicy, PeerAuthentication, RequestAuthentication


def test_a_peer_authentication_reads_modes_and_ports() -> None:
    document = {
        "metadata": {"name": "default", "namespace": "shop"},
        "spec": {
            "selector": {"matchLabels": {"app": "x"}},
            "mtls": {"mode": "STRICT"},
            "portLevelMtls": {"8080": {"mode": "DISABLE"}},
        },
    }
    value = decode(document, PeerAuthentication).value
    assert value is not None
    assert value.spec.mtls is not None
    assert value.spec.mtls.mode == "STRICT"
    assert {port: mtls.mode for port, mtls in value.spec.port_level_mtls.items()} == {"8080": "DISABLE"}


def test_keywords_of_python_are_read_by_their_json_name() -> None:
    document = {"spec": {"rules": [{"from": [{"source": {"principals": ["a"]}}]}]}}
    value = decode(document, AuthorizationPolicy).value
    assert value is not None
    (rule,) = value.spec.rules
    assert rule.from_[0].source is not None
    assert rule.from_[0].source.principals == ("a",)


@pytest.mark.parametrize(
    ("text", "seconds"), [("1.5s", 1.5), ("0s", 0), ("1m", 60), ("1h30m", 5400), ("250ms", 0.25), ("-1s", -1)]
)
def test_durations_are_those_of_go(text: str, seconds: float) -> None:
    value = decode({"spec": {"jwtRules": [{"timeout": text}]}}, RequestAuthentication).value
    assert value is not None
    assert value.spec.jwt_rules[0].timeout == timedelta(seconds=seconds)


def _jwt_rule(rule: dict[str, Any]) -> dict[str, Any]:
    return {"spec": {"jwtRules": [rule]}}


def test_the_names_of_the_proto_are_read_too_and_json_names_win() -> None:
    value = decode({"spec": {"jwt_rules": [{"jwks_uri": "a", "jwksUri": "b"}]}}, RequestAuthentication).value
    assert value is not None
    assert value.spec.jwt_rules[0].jwks_uri == "b"


@pytest.mark.parametrize("action", ["DENY", 1])
def test_enumerations_are_read_by_name_and_by_number(action: object) -> None:
    value = decode({"spec": {"action": action}}, AuthorizationPolicy).value
    assert value is not None
    assert value.spec.action == "DENY"


@pytest.mark.parametrize(
    ("document", "view", "path", "message"),
    [
        ({"spec": {"action": "deny"}}, AuthorizationPolicy, "spec.action", "must be one of ALLOW, DENY"),
        ({"spec": {"action": 9}}, AuthorizationPolicy, "spec.action", "not the number 9"),
        (_jwt_rule({"timeout": 5}), RequestAuthentication, "spec.jwtRules[0].timeout", "must be a duration"),
        (
            _jwt_rule({"timeout": "5"}),
            RequestAuthentication,
            "spec.jwtRules[0].timeout",
            "must be a duration",
        ),
        (
            _jwt_rule({"audiences": "a"}),
            RequestAuthentication,
            "spec.jwtRules[0].audiences",
            "must be a list",
        ),
        (
            _jwt_rule({"audiences": ["a", None]}),
            RequestAuthentication,
            "spec.jwtRules[0].audiences[1]",
            "must be a string, not null",
        ),
        (
            {"spec": {"jwtRules": [{}, {"forwardOriginalToken": "yes"}]}},
            RequestAuthentication,
            "spec.jwtRules[1].forwardOriginalToken",
            "must be true or false",
        ),
    ],
)
def test_a_mistake_is_named_with_its_path(document: Any, view: Any, path: str, message: str) -> None:
    decoded = decode(document, view)
    assert decoded.value is None
    (error,) = decoded.errors
    assert error.path == path
    assert message in error.message
