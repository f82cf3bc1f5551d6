"""Istio's helloworld sample: `/hello` tells version and pod; SERVICE_VERSION sets the version."""

from __future__ import annotations

import os
import sys

from lateen.samples.web import Reply, Router, serve


def build_router() -> Router:
    """Two routes."""
    version = os.environ.get("SERVICE_VERSION", "v1")
    text = f"Hello version: {version}, instance: {os.environ.get('HOSTNAME', 'unknown')}\n"
    router = Router()
    router.add("GET", "/hello", lambda _: Reply(200, text.encode()))
    router.add("GET", "/health", lambda _: Reply(200, b"Helloworld is healthy\n"))
    return router


def main(argv: list[str]) -> None:
    """Serve on the port given, or 5000."""
    serve(build_router(), int(argv[0]) if argv else 5000)


if __name__ == "__main__":
    main(sys.argv[1:])
