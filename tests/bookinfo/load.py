"""Requests at a steady rate or one after the other, and what came back: runs in the test and, as a script, in a pod.

Flow: `python3 load.py PORT HOST PATH COUNT RATE [FILE]` -> one JSON object {answer: number of times}; an answer is the status
and the first words of the body, or the error. RATE 0 is one request after the other; with FILE it goes on, COUNT times at
most, until there is such a file. Standard library only.
"""

import asyncio
import json
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

_PARALLEL = 64
_WORDS = 3


class Load:
    """Requests to one address; connections are kept and used again."""

    def __init__(self, address: str, port: int, host: str, path: str) -> None:
        self.answers: Counter[str] = Counter()
        self._address, self._port = address, port
        self._request = f"GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()
        self._idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []
        self._gate = asyncio.Semaphore(_PARALLEL)

    async def send(self) -> None:
        """One request."""
        async with self._gate:
            try:
                answer = await asyncio.wait_for(self._exchange(), 15)
            except (OSError, EOFError, TimeoutError) as error:
                answer = repr(error)
            self.answers[answer] += 1

    async def _exchange(self) -> str:
        connection = self._idle.pop() if self._idle else await asyncio.open_connection(self._address, self._port)
        reader, writer = connection
        writer.write(self._request)
        status, *lines = (await reader.readuntil(b"\r\n\r\n")).split(b"\r\n")
        headers = dict(line.lower().split(b": ", 1) for line in lines if b": " in line)
        body = await reader.readexactly(int(headers.get(b"content-length", b"0")))
        if headers.get(b"connection") == b"close":
            writer.close()
        else:
            self._idle.append(connection)
        return " ".join((status.split()[1] + b" " + body).decode().split()[: 1 + _WORDS])

    async def run(self, count: int, rate: float, is_over: Callable[[], bool]) -> None:
        """Send that many requests, at that many per second; fewer if it is over before."""
        began, under_way = time.monotonic(), []
        for number in range(count):
            if is_over():
                break
            if not rate:
                await self.send()
                continue
            under_way.append(asyncio.create_task(self.send()))
            await asyncio.sleep(max(0.0, began + number / rate - time.monotonic()))
        await asyncio.gather(*under_way)
        for _reader, writer in self._idle:
            writer.close()


def send_requests(
    address: str, port: int, host: str, path: str, count: int, rate: float = 0, until: Path | None = None
) -> Counter[str]:
    """Send requests and count the answers."""

    async def run() -> Counter[str]:
        load = Load(address, port, host, path)
        await load.run(count, rate, until.exists if until is not None else lambda: False)
        return load.answers

    return asyncio.run(run())


if __name__ == "__main__":
    _port, _host, _path, _count, _rate, *_file = sys.argv[1:]
    _until = Path(_file[0]) if _file else None
    print(json.dumps(send_requests(_host, int(_port), _host, _path, int(_count), float(_rate), _until)))
