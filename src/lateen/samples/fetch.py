"""HTTP requests that the sample apps make of each other: a short client over `http.client`.

`fetch(url, headers, seconds)` -> (status, body); status 0 stands for no answer in time.
"""

from __future__ import annotations

import http.client
import socket
import urllib.parse
from collections.abc import Mapping


def fetch(
    url: str, *, headers: Mapping[str, str], seconds: float, method: str = "GET", body: bytes = b""
) -> tuple[int, bytes]:
    """Ask a URL once; the limit is for each wait on the connection. Failures are status 0 with an empty body."""
    target = urllib.parse.urlsplit(url)
    connection = http.client.HTTPConnection(target.hostname or "", target.port or 80, timeout=seconds)
    path = target.path + (f"?{target.query}" if target.query else "")
    try:
        connection.request(method, path or "/", body=body or None, headers=dict(headers))
        answer = connection.getresponse()
        return answer.status, answer.read()
    except (OSError, http.client.HTTPException, socket.gaierror):
        return 0, b""
    finally:
        connection.close()
