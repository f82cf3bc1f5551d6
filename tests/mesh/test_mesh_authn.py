"""Which PeerAuthentication holds for which workload and port."""

from typing import Any

import pytest

from lateen.incremental.database import Database
from lateen.mesh.authn import MutualTls, namespace_mode, peer_policy
from lateen.mesh.inputs import changes_of

WORKLOAD = (("app", "web"), ("version", "v1"))
PORT = 8080


def build_policy(namespace: str, mode: str | None = None, name: str = "default", **spec: Any) -> dict[str, Any]:
    metadata = {"name": name, "namespace": namespace, "creationTimestamp": spec.pop("created", "2026-01-01T00:00:00Z")}
    if mode is not None:
        spec["mtls"] = {"mode": mode}
    return {"kind": "PeerAuthentication", "metadata": metadata, "spec": spec}


def select(**labels: str) -> dict[str, Any]:
    return {"matchLabels": labels}


MESH = build_policy("istio-system", "STRICT")
CASES = [
    ("nothing: PERMISSIVE", [], "PERMISSIVE"),
    ("mesh", [MESH], "STRICT"),
    ("namespace beats mesh", [MESH, build_policy("shop", "DISABLE")], "DISABLE"),
    ("another namespace does not matter", [MESH, build_policy("other", "DISABLE")], "STRICT"),
    ("unset inherits", [MESH, build_policy("shop", "UNSET")], "STRICT"),
    ("no mtls inherits", [MESH, build_policy("shop")], "STRICT"),
    (
        "workload beats namespace",
        [build_policy("shop", "DISABLE"), build_policy("shop", "STRICT", "web", selector=select(app="web"))],
        "STRICT",
    ),
    ("selector must match", [build_policy("shop", "STRICT", "web", selector=select(app="db"))], "PERMISSIVE"),
    (
        "all labels must match",
        [build_policy("shop", "STRICT", "web", selector=select(app="web", version="v2"))],
        "PERMISSIVE",
    ),
    ("empty selector is the namespace", [build_policy("shop", "STRICT", selector=select())], "STRICT"),
    (
        "selector in the root namespace is ignored",
        [build_policy("istio-system", "STRICT", selector=select(app="web"))],
        "PERMISSIVE",
    ),
    (
        "oldest of a level counts",
        [
            build_policy("shop", "STRICT", "a", created="2026-01-02T00:00:00Z"),
            build_policy("shop", "DISABLE", "b", created="2026-01-01T00:00:00Z"),
        ],
        "DISABLE",
    ),
    (
        "first by name among equally old",
        [build_policy("shop", "STRICT", "b"), build_policy("shop", "DISABLE", "a")],
        "DISABLE",
    ),
    (
        "port beats workload",
        [
            build_policy(
                "shop", "STRICT", "web", selector=select(app="web"), portLevelMtls={"8080": {"mode": "DISABLE"}}
            )
        ],
        "DISABLE",
    ),
    (
        "unset port inherits the workload",
        [build_policy("shop", "STRICT", "web", selector=select(app="web"), portLevelMtls={"8080": {"mode": "UNSET"}})],
        "STRICT",
    ),
    (
        "another port does not matter",
        [
            build_policy(
                "shop", "STRICT", "web", selector=select(app="web"), portLevelMtls={"9090": {"mode": "DISABLE"}}
            )
        ],
        "STRICT",
    ),
    (
        "ports need a selector",
        [build_policy("shop", "STRICT", portLevelMtls={"8080": {"mode": "DISABLE"}})],
        "STRICT",
    ),
    ("a policy that cannot be read denies", [build_policy("shop", "NONSENSE")], "STRICT"),
    (
        "a policy that cannot be read denies those it selects",
        [build_policy("shop", "NONSENSE", selector=select(app="db"))],
        "PERMISSIVE",
    ),
]


def build_database(documents: list[dict[str, Any]]) -> Database:
    database = Database()
    database.commit([change for one in documents for change in changes_of("PeerAuthentication", None, one)])
    return database


@pytest.mark.parametrize(("policies", "mode"), [pytest.param(*case[1:], id=case[0]) for case in CASES])
def test_mode_of_a_port(policies: list[dict[str, Any]], mode: str) -> None:
    for documents in (policies, policies[::-1]):
        policy = peer_policy(build_database(documents), "shop", WORKLOAD)
        assert policy.get_mode(PORT) is MutualTls(mode)


def test_mesh_mode_holds_in_the_root_namespace_itself() -> None:
    database = build_database([MESH])
    assert namespace_mode(database, "istio-system") is MutualTls.STRICT
    assert peer_policy(database, "istio-system", WORKLOAD).mode is MutualTls.STRICT


def test_why_names_the_policy_that_decides() -> None:
    database = build_database([MESH, build_policy("shop", "DISABLE"), build_policy("other", "STRICT")])
    reasons = database.why(peer_policy.call("shop", WORKLOAD))
    assert [str(ref) for _, ref in reasons] == ["PeerAuthentication shop/default"]
