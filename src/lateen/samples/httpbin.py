"""A stand-in for httpbin: the routes that Istio's tasks and most curl examples use.

Methods, status codes, delays, headers, redirects, cookies, bytes, streams, basic and bearer authentication; compression
is left out. Answers have httpbin's JSON shapes; header names appear in canonical case. With HTTPBIN_LISTS=1 headers and
arguments are lists, as in go-httpbin, which Istio's newer samples use.
"""

from __future__ import annotations

import base64
import json
import os
import random
import sys
import time
import uuid
from collections.abc import Iterator
from typing import Any

from lateen.samples.web import Reply, Request, Router, reply_json, serve

_LONGEST_DELAY_SECONDS = 10.0
_MOST_BYTES = 1 << 20


def _headers_of(request: Request) -> dict[str, Any]:
    found: dict[str, list[str]] = {}
    for name, value in request.header_list:
        found.setdefault("-".join(part.capitalize() for part in name.split("-")), []).append(value)
    if os.environ.get("HTTPBIN_LISTS") == "1":
        return dict(sorted(found.items()))
    return {name: ",".join(values) for name, values in sorted(found.items())}


def _arguments_of(request: Request) -> dict[str, Any]:
    if os.environ.get("HTTPBIN_LISTS") == "1":
        return dict(request.query)
    return {name: values[0] if len(values) == 1 else list(values) for name, values in request.query.items()}


def _url_of(request: Request) -> str:
    scheme = request.headers.get("x-forwarded-proto", "http")
    query = "&".join(f"{name}={value}" for name, values in request.query.items() for value in values)
    return f"{scheme}://{request.headers.get('host', '')}{request.path}" + (f"?{query}" if query else "")


def _describe(request: Request) -> dict[str, Any]:
    origin = request.headers.get("x-forwarded-for", request.peer)
    return {
        "args": _arguments_of(request),
        "headers": _headers_of(request),
        "method": request.method,
        "origin": origin,
        "url": _url_of(request),
    }


def _anything(request: Request) -> Reply:
    text = request.body.decode("utf-8", "replace")
    is_form = "urlencoded" in request.headers.get("content-type", "")
    try:
        as_json = json.loads(text) if text else None
    except ValueError:
        as_json = None
    extra = {
        "data": "" if is_form else text,
        "files": {},
        "form": request.form() if is_form else {},
        "json": as_json,
    }
    return reply_json(_describe(request) | extra, indent=2)


def _status(request: Request) -> Reply:
    code = int(random.choice(request.groups["codes"].split(",")).split(":")[0])
    if not 100 <= code <= 599:
        return Reply(400, b"invalid status code\n")
    headers = [("Location", "/redirect/1")] if code in (301, 302, 303, 307, 308) else []
    if code == 401:
        headers.append(("WWW-Authenticate", 'Basic realm="Fake Realm"'))
    return Reply(code, b"I'm a teapot!\n" if code == 418 else b"", headers=headers)


def _delay(request: Request) -> Reply:
    time.sleep(min(float(request.groups["seconds"]), _LONGEST_DELAY_SECONDS))
    return _anything(request)


def _redirect(request: Request) -> Reply:
    left = int(request.groups["count"])
    target = f"/redirect/{left - 1}" if left > 1 else "/get"
    return Reply(302, headers=[("Location", target)])


def _cookies_set(request: Request) -> Reply:
    pairs = [(name, values[0]) for name, values in request.query.items()]
    headers = [("Set-Cookie", f"{name}={value}; Path=/") for name, value in pairs]
    return Reply(302, headers=[("Location", "/cookies"), *headers])


def _response_headers(request: Request) -> Reply:
    reply = reply_json({name: ", ".join(values) for name, values in request.query.items()}, indent=2)
    reply.headers += [(name, value) for name, values in request.query.items() for value in values]
    return reply


def _basic_auth(request: Request) -> Reply:
    user, password = request.groups["user"], request.groups["password"]
    wanted = base64.b64encode(f"{user}:{password}".encode()).decode()
    if request.headers.get("authorization") != f"Basic {wanted}":
        return Reply(401, headers=[("WWW-Authenticate", 'Basic realm="Fake Realm"')])
    return reply_json({"authenticated": True, "authorized": True, "user": user}, indent=2)


def _bearer(request: Request) -> Reply:
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme != "Bearer" or not token:
        return Reply(401, headers=[("WWW-Authenticate", "Bearer")])
    return reply_json({"authenticated": True, "token": token}, indent=2)


def _bytes(request: Request) -> Reply:
    return Reply(
        body=os.urandom(min(int(request.groups["count"]), _MOST_BYTES)),
        content_type="application/octet-stream",
    )


def _stream(request: Request) -> Reply:
    def lines() -> Iterator[bytes]:
        for number in range(min(int(request.groups["count"]), 100)):
            yield json.dumps(_describe(request) | {"id": number}).encode() + b"\n"

    return Reply(body=lines(), content_type="application/json")


def build_router() -> Router:
    """All routes."""
    router = Router()
    router.add("GET", "/", lambda _: Reply(200, PAGE.encode(), "text/html; charset=utf-8"))
    for method in ("get", "post", "put", "patch", "delete"):
        router.add(method.upper(), f"/{method}", _anything)
    router.add("HEAD", "/head", _anything)
    router.add("*", "/anything(/.*)?", _anything)
    router.add("*", r"/status/(?P<codes>[\d,:.]+)", _status)
    router.add("*", r"/delay/(?P<seconds>[\d.]+)", _delay)
    router.add("GET", "/headers", lambda request: reply_json({"headers": _headers_of(request)}, indent=2))
    router.add("GET", "/ip", lambda request: reply_json({"origin": _describe(request)["origin"]}, indent=2))
    router.add("GET", "/hostname", lambda _: reply_json({"hostname": os.environ.get("HOSTNAME", "")}, indent=2))
    router.add(
        "GET",
        "/user-agent",
        lambda request: reply_json({"user-agent": request.headers.get("user-agent", "")}, indent=2),
    )
    router.add("GET", "/uuid", lambda _: reply_json({"uuid": str(uuid.uuid4())}, indent=2))
    router.add("GET", r"/(relative-|absolute-)?redirect/(?P<count>\d+)", _redirect)
    router.add(
        "*",
        "/redirect-to",
        lambda request: Reply(302, headers=[("Location", request.query.get("url", ["/"])[0])]),
    )
    router.add("GET", "/cookies", lambda request: reply_json({"cookies": request.cookies()}, indent=2))
    router.add("GET", "/cookies/set", _cookies_set)
    router.add("GET POST", "/response-headers", _response_headers)
    router.add("GET", "/basic-auth/(?P<user>[^/]+)/(?P<password>[^/]+)", _basic_auth)
    router.add("GET", "/bearer", _bearer)
    router.add("GET", r"/(stream-)?bytes/(?P<count>\d+)", _bytes)
    router.add("GET", r"/stream/(?P<count>\d+)", _stream)
    router.add("GET", "/html", lambda _: Reply(200, PAGE.encode(), "text/html; charset=utf-8"))
    router.add(
        "GET",
        "/json",
        lambda _: reply_json({"slideshow": {"title": "Sample Slide Show", "slides": []}}, indent=2),
    )
    router.add("GET", "/robots.txt", lambda _: Reply(200, b"User-agent: *\nDisallow: /deny\n"))
    router.add("GET", "/deny", lambda _: Reply(200, b"this page is not for robots\n"))
    return router


PAGE = """<!doctype html><html lang="en"><head><title>httpbin.org</title></head><body>
<h1>httpbin</h1><p>An HTTP request and response service: try <a href="/headers">/headers</a>, <a href="/status/418">/status/418</a>,
<a href="/delay/2">/delay/2</a>, <a href="/anything">/anything</a>.</p></body></html>
"""


def main(argv: list[str]) -> None:
    """Serve on the port given, also as gunicorn's `-b HOST:PORT`, or 8080 (80 where `PORT` says so)."""
    given = argv[argv.index("-b") + 1].rpartition(":")[2] if "-b" in argv else next(iter(argv), "")
    serve(build_router(), int(given or os.environ.get("PORT", "8080")))


if __name__ == "__main__":
    main(sys.argv[1:])
