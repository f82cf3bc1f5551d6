"""The API server: sockets -> HTTP over TLS -> who, what, may they -> one of the handlers -> response.

One asyncio loop, one process. The request path has no routing table and no middleware: the URL is split
once, the rest is dictionary look-ups. Writes are shielded: a client that hangs up in the middle cancels its
watch, never a write.

Invariants: nothing below `/api` or `/apis` is answered before authorization; every refusal is a `Status`;
an exception that nobody expected is logged here and answered 500 without its text.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import Sequence
from typing import Any

from aiohttp import web

from lateen.api.kinds import Registry
from lateen.api.kinds_builtin import BUILTIN
from lateen.base.errors import UnavailableError
from lateen.cluster.apiserver.admission import Admission
from lateen.cluster.apiserver.authentication import Authenticator
from lateen.cluster.apiserver.bootstrap import create_system_objects
from lateen.cluster.apiserver.custom_resources import CRDS, CustomResources
from lateen.cluster.apiserver.definitions import DefinitionHook
from lateen.cluster.apiserver.deleting import Deleter
from lateen.cluster.apiserver.discovery import Discovery
from lateen.cluster.apiserver.dispatch import SUBRESOURCES, Dispatcher, Handlers
from lateen.cluster.apiserver.event_expiry import run_expiry
from lateen.cluster.apiserver.hooks import Hook, NamespaceHook, WebhookConfigurationHook
from lateen.cluster.apiserver.openapi import OpenApiPaths
from lateen.cluster.apiserver.paths import Paths
from lateen.cluster.apiserver.pod_io import PodIO
from lateen.cluster.apiserver.reading import Reader
from lateen.cluster.apiserver.request import Request, parse_query, parse_target
from lateen.cluster.apiserver.resource import Catalogue
from lateen.cluster.apiserver.response import respond_error
from lateen.cluster.apiserver.reviews import Reviews
from lateen.cluster.apiserver.scaling import Scaling
from lateen.cluster.apiserver.service_addresses import ServiceAddresses
from lateen.cluster.apiserver.service_dialer import Connect, ServiceDialer
from lateen.cluster.apiserver.status import StatusError, internal_error, unavailable
from lateen.cluster.apiserver.subresources import Subresources
from lateen.cluster.apiserver.tokens import TokenIssuer
from lateen.cluster.apiserver.watching import Watcher
from lateen.cluster.apiserver.webhook_configuration import MUTATING, VALIDATING
from lateen.cluster.apiserver.webhooks import Resolve, WebhookCaller
from lateen.cluster.apiserver.writing import Writer
from lateen.cluster.pki import Pki
from lateen.cluster.store import Store

_LINE_BYTES = 64 << 10
"""Request lines carry selectors, headers carry tokens."""

_SHUTDOWN_SECONDS = 1.0

_CLIENT_GONE = 499
"""Ends a request whose client hung up; nobody sees it."""

_log = logging.getLogger(__name__)


class ApiServer:
    """One API server over one store; `pod_io` and `resolve` are ways into pods that the node provides."""

    def __init__(
        self, store: Store, pki: Pki, *, resolve: Resolve | None = None, definitions: Sequence[dict[str, Any]] = ()
    ) -> None:
        self._store = store
        self._pki = pki
        self._definitions = definitions
        self.registry = Registry(BUILTIN)
        custom = CustomResources(self.registry, store)
        self._catalogue = Catalogue(self.registry, custom.find_schema)
        self.issuer = TokenIssuer(pki.signing_key, store)
        self._authenticator = Authenticator(pki.tokens, self.issuer)
        self._definition_hook = DefinitionHook(store, custom, self._catalogue)
        self._hooks: dict[str, Hook] = {
            CRDS: self._definition_hook,
            "namespaces": NamespaceHook(store, pki.ca_pem),
            "services": ServiceAddresses(store),
            MUTATING: WebhookConfigurationHook(),
            VALIDATING: WebhookConfigurationHook(),
        }
        self._webhooks = WebhookCaller(store, resolve)
        admission = Admission(store, self._webhooks)
        reader = Reader(store)
        self._watcher = Watcher(store, reader)
        writer = Writer(store, admission, self._hooks)
        deleter = Deleter(store, admission, self._hooks)
        self._subresources = Subresources(store, writer, deleter, self.issuer)
        handlers = Handlers(
            paths=Paths(Discovery(self.registry, SUBRESOURCES), OpenApiPaths(self._catalogue, custom)),
            reader=reader,
            watcher=self._watcher,
            writer=writer,
            deleter=deleter,
            subresources=self._subresources,
            reviews=Reviews(self._authenticator, self.issuer),
            scaling=Scaling(store, reader, writer),
        )
        self._dispatcher = Dispatcher(self._catalogue, handlers)
        self._runner: web.ServerRunner | None = None
        self._expiry: asyncio.Task[None] | None = None
        self._writes: set[asyncio.Task[web.StreamResponse]] = set()

    @property
    def store(self) -> Store:
        """What it serves from."""
        return self._store

    @property
    def pod_io(self) -> PodIO | None:
        """The node's streams; set it when there is a node."""
        return self._subresources.pod_io

    @pod_io.setter
    def pod_io(self, value: PodIO) -> None:
        self._subresources.pod_io = value

    def use_pod_network(self, connect: Connect) -> None:
        """Say how pods are reached, for the webhooks that run in them."""
        self._webhooks.resolve = ServiceDialer(self._store, connect)

    async def start(self, sockets: Sequence[socket.socket]) -> None:
        """Create what a cluster begins with, then listen on the sockets, which are bound already.

        The port of the first is what pods reach behind the Service `kubernetes`.
        """
        self._store.start()
        port = sockets[0].getsockname()[1]
        await create_system_objects(self._store, self._hooks, port=port, definitions=self._definitions)
        self._definition_hook.resume()
        self._expiry = asyncio.create_task(run_expiry(self._store), name="event-expiry")
        server = web.Server(
            self._handle,
            handler_cancellation=True,
            access_log=None,
            max_line_size=_LINE_BYTES,
            max_field_size=_LINE_BYTES,
        )
        self._runner = web.ServerRunner(server, handle_signals=False, shutdown_timeout=_SHUTDOWN_SECONDS)
        await self._runner.setup()
        context = self._pki.build_server_context()
        for listener in sockets:
            try:
                await web.SockSite(self._runner, listener, ssl_context=context, backlog=1024).start()
            except OSError as error:
                raise UnavailableError(f"cannot listen for the API: {error}") from error

    async def close(self) -> None:
        """Finish the writes under way, end the watches and release the store's file."""
        self._watcher.close()
        if self._expiry is not None:
            self._expiry.cancel()
        await self._definition_hook.close()
        if self._runner is not None:
            await self._runner.cleanup()
        if self._writes:
            await asyncio.wait(self._writes)
        self._store.close()

    async def serve(self, sockets: Sequence[socket.socket]) -> None:
        """Listen until cancelled."""
        await self.start(sockets)
        try:
            await asyncio.Event().wait()
        finally:
            await self.close()

    async def _handle(self, http: web.BaseRequest) -> web.StreamResponse:
        request: Request | None = None
        try:
            user = self._authenticator.authenticate(http.headers)
            path, _, query_text = http.raw_path.partition("?")
            query = parse_query(query_text) if query_text else {}
            request = Request(http, query, parse_target(http.method, path, query), user)
            return await self._answer(request)
        except StatusError as error:
            return respond_error(request, error)
        except UnavailableError as error:
            return respond_error(request, unavailable(error.message))
        except ConnectionError:
            return web.Response(status=_CLIENT_GONE)
        except Exception:
            _log.exception("%s %s failed", http.method, http.path)
            return respond_error(request, internal_error("see the log of the API server"))

    async def _answer(self, request: Request) -> web.StreamResponse:
        if request.method in ("GET", "HEAD"):
            return await self._dispatcher.answer(request)
        task = asyncio.ensure_future(self._dispatcher.answer(request))
        self._writes.add(task)
        task.add_done_callback(self._finish_write)
        return await asyncio.shield(task)

    def _finish_write(self, task: asyncio.Task[web.StreamResponse]) -> None:
        self._writes.discard(task)
        if not task.cancelled():
            with contextlib.suppress(Exception):
                task.result()
