"""The stand-ins for the images of Istio's documentation answer as its tasks expect."""

from __future__ import annotations

import http.client
import json
import socket
import time
import urllib.error
import urllib.request
from typing import Any

import pytest
from sample_process import Sample, Start, run

SMALL_KIB = 25 * 1024


def get(sample: Sample, path: str, **headers: str) -> tuple[int, str]:
    """(status, body)."""
    request = urllib.request.Request(sample.url(path), headers={k.replace("_", "-"): v for k, v in headers.items()})
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def get_json(sample: Sample, path: str, **headers: str) -> Any:
    """The document of a successful answer."""
    status, body = get(sample, path, **headers)
    assert status == 200, body
    return json.loads(body)


def start_bookinfo(start: Start, version: str = "v1", **environment: str) -> Sample:
    """productpage with its three services; ratings may be replaced by the environment of reviews."""
    details, ratings = start("bookinfo", "details", "v1", "{port}"), start("bookinfo", "ratings", "v1", "{port}")
    reviews = start("bookinfo", "reviews", version, "{port}", **address_of("ratings", ratings), **environment)
    return start(
        "bookinfo", "productpage", "v1", "{port}", **address_of("details", details), **address_of("reviews", reviews)
    )


def address_of(service: str, sample: Sample) -> dict[str, str]:
    return {
        f"{service.upper()}_HOSTNAME": "127.0.0.1",
        f"{service.upper()}_SERVICE_PORT_NUMBER": str(sample.port),
    }


def silent_port() -> socket.socket:
    """A server that takes connections and never answers."""
    return socket.create_server(("127.0.0.1", 0))


@pytest.mark.parametrize(
    ("module", "arguments"),
    [
        *[("bookinfo", (service, "v1", "{port}")) for service in ("productpage", "details", "reviews", "ratings")],
        ("httpbin", ("{port}",)),
        ("helloworld", ("{port}",)),
        ("tcp_echo", ("{port}", "hello")),
        ("fortio", ("server", "-http-port", "{port}")),
        ("echo", ()),
        *[("shop", (service,)) for service in ("frontend", "api", "orders", "payments")],
    ],
    ids=lambda value: value if isinstance(value, str) else value[0] if value else "",
)
def test_each_app_is_one_small_process(start: Start, module: str, arguments: tuple[str, ...]) -> None:
    sample = start(module, *arguments, PORT="{port}")
    assert sample.resident_kib < SMALL_KIB


@pytest.mark.parametrize(("version", "color"), [("v1", None), ("v2", "black"), ("v3", "red")])
def test_reviews_versions_differ_by_the_color_of_their_stars(start: Start, version: str, color: str | None) -> None:
    page = start_bookinfo(start, version)
    status, body = get(page, "/productpage")
    assert status == 200
    assert "<title>Simple Bookstore App</title>" in body
    assert "An extremely entertaining play by Shakespeare" in body
    assert "Book Details" in body
    colors = {each for each in ("black", "red") if f'color="{each}"' in body}
    assert colors == ({color} if color else set())
    reviews = get_json(page, "/api/v1/products/0/reviews")["reviews"]
    assert [each.get("rating", {}).get("color") for each in reviews] == [color, color]


def test_a_user_who_signs_in_is_sent_along_as_end_user(start: Start) -> None:
    echo = start("echo", PORT="{port}")
    page = start(
        "bookinfo", "productpage", "v1", "{port}", **address_of("details", echo), **address_of("reviews", echo)
    )
    answer = get_json(page, "/api/v1/products/0", Cookie="session=jason", x_request_id="r-1", x_b3_traceid="t-1")
    headers = {name.lower(): value for name, value in answer["headers"].items()}
    assert (headers["end-user"], headers["x-request-id"], headers["x-b3-traceid"]) == ("jason", "r-1", "t-1")


def test_signing_in_sets_a_cookie_and_goes_back(start: Start) -> None:
    page = start("bookinfo", "productpage", "v1", "{port}")
    connection = http.client.HTTPConnection("127.0.0.1", page.port)
    connection.request(
        "POST", "/login", "username=jason&passwd=", {"Content-Type": "application/x-www-form-urlencoded"}
    )
    answer = connection.getresponse()
    assert (answer.status, answer.headers["Location"]) == (302, "/productpage")
    assert answer.headers["Set-Cookie"].startswith("session=jason;")
    connection.close()


def test_reviews_v3_gives_up_on_slow_ratings_before_productpage_gives_up_on_it(start: Start) -> None:
    with silent_port() as silent:
        ratings = {"RATINGS_HOSTNAME": "127.0.0.1", "RATINGS_SERVICE_PORT_NUMBER": str(silent.getsockname()[1])}
        reviews = start("bookinfo", "reviews", "v3", "{port}", **ratings)
        assert "Ratings service is currently unavailable" in get(reviews, "/reviews/0")[1]


def test_productpage_gives_up_on_reviews_that_wait_for_ratings_without_end(start: Start) -> None:
    with silent_port() as silent:
        ratings = {"RATINGS_HOSTNAME": "127.0.0.1", "RATINGS_SERVICE_PORT_NUMBER": str(silent.getsockname()[1])}
        reviews = start("bookinfo", "reviews", "v2", "{port}", **ratings)
        details = start("bookinfo", "details", "v1", "{port}")
        page = start(
            "bookinfo",
            "productpage",
            "v1",
            "{port}",
            **address_of("details", details),
            **address_of("reviews", reviews),
        )
        started = time.monotonic()
        body = get(page, "/productpage")[1]
        assert "Sorry, product reviews are currently unavailable for this book." in body
        assert time.monotonic() - started >= 6.0  # two tries of 3 s, as the task on fault injection explains


@pytest.mark.parametrize(
    ("path", "status"), [("/status/418", 418), ("/status/503", 503), ("/get", 200), ("/nothing", 404), ("/post", 405)]
)
def test_httpbin_answers_with_the_status_asked_for(start: Start, path: str, status: int) -> None:
    assert get(start("httpbin", "{port}"), path)[0] == status


def test_go_httpbin_gives_headers_as_lists(start: Start) -> None:
    lists = get_json(start("httpbin", "{port}", HTTPBIN_LISTS="1"), "/headers", X_One="1")["headers"]
    assert lists["X-One"] == ["1"]
    plain = get_json(start("httpbin", "{port}"), "/get?a=b", X_One="1")
    assert (plain["headers"]["X-One"], plain["args"]) == ("1", {"a": "b"})


def test_helloworld_tells_version_and_instance(start: Start) -> None:
    sample = start("helloworld", "{port}", SERVICE_VERSION="v2")
    assert get(sample, "/hello") == (200, "Hello version: v2, instance: pod-1\n")


def test_tcp_echo_prefixes_each_line(start: Start) -> None:
    sample = start("tcp_echo", "{port}", "one")
    done = run("nc", "127.0.0.1", str(sample.port), stdin="Mon Nov\nTue\n")
    assert (done.returncode, done.stdout) == (0, "one Mon Nov\none Tue\n")


def test_fortio_load_prints_calls_and_codes(start: Start) -> None:
    sample = start("httpbin", "{port}")
    done = run("fortio", "load", "-c", "2", "-qps", "0", "-n", "20", "-loglevel", "Warning", sample.url("/get"))
    assert done.returncode == 0, done.stderr
    assert "Code 200 : 20 (100.0 %)" in done.stdout
    assert "All done 20 calls" in done.stdout


def test_a_shop_sells_and_shows_which_payments_charged(start: Start) -> None:
    payments = start("shop", "payments", PORT="{port}", VERSION="v2")
    orders = start("shop", "orders", PORT="{port}", PAYMENTS_URL=payments.url(""))
    api = start("shop", "api", PORT="{port}", ORDERS_URL=orders.url(""))
    frontend = start("shop", "frontend", PORT="{port}", API_URL=api.url(""))
    sold = run("curl", "-s", "-d", "product=1", "-L", "-w", "%{http_code}", frontend.url("/buy"))
    assert sold.stdout.endswith("200"), sold
    page = get(frontend, "/")[1]
    assert "<td>Sail cloth</td><td>108</td><td class='v2'>v2</td>" in page


def test_payments_fail_on_purpose(start: Start) -> None:
    payments = start("shop", "payments", PORT="{port}", FAIL_EVERY="2")
    assert [get(payments, "/charge?amount=10")[0] for _ in range(4)] == [200, 503, 200, 503]


def test_an_app_that_ends_answers_what_is_under_way(start: Start) -> None:
    sample = start("httpbin", "{port}")
    connection = http.client.HTTPConnection("127.0.0.1", sample.port, timeout=20)
    connection.request("GET", "/delay/1")
    connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    get(sample, "/get")  # the request before this one has been read by now
    sample.process.terminate()
    answer = connection.getresponse()
    assert (answer.status, answer.headers["Connection"]) == (200, "close")
    answer.read()
    connection.close()
