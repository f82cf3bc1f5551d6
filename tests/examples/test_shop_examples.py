"""Every example of `examples/README.md` does what the page says."""

from __future__ import annotations

import re
import urllib.error
import urllib.request

import yaml

from conftest import EXAMPLES, Shop


def test_the_shop_sells_with_an_envoy_beside_each_service(shop: Shop) -> None:
    ready = shop.kubectl("get", "pods", "--no-headers").splitlines()
    assert len(ready) == 4
    assert {line.split()[1] for line in ready} == {"2/2"}
    status, answer = shop.buy()
    assert (status, answer["payment"]["charged"], answer["payment"]["version"]) == (201, 120, "v1")


def test_a_canary_moves_purchases_step_by_step(shop: Shop) -> None:
    shop.apply("canary/subsets.yaml", "canary/1-all-v1.yaml")
    shop.apply("canary/payments-v2.yaml")
    assert {shop.charged_by() for _ in range(10)} == {"v1"}
    shop.apply("canary/2-ten-percent.yaml")
    shop.until(shop.charged_by, lambda version: version == "v2")
    assert {shop.charged_by() for _ in range(30)} >= {"v1"}
    shop.apply("canary/3-all-v2.yaml")
    shop.until(lambda: {shop.charged_by() for _ in range(10)}, lambda versions: versions == {"v2"})
    assert shop.buy()[1]["payment"]["charged"] == 108


def test_an_ab_test_goes_by_who_asks(shop: Shop) -> None:
    shop.apply("canary/subsets.yaml", "canary/payments-v2.yaml")
    shop.apply("ab-test/by-header.yaml")
    beta = ("-H", "x-shop-group: beta")
    shop.until(lambda: {shop.charged_by(*beta) for _ in range(5)}, lambda versions: versions == {"v2"})
    shop.until(lambda: {shop.charged_by() for _ in range(5)}, lambda versions: versions == {"v1"})


def test_strict_mtls_keeps_outsiders_out_and_the_shop_open(shop: Shop) -> None:
    shop.apply("mtls/outsider.yaml")
    shop.kubectl("wait", "--for=condition=Ready", "pod/outsider", "--timeout=40s")

    def knock() -> int:
        return shop.curl("http://payments:8080/healthz", pod="outsider", container="curl")[0]

    assert shop.until(knock, lambda status: status == 200) == 200
    shop.apply("mtls/strict.yaml")
    assert shop.until(knock, lambda status: status == 0) == 0
    assert shop.charged_by() == "v1"


def test_nobody_waits_for_slow_payments_longer_than_the_timeout(shop: Shop) -> None:
    shop.apply("timeouts/slow-payments.yaml")
    assert shop.until(lambda: shop.buy()[0], lambda status: status != 201) == 504


def test_retries_hide_a_bank_that_is_busy_now_and_then(shop: Shop) -> None:
    shop.apply("timeouts/failing-payments.yaml", "timeouts/no-retries.yaml")
    shop.until(lambda: {shop.buy()[0] for _ in range(6)}, lambda seen: seen == {201, 503})
    shop.apply("timeouts/retries.yaml")
    shop.until(lambda: {shop.buy()[0] for _ in range(12)}, lambda seen: seen == {201})


def test_the_gateway_shows_the_shop_to_a_browser(shop: Shop) -> None:
    gateway = shop.mesh.get("service", "istio-ingressgateway", "istio-system")
    assert gateway is not None
    port = next(each["nodePort"] for each in gateway["spec"]["ports"] if each["port"] == 80)

    def browse(path: str) -> tuple[int, str]:
        request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", headers={"Host": "shop.localhost"})
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, ""
        except OSError:
            return 0, ""

    status, page = shop.until(lambda: browse("/"), lambda answer: answer[0] == 200)
    assert (status, "<h1>Lateen shop</h1>" in page, "Brass compass" in page) == (200, True, True)
    assert '"service": "api"' in browse("/api/products")[1]


def test_every_file_is_named_in_the_page_and_every_name_exists() -> None:
    page = (EXAMPLES / "README.md").read_text()
    named = set(re.findall(r"-f examples/([\w./-]+)", page))
    assert {name for name in named if not (EXAMPLES / name).exists()} == set()
    files = {str(path.relative_to(EXAMPLES)) for path in EXAMPLES.rglob("*.yaml")}
    assert {name for name in files if name not in named and name.partition("/")[0] not in named} == set()
    for name in files:
        assert all(document["kind"] for document in yaml.safe_load_all((EXAMPLES / name).read_text()))
