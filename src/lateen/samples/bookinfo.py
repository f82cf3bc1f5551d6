"""The four services of Istio's Bookinfo sample, told apart by name: productpage, details, reviews, ratings.

productpage asks details and reviews (3 s each, reviews tried twice); reviews v2 and v3 ask ratings (v2
waits 10 s and draws black stars, v3 waits 2.5 s and draws red ones; v1 asks nobody). These limits are what
Istio's fault injection task teaches. Trace headers, `end-user` and cookies travel along; signing in sets a
`session` cookie from which productpage takes `end-user`.
"""

from __future__ import annotations

import html
import json
import os
import sys
import urllib.parse
from collections.abc import Callable
from typing import Any

from lateen.samples.fetch import fetch
from lateen.samples.web import Reply, Request, Router, reply_json, serve

DETAILS_SECONDS = 3.0
REVIEWS_SECONDS = 3.0
REVIEWS_TRIES = 2
RATINGS_SECONDS = {"black": 10.0, "red": 2.5}
BOOK = {"id": 0, "title": "The Comedy of Errors", "descriptionHtml": "A play by William Shakespeare about two pairs of twins who are mistaken for one another."}  # fmt: skip


def _url(service: str, path: str) -> str:
    domain = os.environ.get("SERVICES_DOMAIN", "")
    host = os.environ.get(f"{service.upper()}_HOSTNAME", service) + (f".{domain}" if domain else "")
    return f"http://{host}:{os.environ.get(f'{service.upper()}_SERVICE_PORT_NUMBER', '9080')}/{path}"


def _ask(request: Request, service: str, path: str, seconds: float, tries: int = 1) -> tuple[int, Any]:
    headers = request.trace_headers()
    if user := _user_of(request):
        headers["end-user"] = user
    for _ in range(tries):
        status, body = fetch(_url(service, path), headers=headers, seconds=seconds)
        if status == 200:
            try:
                return status, json.loads(body)
            except ValueError:
                return 500, None
    return (status if status else 500), None


def _user_of(request: Request) -> str:
    session = urllib.parse.unquote(request.cookies().get("session", ""))
    return session or request.headers.get("end-user", "")


def build_details() -> Router:
    """Facts about a book."""

    def details(request: Request) -> Reply:
        return reply_json(
            {
                "id": int(request.groups["id"]),
                "author": "William Shakespeare",
                "year": 1595,
                "type": "paperback",
                "pages": 200,
                "publisher": "PublisherA",
                "language": "English",
                "ISBN-10": "1234567890",
                "ISBN-13": "123-1234567890",
            }
        )

    router = Router()
    router.add("GET", "/health", lambda _: reply_json({"status": "Details is healthy"}))
    router.add("GET", r"/details/(?P<id>\d+)", details)
    return router


def build_ratings() -> Router:
    """Stars of two reviewers; POST replaces them."""
    stored: dict[str, dict[str, int]] = {}

    def ratings(request: Request) -> Reply:
        book = request.groups["id"]
        if request.method == "POST":
            try:
                stored[book] = {str(name): int(stars) for name, stars in json.loads(request.body).items()}
            except (ValueError, AttributeError, TypeError):
                return reply_json({"error": "please provide valid ratings JSON"}, 400)
        given = stored.get(book, {"Reviewer1": 5, "Reviewer2": 4})
        return reply_json({"id": int(book), "ratings": given})

    router = Router()
    router.add("GET", "/health", lambda _: reply_json({"status": "Ratings is healthy"}))
    router.add("GET POST", r"/ratings/(?P<id>\d+)", ratings)
    return router


def build_reviews(version: str) -> Router:
    """Two reviews, with stars from ratings in versions 2 and 3."""
    color = {"v1": "", "v2": "black", "v3": "red"}.get(version, "")
    texts = {
        "Reviewer1": "An extremely entertaining play by Shakespeare. The slapstick humour is refreshing!",
        "Reviewer2": "Absolutely fun and entertaining. The play lacks thematic depth when compared to other plays by Shakespeare.",
    }

    def reviews(request: Request) -> Reply:
        book = request.groups["id"]
        answer: dict[str, Any] = {
            "id": book,
            "podname": os.environ.get("HOSTNAME", ""),
            "clustername": os.environ.get("CLUSTER_NAME", "null"),
            "reviews": [{"reviewer": name, "text": text} for name, text in texts.items()],
        }
        if color:
            status, found = _ask(request, "ratings", f"ratings/{book}", RATINGS_SECONDS[color])
            for review in answer["reviews"]:
                stars = (found or {}).get("ratings", {}).get(review["reviewer"], -1)
                review["rating"] = (
                    {"stars": stars, "color": color}
                    if status == 200 and stars != -1
                    else {"error": "Ratings service is currently unavailable"}
                )
        return reply_json(answer)

    router = Router()
    router.add("GET", "/health", lambda _: reply_json({"status": "Reviews is healthy"}))
    router.add("GET", r"/reviews/(?P<id>\d+)", reviews)
    return router


def build_productpage() -> Router:
    """The page of the book, and the same data as JSON."""

    def details(request: Request) -> tuple[int, Any]:
        status, found = _ask(request, "details", "details/0", DETAILS_SECONDS)
        return status, found or {"error": "Sorry, product details are currently unavailable for this book."}

    def reviews(request: Request) -> tuple[int, Any]:
        status, found = _ask(request, "reviews", "reviews/0", REVIEWS_SECONDS, REVIEWS_TRIES)
        return status, found or {"error": "Sorry, product reviews are currently unavailable for this book."}

    def page(request: Request) -> Reply:
        text = render_page(_user_of(request), details(request), reviews(request))
        return Reply(200, text.encode(), "text/html; charset=utf-8")

    def login(request: Request) -> Reply:
        user = urllib.parse.quote(request.form().get("username", ""))
        cookie = f"session={user}; Path=/; HttpOnly"
        back = request.headers.get("referer", "/productpage")
        return Reply(302, headers=[("Location", back), ("Set-Cookie", cookie)])

    def logout(request: Request) -> Reply:
        back = request.headers.get("referer", "/productpage")
        return Reply(302, headers=[("Location", back), ("Set-Cookie", "session=; Path=/; Max-Age=0")])

    def answer_json(status: int, value: Any) -> Reply:
        return reply_json(value, status)

    router = Router()
    router.add("GET", "/(index.html)?", lambda _: Reply(200, INDEX.encode(), "text/html; charset=utf-8"))
    router.add("GET", "/health", lambda _: Reply(200, b"Product page is healthy"))
    router.add("GET", "/productpage", page)
    router.add("POST", "/login", login)
    router.add("GET", "/logout", logout)
    router.add("GET", "/api/v1/products", lambda _: reply_json([BOOK]))
    router.add("GET", r"/api/v1/products/\d+", lambda request: answer_json(*details(request)))
    router.add("GET", r"/api/v1/products/\d+/reviews", lambda request: answer_json(*reviews(request)))
    router.add(
        "GET",
        r"/api/v1/products/\d+/ratings",
        lambda request: answer_json(*_ask(request, "ratings", "ratings/0", DETAILS_SECONDS)),
    )
    return router


STYLE = """body{font:16px/1.5 system-ui,sans-serif;margin:0;color:#222}header{background:#335;color:#fff;padding:.7em 2em}
main{display:grid;grid-template-columns:1fr 1fr;gap:2em;padding:1em 2em}h4{margin:.3em 0}td{padding:.1em 1em .1em 0}
header a,header button{color:#fff;background:none;border:1px solid #99b;padding:.1em .6em;margin-left:1em}
blockquote{margin:0 0 1em;padding:.4em 1em;border-left:4px solid #ccd}small{color:#777}"""
INDEX = f"""<!doctype html><html lang="en"><head><title>Simple Bookstore App</title><style>{STYLE}</style></head><body>
<header>Bookinfo</header><main><p>A page put together by four services.
<a href="/productpage">The Comedy of Errors</a></p></main></body></html>"""


def render_page(user: str, details: tuple[int, Any], reviews: tuple[int, Any]) -> str:
    """The book's page in HTML."""
    signed = (
        f'<span>{html.escape(user)} (<a href="logout">sign out</a>)</span>'
        if user
        else '<form method="post" action="login" style="display:inline"><input name="username" placeholder="User Name">'
        '<input type="password" name="passwd" placeholder="Password"><button>Sign in</button></form>'
    )
    return f"""<!doctype html><html lang="en"><head><title>Simple Bookstore App</title><style>{STYLE}</style></head><body>
<header>Bookinfo {signed}</header>
<main style="display:block"><h3>{BOOK["title"]}</h3><p>Summary: {BOOK["descriptionHtml"]}</p></main>
<main><section>{_render_details(*details)}</section><section>{_render_reviews(*reviews)}</section></main></body></html>"""


def _render_details(status: int, details: Any) -> str:
    if status != 200:
        return f"<h4>Error fetching product details!</h4><p>{html.escape(str(details['error']))}</p>"
    names = ("type", "pages", "publisher", "language", "ISBN-10", "ISBN-13")
    rows = "".join(f"<tr><td>{name}:</td><td>{html.escape(str(details[name]))}</td></tr>" for name in names)
    return f"<h4>Book Details</h4><table>{rows}</table>"


def _render_reviews(status: int, reviews: Any) -> str:
    if status != 200:
        return f"<h4>Error fetching product reviews!</h4><p>{html.escape(str(reviews['error']))}</p>"
    parts = ["<h4>Book Reviews</h4>"]
    for review in reviews["reviews"]:
        parts.append(f"<blockquote><p>{html.escape(review['text'])}</p><small>{review['reviewer']}</small>")
        rating = review.get("rating")
        if rating and "error" in rating:
            parts.append(f"<p><i>{html.escape(rating['error'])}</i></p>")
        elif rating:
            full = '<span class="glyphicon glyphicon-star">&#9733;</span>' * rating["stars"]
            empty = '<span class="glyphicon glyphicon-star-empty">&#9734;</span>' * (5 - rating["stars"])
            parts.append(f'<p><font color="{rating["color"]}">{full}{empty}</font></p>')
        parts.append("</blockquote>")
    parts.append(f"<p><small>Reviews served by: {html.escape(str(reviews.get('podname', '')))}</small></p>")
    return "".join(parts)


def main(argv: list[str]) -> None:
    """Serve one of the four: `bookinfo.py SERVICE [VERSION] [PORT]`."""
    service, version, port = (argv + ["details", "v1", "9080"][len(argv) :])[:3]
    builders: dict[str, Callable[[], Router]] = {
        "productpage": build_productpage,
        "details": build_details,
        "ratings": build_ratings,
        "reviews": lambda: build_reviews(version),
    }
    serve(builders[service](), int(port))


if __name__ == "__main__":
    main(sys.argv[1:])
