"""A real API server in the test's process: its own state directory, a free port, TLS, and a client of plain HTTP.

`async with run_apiserver(tmp_path) as api:` -> requests as any user, watches event by event, and the machine's kubectl.
"""

from __future__ import annotations

import asyncio
import io
import os
import shutil
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest

from lateen.cluster.apiserver.main import write_kubeconfigs
from lateen.cluster.apiserver.server import ApiServer
from lateen.cluster.pki import Pki, open_pki
from lateen.cluster.store import Store

JSON = "application/json"
JSON_PATCH = "application/json-patch+json"
MERGE_PATCH = "application/merge-patch+json"
STRATEGIC_PATCH = "application/strategic-merge-patch+json"

_SECONDS = 15


@dataclass
class Answer:
    """What the server answered."""

    status: int
    body: bytes
    headers: dict[str, str]
    warnings: list[str] = field(default_factory=list)

    @property
    def document(self) -> Any:
        """The body as JSON."""
        return msgspec.json.decode(self.body)

    @property
    def message(self) -> str:
        """The message of a Status."""
        return str(self.document["message"])


@dataclass
class Output:
    """What kubectl printed."""

    out: str
    err: str


class Events:
    """The events of one watch."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._response = response
        self._rest = b""

    async def next(self) -> tuple[str, Any]:
        """The next event: type and object; an error if the watch ends instead."""
        event = await asyncio.wait_for(self._read(), _SECONDS)
        if event is None:
            raise EOFError("the watch ended")
        return event

    async def rest(self) -> list[tuple[str, Any]]:
        """All events until the server ends the watch."""
        events = []
        while (event := await asyncio.wait_for(self._read(), _SECONDS)) is not None:
            events.append(event)
        return events

    async def _read(self) -> tuple[str, Any] | None:
        while b"\n" not in self._rest:
            chunk = await self._response.content.readany()
            if not chunk:
                return None
            self._rest += chunk
        line, _, self._rest = self._rest.partition(b"\n")
        event = msgspec.json.decode(line)
        return event["type"], event["object"]


@dataclass
class RunningServer:
    """An API server that listens, and ways to talk to it."""

    server: ApiServer
    store: Store
    pki: Pki
    url: str
    state: Path
    session: aiohttp.ClientSession

    async def request(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        token: str | None = "admin",
        media_type: str = JSON,
        accept: str = JSON,
        **query: str,
    ) -> Answer:
        """Send one request; `token` is the name of a component, a token itself, or None for anonymous."""
        headers = {"Accept": accept}
        if token is not None:
            headers["Authorization"] = f"Bearer {self.pki.tokens.get(token, token)}"
        data = None
        if body is not None:
            headers["Content-Type"] = media_type
            data = io.BytesIO(body if isinstance(body, bytes) else msgspec.json.encode(body))
        async with self.session.request(method, self.url + path, data=data, headers=headers, params=query) as response:
            warnings = response.headers.getall("Warning", [])
            return Answer(response.status, await response.read(), dict(response.headers), warnings)

    async def get(self, path: str, **query: str) -> Any:
        """A document that must be there."""
        answer = await self.request("GET", path, **query)
        assert answer.status == 200, answer.body
        return answer.document

    async def create(self, path: str, document: dict[str, Any], **query: str) -> Any:
        """Create an object that must be accepted."""
        answer = await self.request("POST", path, document, **query)
        assert answer.status == 201, answer.body
        return answer.document

    async def delete(self, path: str, options: dict[str, Any] | None = None) -> Any:
        """Delete an object that must be there."""
        answer = await self.request("DELETE", path, options)
        assert answer.status == 200, answer.body
        return answer.document

    @asynccontextmanager
    async def watch(self, path: str, *, accept: str = JSON, **query: str) -> AsyncIterator[Events]:
        """Watch as administrator."""
        headers = {"Accept": accept, "Authorization": f"Bearer {self.pki.tokens['admin']}"}
        params = {"watch": "1", **query}
        async with self.session.get(self.url + path, headers=headers, params=params) as response:
            assert response.status == 200, await response.read()
            yield Events(response)

    async def kubectl(self, *arguments: str, stdin: str = "", expect: int = 0) -> Output:
        """Run the machine's kubectl as administrator; its exit status must be as expected."""
        process = await self.start_kubectl(*arguments)
        out, err = await asyncio.wait_for(process.communicate(stdin.encode()), 60)
        assert process.returncode == expect, (arguments, process.returncode, out.decode(), err.decode())
        return Output(out.decode(), err.decode())

    async def start_kubectl(self, *arguments: str) -> asyncio.subprocess.Process:
        """Start kubectl with pipes; a machine without it skips the test."""
        program = shutil.which("kubectl")
        if program is None:
            pytest.skip("needs kubectl >= 1.31 in PATH")
        kubeconfig = str(self.state / "kubeconfig")
        return await asyncio.create_subprocess_exec(
            program,
            *arguments,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env={"PATH": os.environ["PATH"], "KUBECONFIG": kubeconfig, "HOME": str(self.state)},
        )


def _open(state: Path) -> tuple[Store, Pki]:
    state.mkdir(parents=True, exist_ok=True, mode=0o700)
    return Store(state / "cluster.db"), open_pki(state / "pki")


@asynccontextmanager
async def run_apiserver(state: Path, **options: Any) -> AsyncIterator[RunningServer]:
    """Serve from a state directory until the block ends; `options` are those of `ApiServer`."""
    store, pki = _open(state)
    listener = socket.create_server(("127.0.0.1", 0))
    url = f"https://127.0.0.1:{listener.getsockname()[1]}"
    server = ApiServer(store, pki, **options)
    write_kubeconfigs(state, pki, url)
    await server.start([listener])
    connector = aiohttp.TCPConnector(ssl=ssl.create_default_context(cadata=pki.ca_pem.decode()), limit=0)
    try:
        async with aiohttp.ClientSession(connector=connector) as session:
            yield RunningServer(server, store, pki, url, state, session)
    finally:
        await server.close()
