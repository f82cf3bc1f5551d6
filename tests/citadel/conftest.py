"""A real API server for the tests of Citadel's stores."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from lateen.cluster.apiserver.server import ApiServer
from lateen.cluster.pki import open_pki
from lateen.cluster.store import Store
from lateen.kube.client import Client
from lateen.kube.config import ClientConfig


class Cluster:
    """An API server on loopback, and clients by component."""

    def __init__(self, folder: Path) -> None:
        self._pki = open_pki(folder / "pki")
        self._server = ApiServer(Store(folder / "cluster.db"), self._pki)
        self._clients: list[Client] = []
        self._address = ""

    async def start(self) -> None:
        listener = socket.create_server(("127.0.0.1", 0))
        self._address = f"https://127.0.0.1:{listener.getsockname()[1]}"
        await self._server.start([listener])

    async def stop(self) -> None:
        for client in self._clients:
            await client.close()
        await self._server.close()

    def client(self, component: str) -> Client:
        config = ClientConfig(server=self._address, ca_pem=self._pki.ca_pem, token=self._pki.tokens[component])
        self._clients.append(Client(config))
        return self._clients[-1]


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[Cluster]:
    cluster = Cluster(tmp_path)
    await cluster.start()
    yield cluster
    await cluster.stop()
