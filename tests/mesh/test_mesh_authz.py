"""Which AuthorizationPolicies hold for which workload, and what a broken one becomes."""

from typing import Any

import pytest

from lateen.incremental.database import Database
from lateen.mesh.authorization_rows import build_authorization_policy_row
from lateen.mesh.authz import Authorization, authorization
from lateen.mesh.inputs import changes_of

WEB = (("app", "web"), ("version", "v1"))


def build_policy(namespace: str, name: str, annotations: dict[str, str] | None = None, **spec: Any) -> dict[str, Any]:
    metadata = {"name": name, "namespace": namespace, "annotations": annotations or {}}
    return {"kind": "AuthorizationPolicy", "metadata": metadata, "spec": spec}


def select(**labels: str) -> dict[str, Any]:
    return {"matchLabels": labels}


def find(*policies: dict[str, Any], labels: tuple[tuple[str, str], ...] = WEB) -> Authorization:
    database = Database()
    database.commit([change for one in policies for change in changes_of("AuthorizationPolicy", None, one)])
    return authorization(database, "shop", labels)


def test_policies_of_the_namespace_and_the_root_namespace_add_up() -> None:
    found = find(
        build_policy("shop", "b"),
        build_policy("shop", "a"),
        build_policy("istio-system", "root"),
        build_policy("other", "c"),
        build_policy("shop", "denies", action="DENY"),
        build_policy("shop", "asks", action="CUSTOM", provider={"name": "mine"}),
        build_policy("shop", "watches", action="AUDIT"),
    )
    assert [(one.namespace, one.name) for one in found.allow] == [
        ("istio-system", "root"),
        ("shop", "a"),
        ("shop", "b"),
    ]
    assert [one.name for one in found.deny] == ["denies"]
    assert [(one.name, one.provider) for one in found.custom] == [("asks", "mine")]
    assert [one.name for one in found.audit] == ["watches"]


@pytest.mark.parametrize("namespace", ["shop", "istio-system"])
def test_a_selector_asks_for_labels_in_the_root_namespace_too(namespace: str) -> None:
    policy = build_policy(namespace, "web", selector=select(app="web"))
    assert find(policy).allow
    assert not find(policy, labels=(("app", "db"),)).allow


def test_a_policy_with_a_target_is_for_no_sidecar() -> None:
    assert (
        build_authorization_policy_row(build_policy("shop", "x", targetRefs=[{"kind": "Gateway", "name": "g"}])) is None
    )


@pytest.mark.parametrize(("text", "dry_run"), [("true", True), ("1", True), ("false", False), ("yes", False)])
def test_dry_run_is_what_go_reads_as_true(text: str, dry_run: bool) -> None:
    row = build_authorization_policy_row(build_policy("shop", "x", {"istio.io/dry-run": text}))
    assert row is not None
    assert row.dry_run is dry_run


@pytest.mark.parametrize(
    ("spec", "action", "rules"),
    [
        pytest.param({"rules": "all"}, "ALLOW", 0, id="would have allowed: allows nothing"),
        pytest.param({"action": "DENY", "rules": "all"}, "DENY", 1, id="would have denied: denies everything"),
        pytest.param({"action": "CUSTOM", "rules": 1}, "DENY", 1, id="would have asked: denies everything"),
        pytest.param({"action": "NO"}, "DENY", 1, id="unknown action: denies everything"),
    ],
)
def test_a_policy_that_cannot_be_read_closes_doors(spec: dict[str, Any], action: str, rules: int) -> None:
    row = build_authorization_policy_row(build_policy("shop", "x", selector=select(app="web"), **spec))
    assert row is not None
    assert (row.action, len(row.rules), row.selector) == (action, rules, (("app", "web"),))


def test_a_change_of_one_workloads_policy_leaves_the_others_value() -> None:
    database = Database()
    old = build_policy("shop", "web", selector=select(app="web"))
    database.commit(changes_of("AuthorizationPolicy", None, old))
    web, db = authorization.call("shop", WEB), authorization.call("shop", (("app", "db"),))
    before = database.ask(web), database.ask(db)
    new = build_policy("shop", "web", selector=select(app="web"), rules=[{}])
    database.commit(changes_of("AuthorizationPolicy", old, new))
    assert database.ask(web) != before[0]
    assert database.ask(db) == before[1]


def test_a_status_changes_nothing() -> None:
    policy = build_policy("shop", "web")
    (old,) = changes_of("AuthorizationPolicy", None, policy)
    (new,) = changes_of("AuthorizationPolicy", policy, policy | {"status": {"conditions": [{"type": "Reconciled"}]}})
    assert old == new
