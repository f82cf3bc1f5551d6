"""The project's own example: a shop of four services, told apart by name.

    browser -> frontend -> api -> orders -> payments (v1 charges at once, v2 gives 10 % off)

Every answer says which version of which pod gave it, so that a canary or an A/B test can be seen from outside. Trace
headers and `x-shop-group` travel along. Environment: `VERSION` (v1), `PORT` (8080), `API_URL`, `ORDERS_URL`,
`PAYMENTS_URL`, and to misbehave on purpose `FAIL_EVERY` (each Nth charge is answered 503) and `DELAY_SECONDS`.
"""

from __future__ import annotations

import html
import itertools
import json
import os
import sys
import time
from typing import Any

from lateen.samples.fetch import fetch
from lateen.samples.web import Reply, Request, Router, reply_json, serve

CALL_SECONDS = 15.0
GROUP_HEADER = "x-shop-group"
PRODUCTS = (
    {"id": 1, "name": "Sail cloth", "price": 120},
    {"id": 2, "name": "Hemp rope", "price": 15},
    {"id": 3, "name": "Brass compass", "price": 80},
)
_MOST_ORDERS = 20


def _identity(service: str) -> dict[str, str]:
    return {
        "service": service,
        "version": os.environ.get("VERSION", "v1"),
        "pod": os.environ.get("HOSTNAME", ""),
    }


def _url(service: str, path: str) -> str:
    return os.environ.get(f"{service.upper()}_URL", f"http://{service}:8080").rstrip("/") + path


def ask(request: Request, service: str, path: str, *, method: str = "GET", body: bytes = b"") -> tuple[int, Any]:
    """(status, document) of another service's answer; what is not JSON becomes `{"error": text}`."""
    headers = request.trace_headers()
    if group := request.headers.get(GROUP_HEADER):
        headers[GROUP_HEADER] = group
    status, answer = fetch(_url(service, path), headers=headers, seconds=CALL_SECONDS, method=method, body=body)
    try:
        return status or 503, json.loads(answer)
    except ValueError:
        return status or 503, {"error": answer.decode("utf-8", "replace") or f"{service} did not answer"}


def _find_product(text: str) -> dict[str, Any] | None:
    return next((product for product in PRODUCTS if str(product["id"]) == text), None)


def build_payments() -> Router:
    """Charges an amount."""
    version = os.environ.get("VERSION", "v1")
    fail_every = int(os.environ.get("FAIL_EVERY", "0"))
    delay = float(os.environ.get("DELAY_SECONDS", "0"))
    numbers = itertools.count(1)

    def charge(request: Request) -> Reply:
        number = next(numbers)
        time.sleep(delay)
        if fail_every and number % fail_every == 0:
            return reply_json({"error": "the bank is busy", **_identity("payments")}, 503)
        amount = int(request.query.get("amount", ["0"])[0] or 0)
        charged = amount * 90 // 100 if version == "v2" else amount
        return reply_json({"charged": charged, "attempt": number, **_identity("payments")})

    router = Router()
    router.add("GET POST", "/charge", charge)
    return router


def build_orders() -> Router:
    """Takes orders, each paid at once."""
    taken: list[dict[str, Any]] = []
    numbers = itertools.count(1)

    def order(request: Request) -> Reply:
        if request.method == "GET":
            return reply_json({"orders": taken[-_MOST_ORDERS:], **_identity("orders")})
        product = _find_product(request.query.get("product", [""])[0])
        if product is None:
            return reply_json({"error": "no such product", **_identity("orders")}, 404)
        status, payment = ask(request, "payments", f"/charge?amount={product['price']}", method="POST")
        if status != 200:
            return reply_json({"error": "payment failed", "payment": payment, **_identity("orders")}, status)
        made = {"number": next(numbers), "product": product["name"], "payment": payment}
        taken.append(made)
        del taken[:-_MOST_ORDERS]
        return reply_json({**made, **_identity("orders")}, 201)

    router = Router()
    router.add("GET POST", "/orders", order)
    return router


def build_api() -> Router:
    """What the frontend, and programs, talk to."""

    def orders(request: Request) -> Reply:
        product = request.query.get("product", [""])[0]
        path = "/orders" + (f"?product={product}" if product.isdigit() else "")
        status, answer = ask(request, "orders", path, method=request.method)
        return reply_json({**answer, "via": _identity("api")}, status)

    router = Router()
    router.add("GET", "/api/products", lambda _: reply_json({"products": PRODUCTS, **_identity("api")}))
    router.add("GET POST", "/api/orders", orders)
    return router


def build_frontend() -> Router:
    """The shop's page; a purchase is a form without script."""

    def page(request: Request) -> Reply:
        return _page(ask(request, "api", "/api/products"), ask(request, "api", "/api/orders"))

    def buy(request: Request) -> Reply:
        product = request.form().get("product", "")
        status, answer = ask(request, "api", f"/api/orders?product={product}", method="POST")
        if status != 201:
            return _page(ask(request, "api", "/api/products"), (status, answer), status=status)
        return Reply(303, headers=[("Location", "/")])

    def forward(request: Request) -> Reply:
        path = request.path + (f"?product={request.query['product'][0]}" if "product" in request.query else "")
        status, answer = ask(request, "api", path, method=request.method)
        return reply_json(answer, status)

    router = Router()
    router.add("GET", "/", page)
    router.add("POST", "/buy", buy)
    router.add("GET POST", "/api/.*", forward)
    return router


STYLE = """body{font:16px/1.5 system-ui,sans-serif;max-width:44em;margin:2em auto;padding:0 1em;color:#223}
h1{font-weight:600}table{border-collapse:collapse;width:100%}td,th{text-align:left;padding:.35em .8em;border-bottom:1px solid #dde}
button{font:inherit;padding:.2em .9em}.v1{color:#05668d}.v2{color:#9a3b00}small{color:#667}.error{color:#a00}"""


def _page(products: tuple[int, Any], orders: tuple[int, Any], *, status: int = 200) -> Reply:
    rows = "".join(
        f"<tr><td>{html.escape(each['name'])}</td><td>{each['price']}</td><td><form method='post' action='/buy'>"
        f"<input type='hidden' name='product' value='{each['id']}'><button>Buy</button></form></td></tr>"
        for each in products[1].get("products", ())
    )
    taken = "".join(_order_row(each) for each in reversed(orders[1].get("orders", [])))
    error = next((answer[1]["error"] for answer in (products, orders) if "error" in answer[1]), "")
    notice = f"<p class='error'>{html.escape(str(error))}</p>" if error else ""
    own = _identity("frontend")
    text = f"""<!doctype html><html lang="en"><head><title>Lateen shop</title><style>{STYLE}</style></head><body>
<h1>Lateen shop</h1>{notice}<table><tr><th>Product</th><th>Price</th><th></th></tr>{rows}</table>
<h2>Orders</h2><table><tr><th>#</th><th>Product</th><th>Charged</th><th>Payments</th></tr>{taken}</table>
<p><small>frontend {html.escape(own["version"])} on {html.escape(own["pod"])}</small></p></body></html>"""
    return Reply(status, text.encode(), "text/html; charset=utf-8")


def _order_row(order: dict[str, Any]) -> str:
    payment = order["payment"]
    version = html.escape(str(payment.get("version", "")))
    name = html.escape(order["product"])
    return (
        f"<tr><td>{order['number']}</td><td>{name}</td><td>{payment.get('charged')}</td>"
        f"<td class='{version}'>{version}</td></tr>"
    )


def build_router(service: str) -> Router:
    """The routes of one of the four services, and its health."""
    builders = {"frontend": build_frontend, "api": build_api, "orders": build_orders, "payments": build_payments}
    router = builders[service]()
    router.add("GET", "/healthz", lambda _: reply_json({"status": "ok", **_identity(service)}))
    return router


def main(argv: list[str]) -> None:
    """Serve one of the four: `shop.py SERVICE`."""
    serve(build_router(argv[0]), int(os.environ.get("PORT", "8080")))


if __name__ == "__main__":
    main(sys.argv[1:])
