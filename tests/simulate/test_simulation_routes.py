"""A table of requests: the simulator and a real Envoy on real sockets take each of them to the same route."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from lateen.envoy.process import EnvoyProcess
from lateen.simulate.configuration import Configuration, read_configuration
from lateen.simulate.request import Request
from lateen.simulate.simulation import simulate

HCM = "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
ROUTER = "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"


def answer(name: str, **match: Any) -> dict[str, Any]:
    match.setdefault("prefix", "/") if not {"path", "safe_regex", "path_separated_prefix", "prefix"} & set(
        match
    ) else None
    return {"name": name, "match": match, "direct_response": {"status": 200, "body": {"inline_string": name}}}


def header(name: str, **matcher: Any) -> dict[str, Any]:
    return {"prefix": "/", "headers": [{"name": name, **matcher}]}


def regex(pattern: str) -> dict[str, str]:
    return {"regex": pattern}


def string(**matcher: Any) -> dict[str, Any]:
    return {"string_match": matcher}


def host(name: str, *domains: str, routes: list[dict[str, Any]]) -> dict[str, Any]:
    return {"name": name, "domains": list(domains), "routes": routes}


def backend(match: dict[str, Any], **action: Any) -> dict[str, Any]:
    return {"name": "forwarded", "match": match, "route": {"cluster": "backend", **action}}


def redirect(match: dict[str, Any], **action: Any) -> dict[str, Any]:
    return {"name": "redirected", "match": match, "redirect": action}


VIRTUAL_HOSTS = [
    host("exact", "www.example.com", routes=[answer("exact")]),
    host("suffix", "*.example.com", routes=[answer("suffix")]),
    host("longer-suffix", "*.api.example.com", routes=[answer("longer-suffix")]),
    host("bare-suffix", "*-internal.org", routes=[answer("bare-suffix")]),
    host("prefix", "shop.*", routes=[answer("prefix")]),
    host("longer-prefix", "shop.eu.*", routes=[answer("longer-prefix")]),
    host("with-port", "ported.org:8080", routes=[answer("with-port")]),
    host(
        "paths",
        "paths",
        routes=[
            answer("exact-path", path="/exact"),
            answer("any-case", path="/Folded", case_sensitive=False),
            answer("separated", path_separated_prefix="/api"),
            answer("regex", safe_regex=regex(r"/v[0-9]+/(users|orders)")),
            answer("regex-posix", safe_regex=regex(r"/[[:alpha:]]+/\d{2}$")),
            answer("regex-flag", safe_regex=regex(r"(?i)/loud/.*")),
            answer("regex-quoted", safe_regex=regex(r"/\Qa.b\E/?")),
            answer("prefix-case", prefix="/Case"),
            answer("prefix", prefix="/pre"),
        ],
    ),
    host(
        "headers",
        "headers",
        routes=[
            answer("exact", **header("x-exact", **string(exact="one"))),
            answer("exact-case", **header("x-fold", **string(exact="One", ignore_case=True))),
            answer("prefix", **header("x-prefix", **string(prefix="ab"))),
            answer("suffix", **header("x-suffix", **string(suffix="yz"))),
            answer("contains", **header("x-contains", **string(contains="mid"))),
            answer("regex", **header("x-regex", **string(safe_regex=regex("a+b?")))),
            answer("range", **header("x-range", range_match={"start": -5, "end": 10})),
            answer("present", **header("x-present", present_match=True)),
            answer("absent", **header("x-must-not", present_match=False) | {"prefix": "/absent"}),
            answer(
                "absent-inverted", **header("x-not", present_match=True, invert_match=True) | {"prefix": "/inverted"}
            ),
            answer("not-exact", **header("x-kind", invert_match=True, **string(exact="a")) | {"prefix": "/not"}),
            answer(
                "missing-is-empty",
                **header("x-kind", treat_missing_header_as_empty=True, **string(exact="")) | {"prefix": "/empty"},
            ),
            answer(
                "missing-is-not-a",
                **header("x-kind", treat_missing_header_as_empty=True, invert_match=True, **string(exact="a"))
                | {"prefix": "/maybe"},
            ),
            answer("old", **header("x-old", exact_match="b,c") | {"prefix": "/old"}),
            answer("joined", **header("x-joined", **string(exact="b,c")) | {"prefix": "/joined"}),
            answer("method", **header(":method", **string(exact="PUT"))),
            answer("authority", **header(":authority", **string(exact="headers")) | {"prefix": "/authority"}),
            answer("grpc", prefix="/grpc", grpc={}),
            answer("rest", prefix="/rest"),
        ],
    ),
    host(
        "queries",
        "queries",
        routes=[
            answer("exact", prefix="/", query_parameters=[{"name": "q", "string_match": {"exact": "one"}}]),
            answer(
                "regex", prefix="/", query_parameters=[{"name": "q", "string_match": {"safe_regex": regex("[0-9]+")}}]
            ),
            answer("present", prefix="/", query_parameters=[{"name": "flag", "present_match": True}]),
            answer("named", prefix="/", query_parameters=[{"name": "named"}]),
            answer("never", prefix="/", runtime_fraction={"default_value": {"numerator": 0, "denominator": "HUNDRED"}}),
            answer(
                "always", prefix="/", runtime_fraction={"default_value": {"numerator": 100, "denominator": "HUNDRED"}}
            ),
        ],
    ),
    host(
        "rewrites",
        "rewrites",
        routes=[
            backend({"prefix": "/old/"}, prefix_rewrite="/new/"),
            backend({"path": "/exact"}, prefix_rewrite="/replaced", host_rewrite_literal="other.org"),
            backend({"path_separated_prefix": "/sep"}, prefix_rewrite="/other"),
            backend(
                {"prefix": "/swap/"},
                regex_rewrite={"pattern": regex("/swap/([^/]+)/([^/]+)"), "substitution": r"/\2/\1"},
            ),
            backend({"prefix": "/header"}, host_rewrite_header="x-host"),
            backend({"prefix": "/missing"}, cluster="nowhere"),
            backend({"prefix": "/gone"}, cluster="nowhere", cluster_not_found_response_code="NOT_FOUND"),
            backend({"prefix": "/empty"}, cluster="empty"),
            backend({"prefix": "/"}),
        ],
    ),
    host(
        "redirects",
        "redirects",
        "redirects:80",
        "redirects:8080",
        routes=[
            redirect({"prefix": "/https"}, https_redirect=True),
            redirect({"prefix": "/host"}, host_redirect="other.org", response_code="FOUND"),
            redirect({"prefix": "/path"}, path_redirect="/there", response_code="TEMPORARY_REDIRECT"),
            redirect({"prefix": "/query"}, path_redirect="/there?own=1", response_code="SEE_OTHER"),
            redirect({"prefix": "/strip"}, strip_query=True, response_code="PERMANENT_REDIRECT"),
            redirect({"prefix": "/prefix"}, prefix_rewrite="/other"),
            redirect({"prefix": "/port"}, port_redirect=8443, scheme_redirect="https"),
            redirect({"prefix": "/regex"}, regex_rewrite={"pattern": regex("/regex/(.*)"), "substitution": r"/\1/x"}),
        ],
    ),
    host("secure", "secure", routes=[answer("never")]) | {"require_tls": "ALL"},
]


@dataclass(frozen=True)
class Call:
    host: str
    path: str = "/"
    method: str = "GET"
    headers: dict[str, tuple[str, ...]] = field(default_factory=dict)


def call(host: str, path: str = "/", method: str = "GET", **headers: str | tuple[str, ...]) -> Call:
    named = {name.replace("_", "-"): (value,) if isinstance(value, str) else value for name, value in headers.items()}
    return Call(host, path, method, named)


CALLS = [
    *(call(name) for name in ("www.example.com", "WWW.EXAMPLE.COM", "a.example.com", "example.com", ".example.com")),
    *(
        call(name)
        for name in ("a.api.example.com", "x-internal.org", "-internal.org", "shop.eu.org", "shop.us", "shop.")
    ),
    *(call(name) for name in ("ported.org:8080", "ported.org", "www.example.com:80", "nobody.org", "[::1]:80")),
    *(
        call("paths", path)
        for path in (
            *("/exact", "/exact/", "/exact?a=b", "/Exact", "/folded", "/FOLDED", "/api", "/api/", "/api/x", "/apix"),
            *("/v1/users", "/v12/orders", "/v1/users/x", "/v1/user", "/abc/12", "/abc/123", "/LOUD/x", "/loud/"),
            *("/a.b", "/a.b/", "/axb", "/Case1", "/case1", "/pre", "/prefix?x", "/", "/none", "/API/x"),
        )
    ),
    call("headers", x_exact="one"),
    call("headers", x_exact="two"),
    call("headers", x_exact=("one", "two")),
    call("headers", x_exact=("two", "three")),
    call("headers", x_regex=("b", "aab")),
    call("headers", x_range=("20", "3")),
    call("headers", x_prefix=("b", "abc")),
    call("headers", "/not", x_kind=("a", "b")),
    call("headers", "/not", x_kind=("b", "c")),
    call("headers", "/old", x_old=("b", "c")),
    call("headers", "/old", x_old="b,c"),
    call("headers", "/joined", x_joined=("b", "c")),
    call("headers", "/joined", x_joined="b,c"),
    call("headers", x_fold="ONE"),
    call("headers", x_prefix="abc"),
    call("headers", x_suffix="xyz"),
    call("headers", x_contains="amidst"),
    call("headers", x_regex="aaab"),
    call("headers", x_regex="aaabb"),
    *(call("headers", x_range=value) for value in ("-5", "9", "10", "-6", "1.0", "x")),
    call("headers", x_present="any"),
    call("headers", "/absent"),
    call("headers", "/absent", x_must_not="a"),
    call("headers", "/inverted"),
    call("headers", "/inverted", x_not="a"),
    *(
        call("headers", path, **kind)
        for path in ("/not", "/empty", "/maybe")
        for kind in ({}, {"x_kind": "a"}, {"x_kind": "b"})
    ),
    call("headers", method="PUT"),
    call("headers", "/authority"),
    call("headers", "/grpc", content_type="application/grpc"),
    call("headers", "/grpc", content_type="application/grpc+proto"),
    call("headers", "/grpc", content_type="application/grpcx"),
    call("headers", "/rest"),
    *(
        call("queries", f"/{query}")
        for query in (
            "?q=one",
            "?q=12",
            "?q=12x",
            "?q=two&q=one",
            "?q=%6Fne",
            "?flag",
            "?flag=1",
            "?named=x",
            "?named",
            "",
        )
    ),
    *(
        call("rewrites", path)
        for path in (
            *("/old/a?x=1", "/old/", "/exact?x=1", "/sep", "/sep/a", "/swap/a/b?c=d", "/swap/a", "/missing", "/gone"),
            *("/empty", "/plain?x=y#z"),
        )
    ),
    call("rewrites", "/header", x_host="given.org"),
    call("rewrites", "/header"),
    *(
        call(name, path)
        for name in ("redirects", "redirects:80", "redirects:8080")
        for path in (
            "/https?a=b",
            "/host",
            "/path?a=b",
            "/query?a=b",
            "/strip?a=b",
            "/prefix/x",
            "/port/x",
            "/regex/a?b=c",
        )
    ),
    call("secure", "/x?y=z"),
]


@dataclass(frozen=True)
class Answer:
    """What can be seen on the wire: status, route that answered, Location, and what a backend was asked."""

    status: int
    body: str = ""
    location: str = ""


@asynccontextmanager
async def run_backend() -> AsyncIterator[int]:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        path = head.split(" ")[1]
        host_line = next(line for line in head.split("\r\n") if line.lower().startswith("host:"))
        body = f"{host_line[5:].strip()} {path}".encode()
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\nconnection: close\r\n\r\n%s" % (len(body), body))
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        port: int = server.sockets[0].getsockname()[1]
        yield port


async def ask(port: int, wanted: Call) -> Answer:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    lines = [f"{wanted.method} {wanted.path} HTTP/1.1", f"host: {wanted.host}", "connection: close"]
    lines += [f"{name}: {value}" for name, values in wanted.headers.items() for value in values]
    writer.write(("\r\n".join(lines) + "\r\n\r\n").encode())
    status, *rest = (await reader.readuntil(b"\r\n\r\n")).decode().strip().split("\r\n")
    fields = dict(line.split(": ", 1) for line in rest if ": " in line)
    body = (await reader.readexactly(int(fields.get("content-length", 0)))).decode()
    writer.close()
    number = int(status.split(" ")[1])
    text = body or fields.get("grpc-message", "")
    return Answer(number, text if number == 200 else "", fields.get("location", ""))


def predict(configuration: Configuration, port: int, wanted: Call) -> Answer:
    request = Request(
        address="127.0.0.1", port=port, host=wanted.host, path=wanted.path, method=wanted.method, headers=wanted.headers
    )
    outcome = simulate(configuration, request)
    if outcome.endpoints and outcome.failure is None:
        return Answer(200, f"{outcome.host} {outcome.path.partition('#')[0]}")
    assert outcome.status is not None, outcome
    return Answer(outcome.status, outcome.body, outcome.location)


def build_cluster(name: str, *ports: int) -> dict[str, Any]:
    places = [{"address": "127.0.0.1", "port_value": port} for port in ports]
    endpoints = [{"lb_endpoints": [{"endpoint": {"address": {"socket_address": place}}} for place in places]}]
    return {"name": name, "type": "STATIC", "load_assignment": {"cluster_name": name, "endpoints": endpoints}}


def build_listener(port: int) -> dict[str, Any]:
    manager = {
        "@type": HCM,
        "stat_prefix": "test",
        "route_config": {"name": "local", "virtual_hosts": VIRTUAL_HOSTS, "validate_clusters": False},
        "http_filters": [{"name": "envoy.filters.http.router", "typed_config": {"@type": ROUTER}}],
    }
    chain = {"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]}
    address = {"socket_address": {"address": "127.0.0.1", "port_value": port}}
    return {"name": "test", "address": address, "filter_chains": [chain]}


def find_port(listeners: dict[str, Any]) -> int:
    [listener] = listeners["listener_statuses"]
    port: int = listener["local_address"]["socket_address"]["port_value"]
    return port


async def test_every_request_goes_where_envoy_takes_it(tmp_path: Path) -> None:
    async with run_backend() as backend_port:
        clusters = [build_cluster("backend", backend_port), build_cluster("empty")]
        bootstrap = {
            "admin": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}}},
            "static_resources": {"listeners": [build_listener(0)], "clusters": clusters},
        }
        async with EnvoyProcess(bootstrap, tmp_path) as envoy:
            await envoy.wait_ready()
            port = find_port(await envoy.admin.get_listeners())
            configuration = read_configuration({"listeners": [build_listener(port)], "clusters": clusters})
            dumped = read_configuration(await envoy.admin.get_config_dump(include_eds=True))
            different = {}
            for wanted in CALLS:
                found = await ask(port, wanted)
                predicted = predict(configuration, port, wanted)
                if found != predicted:
                    different[str(wanted)] = (found, predicted)
            assert not different, "\n".join(
                f"{wanted}: Envoy {one[0]}, we {one[1]}" for wanted, one in different.items()
            )
            assert set(dumped.clusters) == {"backend", "empty"}
    assert len(CALLS) > 100


@pytest.mark.parametrize("pattern", ["a(?=b)", r"(a)\1", "(", r"\pN", "[[:nothing:]]", "(?U)a+"])
def test_a_pattern_that_re2_refuses_or_python_cannot_say_matches_nothing(pattern: str) -> None:
    hosts = [host("all", "*", routes=[answer("regex", safe_regex=regex(pattern))])]
    listener = build_listener(80)
    listener["filter_chains"][0]["filters"][0]["typed_config"]["route_config"]["virtual_hosts"] = hosts
    outcome = simulate(read_configuration({"listeners": [listener]}), Request(address="127.0.0.1", port=80, path="/a"))
    assert outcome.status == 404
