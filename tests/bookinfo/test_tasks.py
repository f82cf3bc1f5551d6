"""Istio's own Bookinfo files, unmodified, with the outcomes that Istio's tasks describe."""

from __future__ import annotations

import re
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e.conftest import Mesh, poll

from .conftest import Gateway, Scene, istio

NO_REVIEWS = "Sorry, product reviews are currently unavailable for this book."
NO_RATINGS = "Ratings service is currently unavailable"
PAGE = "/productpage"
JASON = ("-b", "session=jason")
VERSION = re.compile(r"Reviews served by: reviews-(v\d)")


@pytest.fixture(scope="module")
def bookinfo(mesh: Mesh, ingress: Gateway, samples: Path) -> Iterator[Scene]:
    """Bookinfo, its gateway and its subsets, from Istio's files, in namespace default."""
    scene, folder = Scene(mesh, "default"), samples / "bookinfo"
    scene.kubectl("label", "namespace", "default", "istio-injection=enabled")
    scene.apply(folder / "platform" / "kube" / "bookinfo.yaml", folder / "networking" / "bookinfo-gateway.yaml")
    scene.wait()
    scene.apply(folder / "networking" / "destination-rule-all.yaml")
    poll(lambda: ingress.ask(PAGE)[0] == 200)
    yield scene
    for file in (
        "networking/bookinfo-gateway.yaml",
        "networking/destination-rule-all.yaml",
        "platform/kube/bookinfo.yaml",
    ):
        scene.kubectl("delete", "--wait=false", "-f", str(folder / file))
    scene.kubectl("delete", "virtualservice", "--all")


@pytest.fixture(autouse=True)
def routes(bookinfo: Scene, samples: Path) -> Iterator[Scene]:
    """Every service to its version v1, as each task begins."""
    bookinfo.apply(samples / "bookinfo" / "networking" / "virtual-service-all-v1.yaml")
    yield bookinfo
    bookinfo.kubectl("delete", "virtualservice", "productpage", "reviews", "ratings", "details")


def find_versions(ingress: Gateway, *arguments: str, count: int = 20) -> Counter[str]:
    """The versions of reviews in that many pages."""
    pages = [ingress.ask(PAGE, *arguments) for _ in range(count)]
    assert all(status == 200 for status, _, _ in pages)
    return Counter(found[1] if (found := VERSION.search(body)) else "none" for _, body, _ in pages)


def apply_until(scene: Scene, ingress: Gateway, file: Path, expected: set[str], *arguments: str) -> None:
    """Apply one of Istio's files and wait until pages show these versions."""
    scene.apply(file)
    poll(lambda: find_versions(ingress, *arguments), until=lambda versions: set(versions) == expected)


def test_every_pod_has_its_sidecar(bookinfo: Scene) -> None:
    lines = bookinfo.kubectl("get", "pods", "--no-headers").splitlines()
    assert len(lines) == 6
    assert all(line.split()[1:3] == ["2/2", "Running"] for line in lines)


RECIPES = {
    "load balancer": """
        INGRESS_HOST=$(kubectl -n istio-system get service istio-ingressgateway -o jsonpath='{.status.loadBalancer.ingress[0].ip}')
        INGRESS_PORT=$(kubectl -n istio-system get service istio-ingressgateway -o jsonpath='{.spec.ports[?(@.name=="http2")].nodePort}')
    """,
    "node port": """
        INGRESS_HOST=$(kubectl get po -l istio=ingressgateway -n istio-system -o jsonpath='{.items[0].status.hostIP}')
        INGRESS_PORT=$(kubectl -n istio-system get service istio-ingressgateway -o jsonpath='{.spec.ports[?(@.name=="http2")].nodePort}')
    """,
}


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
def test_the_documented_way_to_the_gateway(mesh: Mesh, recipe: str) -> None:
    script = recipe + 'curl -s "http://$INGRESS_HOST:$INGRESS_PORT/productpage" | grep -o "<title>.*</title>"'
    done = subprocess.run(["sh", "-c", script], env=mesh.environment, capture_output=True, text=True, check=False)
    assert done.stdout == "<title>Simple Bookstore App</title>\n", done.stderr


def test_the_page_from_inside(bookinfo: Scene) -> None:
    page = bookinfo.kubectl(
        "exec", "deploy/ratings-v1", "-c", "ratings", "--", "curl", "-sS", "productpage:9080/productpage"
    )
    assert "<title>Simple Bookstore App</title>" in page


def test_request_routing_by_version_and_by_user(bookinfo: Scene, ingress: Gateway, samples: Path) -> None:
    networking = samples / "bookinfo" / "networking"
    poll(lambda: find_versions(ingress), until=lambda versions: set(versions) == {"v1"})
    apply_until(bookinfo, ingress, networking / "virtual-service-reviews-test-v2.yaml", {"v2"}, *JASON)
    assert find_versions(ingress) == {"v1": 20}


@pytest.mark.parametrize(
    ("name", "everybody", "jason"),
    [
        ("reviews-v3", {"v3"}, {"v3"}),
        ("reviews-jason-v2-v3", {"v3"}, {"v2"}),
        ("reviews-50-v3", {"v1", "v3"}, {"v1", "v3"}),
        ("reviews-80-20", {"v1", "v2"}, {"v1", "v2"}),
        ("reviews-90-10", {"v1", "v2"}, {"v1", "v2"}),
        ("reviews-v2-v3", {"v2", "v3"}, {"v2", "v3"}),
    ],
)
def test_traffic_shifting(
    bookinfo: Scene, ingress: Gateway, samples: Path, name: str, everybody: set[str], jason: set[str]
) -> None:
    apply_until(bookinfo, ingress, samples / "bookinfo" / "networking" / f"virtual-service-{name}.yaml", everybody)
    assert set(find_versions(ingress, *JASON, count=60)) == jason


def test_a_delay_that_the_page_does_not_wait_for(bookinfo: Scene, ingress: Gateway, samples: Path) -> None:
    networking = samples / "bookinfo" / "networking"
    apply_until(bookinfo, ingress, networking / "virtual-service-reviews-test-v2.yaml", {"v2"}, *JASON)
    bookinfo.apply(networking / "virtual-service-ratings-test-delay.yaml")
    status, body, seconds = poll(lambda: ingress.ask(PAGE, *JASON), until=lambda page: NO_REVIEWS in page[1])
    assert (status, seconds > 5.9) == (200, True)
    status, body, seconds = ingress.ask(PAGE)
    assert (status, NO_REVIEWS in body) == (200, False)


def test_an_abort_that_one_user_sees(bookinfo: Scene, ingress: Gateway, samples: Path) -> None:
    networking = samples / "bookinfo" / "networking"
    apply_until(bookinfo, ingress, networking / "virtual-service-reviews-test-v2.yaml", {"v2"}, *JASON)
    bookinfo.apply(networking / "virtual-service-ratings-test-abort.yaml")
    poll(lambda: NO_RATINGS in ingress.ask(PAGE, *JASON)[1])
    assert NO_RATINGS not in ingress.ask(PAGE)[1]


def test_details_that_answer_500(bookinfo: Scene, ingress: Gateway, samples: Path) -> None:
    bookinfo.apply(samples / "bookinfo" / "networking" / "fault-injection-details-v1.yaml")
    poll(lambda: "Error fetching product details!" in ingress.ask(PAGE)[1])
    assert VERSION.search(ingress.ask(PAGE)[1])


def test_a_version_that_does_not_run(bookinfo: Scene, ingress: Gateway, samples: Path) -> None:
    bookinfo.apply(samples / "bookinfo" / "networking" / "virtual-service-details-v2.yaml")
    poll(lambda: "Error fetching product details!" in ingress.ask(PAGE)[1])


def test_a_timeout_of_half_a_second(bookinfo: Scene, ingress: Gateway) -> None:
    slow = {"percentage": {"value": 100}, "fixedDelay": "2s"}
    to_v2 = [{"destination": {"host": "reviews", "subset": "v2"}}]
    ratings = [{"fault": {"delay": slow}, "route": [{"destination": {"host": "ratings", "subset": "v1"}}]}]
    bookinfo.apply(
        istio("VirtualService", "reviews", hosts=["reviews"], http=[{"route": to_v2}]),
        istio("VirtualService", "ratings", hosts=["ratings"], http=ratings),
    )
    _, body, _ = poll(lambda: ingress.ask(PAGE), until=lambda page: page[2] > 1.9 and "reviews-v2" in page[1])
    assert NO_RATINGS not in body
    bookinfo.apply(istio("VirtualService", "reviews", hosts=["reviews"], http=[{"route": to_v2, "timeout": "0.5s"}]))
    _, _, seconds = poll(lambda: ingress.ask(PAGE), until=lambda page: NO_REVIEWS in page[1])
    assert seconds > 0.9, "productpage asks reviews twice"
