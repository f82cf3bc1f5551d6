"""The webhook server: AdmissionReviews over TLS on `/inject`, answered by `answer_review`.

Flow: HTTPS POST -> JSON -> review -> JSON. The certificate is asked for at each handshake, so that it is always young.
A body that is no review is answered 400. Source: Kubernetes' page "Dynamic Admission Control", Istio's port 15017.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable

from aiohttp import web

from lateen.base.errors import ConflictError, DataError
from lateen.inject.configuration import PATH
from lateen.inject.review import answer_review
from lateen.inject.settings import InjectionSettings
from lateen.runtime.tls import KeyPair, build_server_context

_MAX_BYTES = 8 * 1024 * 1024  # a pod has at most 1.5 MB, and comes twice in an update


class WebhookServer:
    """Serves `/inject` and `/ready` over TLS."""

    def __init__(self, find_settings: Callable[[], InjectionSettings], find_pair: Callable[[], KeyPair]) -> None:
        """Both are asked for at each request or handshake."""
        self._find_settings = find_settings
        self._find_pair = find_pair
        self._shown: tuple[KeyPair, ssl.SSLContext] | None = None
        self._runner: web.AppRunner | None = None

    async def serve(self, address: str, port: int) -> int:
        """Listen; the port. Raises ConflictError when it is taken."""
        app = web.Application(client_max_size=_MAX_BYTES)
        app.add_routes([web.post(PATH, self._inject), web.get("/ready", _ready)])
        runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=1.0)
        await runner.setup()
        self._runner = runner
        context = build_server_context(self._find_pair())
        context.sni_callback = self._choose_certificate
        try:
            await web.TCPSite(runner, address, port, ssl_context=context, reuse_address=True).start()
        except OSError as error:
            raise ConflictError(
                f"cannot listen on {address}:{port}: {error.strerror}", fix="choose another port, or 0 for any free one"
            ) from error
        bound: int = runner.addresses[0][1]
        return bound

    async def close(self) -> None:
        """Stop listening."""
        if self._runner is not None:
            await self._runner.cleanup()

    def _choose_certificate(self, connection: ssl.SSLObject, _name: str | None, _context: ssl.SSLContext) -> None:
        pair = self._find_pair()
        if self._shown is None or self._shown[0] != pair:
            self._shown = (pair, build_server_context(pair))
        connection.context = self._shown[1]

    async def _inject(self, request: web.Request) -> web.Response:
        try:
            review = await request.json()
            if not isinstance(review, dict):
                raise DataError("the body is no JSON object")
            return web.json_response(answer_review(review, self._find_settings()))
        except (ValueError, DataError) as error:
            return web.Response(status=400, text=f"{error}\n")


async def _ready(_: web.Request) -> web.Response:
    return web.Response(text="ready\n")
