"""What one change costs is counted in queries: it grows neither with the mesh nor with the number of proxies."""

from __future__ import annotations

from typing import Any

import pytest

from lateen.incremental.database import Database
from lateen.mesh.inputs import changes_of
from lateen.mesh.proxy import Proxy
from lateen.testing.mesh import PORT, build_mesh, build_service, build_slice, find_cluster
from lateen.translate.generate import find_call
from lateen.xds.resources import CLUSTER, ENDPOINT, LISTENER, ROUTE

CHANGED = 7


def build_proxies(count: int, namespaces: int) -> list[Proxy]:
    return [
        Proxy(
            id=f"proxy{number}",
            type="sidecar",
            namespace=f"ns{number % namespaces}",
            name=f"proxy{number}",
            addresses=(f"10.245.0.{number}",),
        )
        for number in range(count)
    ]


class Mesh:
    """Proxies that show everything: clusters, endpoints, listeners, routes."""

    def __init__(self, services: int, proxies: list[Proxy]) -> None:
        self.db = Database()
        self._services, self._proxies = services, proxies
        self.db.commit([row for document in build_mesh(services) for row in read(document)])
        self.show()

    def show(self) -> tuple[object, ...]:
        shown: list[object] = []
        for proxy in self._proxies:
            shown += [self.db.ask(find_call(proxy, type_url, None)) for type_url in (CLUSTER, LISTENER)]
            names = map(find_cluster, range(self._services))
            shown += [self.db.ask(find_call(proxy, ENDPOINT, name)) for name in names]
            shown.append(self.db.ask(find_call(proxy, ROUTE, str(PORT))))
        return tuple(shown)

    def count_recomputed(self, old: dict[str, Any], new: dict[str, Any]) -> int:
        before, counted = self.show(), self.db.counts.recomputed
        self.db.commit(read(new, old))
        assert self.show() != before, "the change is seen"
        return self.db.counts.recomputed - counted


def read(document: dict[str, Any], old: dict[str, Any] | None = None) -> tuple[Any, ...]:
    return tuple(changes_of(document["kind"], old, document))


def change_protocol() -> tuple[dict[str, Any], dict[str, Any]]:
    new = build_service(CHANGED)
    new["spec"]["ports"][0]["name"] = "http2"
    return build_service(CHANGED), new


def change_virtual_address() -> tuple[dict[str, Any], dict[str, Any]]:
    new = build_service(CHANGED)
    new["spec"] |= {"clusterIP": "10.96.200.200", "clusterIPs": ["10.96.200.200"]}
    return build_service(CHANGED), new


def change_endpoint() -> tuple[dict[str, Any], dict[str, Any]]:
    return build_slice(CHANGED), build_slice(CHANGED, "10.243.0.1")


def change_authorization() -> tuple[dict[str, Any], dict[str, Any]]:
    policy = {"kind": "AuthorizationPolicy", "metadata": {"name": "deny", "namespace": "ns0"}}
    return policy | {"spec": {"action": "DENY"}}, policy | {"spec": {"action": "DENY", "rules": [{}]}}


CHANGES = pytest.mark.parametrize(
    ("change", "most"),
    [
        pytest.param(change_protocol, 20, id="protocol of a port"),
        pytest.param(change_virtual_address, 20, id="virtual address"),
        pytest.param(change_endpoint, 8, id="endpoint"),
        pytest.param(change_authorization, 8, id="authorization"),
    ],
)


@CHANGES
def test_one_change_among_a_thousand_services_recomputes_a_handful_of_queries(change: Any, most: int) -> None:
    few = Mesh(100, build_proxies(2, 1)).count_recomputed(*change())
    many = Mesh(1_000, build_proxies(2, 1)).count_recomputed(*change())
    assert many == few
    assert many <= most


@CHANGES
def test_another_proxy_costs_one_query_another_namespace_that_looks_a_few(change: Any, most: int) -> None:
    two, fifty = (Mesh(100, build_proxies(count, 2)).count_recomputed(*change()) for count in (2, 50))
    wide = Mesh(100, build_proxies(40, 20)).count_recomputed(*change())
    assert fifty - two <= 48, "a further proxy picks one set that others have computed"
    assert wide <= most + 19 * 4


def test_a_change_that_translation_does_not_read_recomputes_nothing() -> None:
    mesh = Mesh(100, build_proxies(2, 1))
    new = build_service(CHANGED, annotations={"note": "for people"}, resourceVersion="2")
    before, counted = mesh.show(), mesh.db.counts.recomputed
    mesh.db.commit(read(new, build_service(CHANGED)))
    assert mesh.show() == before
    assert mesh.db.counts.recomputed == counted
