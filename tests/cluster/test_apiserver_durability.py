"""Ten thousand writes, five watchers that come and go, and a server that is killed in the middle."""

import asyncio
import os
import random
import signal
import socket
import ssl
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp
import msgspec

from lateen.cluster.pki import open_pki
from lateen.testing.poll import until

WRITES = 10_000
WRITERS = 8
KILLS = 2
PATH = "/api/v1/namespaces/default/configmaps"


class Process:
    """An API server in a process of its own that can be killed and started again on the same port."""

    def __init__(self, state: Path) -> None:
        self.state = state
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self.port = probe.getsockname()[1]
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        command = ["-m", "lateen.cluster.apiserver.main", "--state", str(self.state), "--port", str(self.port)]
        self._process = await asyncio.create_subprocess_exec(
            sys.executable, *command, stdout=asyncio.subprocess.PIPE, env=os.environ
        )
        assert self._process.stdout is not None
        assert await asyncio.wait_for(self._process.stdout.readline(), 30)

    async def kill(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGKILL)
        await self._process.wait()


class Client:
    """Writes and watches through restarts of the server."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self._session = session
        self._url = url
        self.acknowledged: dict[str, int] = {}
        self.writes = 0

    async def write(self, worker: int, chance: random.Random) -> None:
        """Create, change and delete objects of its own until all writers together have done enough."""
        held: set[str] = set()
        while self.writes < WRITES:
            name = f"w{worker}-{chance.randrange(50)}"
            document = {"metadata": {"name": name}, "data": {"x": str(chance.random())}}
            if name not in held:
                status, answer = await self._send("POST", PATH, document)
                held.add(name)
            elif chance.random() < 0.3:
                status, answer = await self._send("DELETE", f"{PATH}/{name}", None)
                held.discard(name)
            else:
                status, answer = await self._send("PUT", f"{PATH}/{name}", document)
            if status in (200, 201):
                self.writes += 1
                if "resourceVersion" in answer["metadata"]:
                    version = int(answer["metadata"]["resourceVersion"])
                    self.acknowledged[f"{name}@{version}"] = version
            else:
                held = held - {name} if status == 404 else held | {name}

    async def _send(self, method: str, path: str, document: dict[str, Any] | None) -> tuple[int, Any]:
        data = msgspec.json.encode(document) if document is not None else None
        while True:
            try:
                async with self._session.request(method, self._url + path, data=data) as response:
                    return response.status, msgspec.json.decode(await response.read())
            except (aiohttp.ClientError, OSError):
                await asyncio.sleep(0.05)

    async def watch(
        self, chance: random.Random, since: int, enough: Callable[[int], bool]
    ) -> list[tuple[str, str, int]]:
        """Every event after a version, over many watches that end at random."""
        seen: list[tuple[str, str, int]] = []
        while not enough(since):
            query = {"watch": "1", "resourceVersion": str(since), "timeoutSeconds": str(chance.randrange(1, 3))}
            budget = chance.randrange(1, 3000)
            try:
                async with self._session.get(self._url + PATH, params=query) as response:
                    assert response.status == 200
                    rest = b""
                    while budget > 0 and (chunk := await response.content.readany()):
                        *lines, rest = (rest + chunk).split(b"\n")
                        for line in lines[:budget]:
                            event = msgspec.json.decode(line)
                            assert event["type"] != "ERROR", event
                            metadata = event["object"]["metadata"]
                            since = int(metadata["resourceVersion"])
                            seen.append((event["type"], metadata["name"], since))
                        budget -= len(lines)
            except (aiohttp.ClientError, OSError):
                await asyncio.sleep(0.05)
        return seen


async def test_five_watchers_see_one_sequence_across_kill_9(tmp_path: Path) -> None:
    pki = open_pki(tmp_path / "pki")
    server = Process(tmp_path)
    await server.start()
    context = ssl.create_default_context(cadata=pki.ca_pem.decode())
    headers = {"Authorization": f"Bearer {pki.tokens['admin']}", "Content-Type": "application/json"}
    connector = aiohttp.TCPConnector(ssl=context, limit=0)
    async with aiohttp.ClientSession(connector=connector, headers=headers) as session:
        client = Client(session, f"https://127.0.0.1:{server.port}")
        async with session.get(f"https://127.0.0.1:{server.port}{PATH}") as response:
            begin = int((await response.json())["metadata"]["resourceVersion"])
        last: list[int] = []

        async def disturb() -> None:
            for kill in range(KILLS):
                await until(lambda kill=kill: client.writes > WRITES * (kill + 1) / (KILLS + 1), deadline_seconds=120)
                await server.kill()
                await server.start()

        watchers = [
            asyncio.create_task(client.watch(random.Random(-n), begin, lambda since: bool(last) and since >= last[0]))
            for n in range(1, 6)
        ]
        await asyncio.gather(disturb(), *(client.write(n, random.Random(n)) for n in range(WRITERS)))
        _, answer = await client._send("POST", PATH, {"metadata": {"name": "last"}})
        last.append(int(answer["metadata"]["resourceVersion"]))
        sequences = await asyncio.wait_for(asyncio.gather(*watchers), 60)
        versions = [version for _, _, version in sequences[0]]
        assert len(versions) >= WRITES
        assert versions == sorted(set(versions))
        assert all(sequence == sequences[0] for sequence in sequences)
        assert set(client.acknowledged.values()) <= set(versions)
        alive: dict[str, bool] = {}
        for kind, name, _ in sequences[0]:
            alive[name] = kind != "DELETED"
        async with session.get(f"https://127.0.0.1:{server.port}{PATH}") as response:
            items = (await response.json())["items"]
        found = {item["metadata"]["name"] for item in items if item["metadata"]["name"] != "kube-root-ca.crt"}
        assert found == {name for name, lives in alive.items() if lives}
    await server.kill()
