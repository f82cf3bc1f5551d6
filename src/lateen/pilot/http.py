"""Discovery's HTTP ports: readiness and debugging (8080), metrics and version (15014).

| port | path | answer |
| --- | --- | --- |
| 8080 | /ready | 200 when proxies are answered, else 503 and what is missing |
| 8080 | /debug/syncz | one entry for each proxy: what was sent, acknowledged, refused |
| 8080 | /debug/config_dump?proxyID= | what that proxy is to have now |
| 8080 | /debug/connections | who is connected, from where, with how many names of each type |
| 15014 | /metrics, /version | Prometheus text; the version as istiod writes it |

Invariants: /debug/* answers callers on loopback only (the port may listen wider); nothing here changes anything.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Awaitable, Callable, Iterable
from importlib.metadata import version

from aiohttp import web

from lateen.base.errors import ConflictError
from lateen.pilot.status import build_config_dump, build_sync_status, find_connection, find_proxy
from lateen.runtime.metrics import CONTENT_TYPE, Metrics
from lateen.xds.resources import SHORT_NAMES
from lateen.xds.server import AdsServer

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class StatusServer:
    """Both HTTP ports."""

    def __init__(self, ads: AdsServer, metrics: Metrics, find_obstacle: Callable[[], str | None]) -> None:
        """`find_obstacle` says what keeps discovery from being ready, None if nothing does."""
        self._ads = ads
        self._metrics = metrics
        self._find_obstacle = find_obstacle
        self._runners: list[web.AppRunner] = []

    async def serve_http(self, address: str, port: int) -> int:
        """Open the port of /ready and /debug; the port."""
        routes: dict[str, Handler] = {
            "/ready": self._ready,
            "/debug/syncz": _local(self._syncz),
            "/debug/config_dump": _local(self._config_dump),
            "/debug/connections": _local(self._connections),
        }
        return await self._serve(routes, address, port)

    async def serve_monitoring(self, address: str, port: int) -> int:
        """Open the port of /metrics and /version; the port."""
        return await self._serve({"/metrics": self._show_metrics, "/version": _show_version}, address, port)

    async def close(self) -> None:
        """Close both ports."""
        for runner in self._runners:
            await runner.cleanup()

    async def _serve(self, routes: dict[str, Handler], address: str, port: int) -> int:
        app = web.Application()
        app.add_routes([web.get(path, handler) for path, handler in routes.items()])
        runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=1.0)
        await runner.setup()
        self._runners.append(runner)
        try:
            await web.TCPSite(runner, address, port, reuse_address=True).start()
        except OSError as error:
            raise ConflictError(
                f"cannot listen on {address}:{port}: {error.strerror}",
                fix="choose another port, or 0 for any free one",
            ) from error
        bound: int = runner.addresses[0][1]
        return bound

    async def _ready(self, _: web.Request) -> web.Response:
        obstacle = self._find_obstacle()
        return web.Response(text="ready\n" if obstacle is None else f"not ready: {obstacle}\n", status=_code(obstacle))

    async def _syncz(self, _: web.Request) -> web.Response:
        return web.json_response([build_sync_status(each) for each in self._ads.connections.values()])

    async def _config_dump(self, request: web.Request) -> web.Response:
        proxy_id = request.query.get("proxyID", "")
        connection = find_connection(self._ads.connections.values(), proxy_id)
        if connection is None:
            known = ", ".join(_names(self._ads)) or "none is connected"
            text = f"no proxy {proxy_id!r} is connected here; ?proxyID= names one of: {known}\n"
            return web.Response(status=404, text=text)
        return web.json_response(await build_config_dump(connection))

    async def _connections(self, _: web.Request) -> web.Response:
        return web.json_response(
            [
                {
                    "proxy": find_proxy(each).id,
                    "address": each.caller.address,
                    "encrypted": each.caller.is_encrypted,
                    "names": {
                        SHORT_NAMES.get(type_url, type_url): len(subscription.names)
                        for type_url, subscription in each.stream.protocol.subscriptions.items()
                    },
                }
                for each in self._ads.connections.values()
            ]
        )

    async def _show_metrics(self, _: web.Request) -> web.Response:
        return web.Response(body=self._metrics.render().encode(), headers={"Content-Type": CONTENT_TYPE})


async def _show_version(_: web.Request) -> web.Response:
    return web.Response(text=f"{version('lateen')}-lateen\n")


def _code(obstacle: str | None) -> int:
    return 200 if obstacle is None else 503


def _names(ads: AdsServer) -> Iterable[str]:
    proxies = (find_proxy(each) for each in ads.connections.values())
    return sorted(f"{proxy.name}.{proxy.namespace}" for proxy in proxies)


def _local(handler: Handler) -> Handler:
    async def answer(request: web.Request) -> web.StreamResponse:
        if request.remote is None or not ipaddress.ip_address(request.remote).is_loopback:
            return web.Response(status=403, text="/debug is for this machine only\n")
        return await handler(request)

    return answer
