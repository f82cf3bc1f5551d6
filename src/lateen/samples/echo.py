"""The image `lateen/sample-http`: an HTTP server that answers with what it was asked.

`GET /anything` -> JSON of method, path, headers (in order received, names as received), peer address, body, pod and
version. `/healthz` answers 200, `/status/<code>` that status, `/delay/<seconds>` after a pause. Environment: `PORT`
(8080), `VERSION`.
"""

from __future__ import annotations

import os
import socket
import time

from lateen.samples.web import Reply, Request, Router, reply_json, serve

DEFAULT_PORT = 8080


def describe(request: Request, status: int = 200) -> Reply:
    """What was asked, as JSON."""
    return reply_json(
        {
            "method": request.method,
            "path": request.path,
            "query": dict(request.query),
            "headers": dict(request.header_list),
            "peer": request.peer,
            "body": request.body.decode("utf-8", "replace"),
            "pod": os.environ.get("HOSTNAME") or socket.gethostname(),
            "version": os.environ.get("VERSION", ""),
        },
        status,
        indent=1,
    )


def _delay(request: Request) -> Reply:
    time.sleep(float(request.groups["seconds"]))
    return describe(request)


def build_router() -> Router:
    """The server's routes."""
    router = Router()
    router.add("*", r"/healthz", lambda _request: Reply(200, b"ok\n"))
    router.add("*", r"/status/(?P<code>[1-5]\d\d)", lambda request: describe(request, int(request.groups["code"])))
    router.add("*", r"/delay/(?P<seconds>\d+(\.\d+)?)", _delay)
    router.add("*", r".*", describe)
    return router


if __name__ == "__main__":
    serve(build_router(), int(os.environ.get("PORT") or DEFAULT_PORT))
