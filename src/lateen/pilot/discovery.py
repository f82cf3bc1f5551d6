"""The control plane as one program: pilot and citadel over one Kubernetes client, and the ports they answer on.

Flow: kubeconfig -> client -> (informers -> database -> streams) and (signing key -> certificates) -> ports.

Order of a start: /ready answers first, and tells what is still missing; then the signing key is found or made
and configuration is listed and committed; only then do the gRPC ports answer, since a proxy must never be given
half a mesh. Stopping ends streams without a word to proxies: they keep what they have and come back.
"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import timedelta

from lateen.api.kinds import Registry
from lateen.api.kinds_builtin import BUILTIN
from lateen.base.errors import NotFoundError, UnavailableError
from lateen.citadel.authority import open_authority, watch_expiry
from lateen.citadel.ca import CertificateAuthority
from lateen.citadel.service import CertificateService
from lateen.citadel.tokens import TokenReviewer
from lateen.citadel.trust_bundle import TrustBundle
from lateen.incremental.database import Database
from lateen.kube.client import Client
from lateen.pilot.admission import Admission
from lateen.pilot.http import StatusServer
from lateen.pilot.options import Options, Ports
from lateen.pilot.push import Pusher
from lateen.pilot.serving import ServingCertificate
from lateen.pilot.source import Source
from lateen.pilot.viewer import ProxyViewer
from lateen.pilot.webhooks import Webhooks
from lateen.runtime.clock import Clock, SystemClock
from lateen.runtime.grpc import build_server, listen_plain, listen_tls
from lateen.runtime.logging import get_logger
from lateen.runtime.metrics import Metrics
from lateen.runtime.pace import Pace
from lateen.runtime.tasks import Backoff, TaskSet
from lateen.xds.index import SubscriptionIndex
from lateen.xds.server import AdsServer

log = get_logger("discovery")

_FIRST_RETRY = timedelta(milliseconds=50)
_LONGEST_RETRY = timedelta(seconds=2)
_GRACE_SECONDS = 0.2


class Discovery:
    """One control plane; run it once."""

    def __init__(self, client: Client, options: Options, *, clock: Clock | None = None) -> None:
        self.ports: Ports = options.ports
        self.ready = asyncio.Event()
        self.metrics = Metrics()
        self.db = Database()
        self._client = client
        self._options = options
        self._clock: Clock = clock or SystemClock()
        self._obstacle: str | None = "starting"
        self._pace = Pace()
        self._index = SubscriptionIndex()
        self.pusher = Pusher(self.db, self._index, self._pace, self.metrics)
        self._source = Source(client, self.pusher.submit)
        review = Registry(BUILTIN).find_kind("authentication.k8s.io", "v1", "TokenReview")
        assert review is not None, "a built-in kind"
        self._reviewer = TokenReviewer(lambda document: client.create(review, document, namespace=""))
        admission = Admission(self._reviewer, lambda proxy: ProxyViewer(proxy, self.db, self._pace), self.ready)
        self.ads = AdsServer(admission.admit, self._index, self.metrics, self._pace)

    async def run(self) -> None:
        """Serve until cancelled; raises a LateenError when a port is taken or the signing key is unusable."""
        tasks = TaskSet("discovery")
        async with AsyncExitStack() as stack:
            stack.push_async_callback(tasks.close)
            await self._open_status(stack)
            tasks.start(self.pusher.run(), name="push")
            tasks.start(self._source.run(), name="watch")
            authority = await self._open_authority()
            tasks.start(TrustBundle(self._client, authority.roots_pem, clock=self._clock).run(), name="roots")
            certificate = ServingCertificate(authority, self._clock)
            await self._open_webhooks(stack, tasks, authority, certificate)
            await self._open_grpc(stack, authority, certificate)
            self._obstacle = None
            self.ready.set()
            log.info("ready", **vars(self.ports))
            await tasks.wait()

    async def _open_status(self, stack: AsyncExitStack) -> None:
        status = StatusServer(self.ads, self.metrics, lambda: self._obstacle)
        stack.push_async_callback(status.close)
        address, ports = self._options.address, self._options.ports
        http = await status.serve_http(address, ports.http)
        monitoring = await status.serve_monitoring(address, ports.monitoring)
        self.ports = replace(self.ports, http=http, monitoring=monitoring)

    async def _open_authority(self) -> CertificateAuthority:
        backoff = Backoff(_FIRST_RETRY, _LONGEST_RETRY)
        while True:
            try:
                authority = await open_authority(self._client, clock=self._clock)
            except (UnavailableError, NotFoundError) as error:
                self._obstacle = f"no signing key yet: {error.message}"
                await self._clock.sleep(backoff.next())
            else:
                watch_expiry(authority, self._clock, self.metrics)
                return authority

    async def _open_webhooks(
        self, stack: AsyncExitStack, tasks: TaskSet, authority: CertificateAuthority, certificate: ServingCertificate
    ) -> None:
        """Answer on the webhooks' port, then have the API server trust it."""
        webhooks = Webhooks(self._client, authority.roots_pem, certificate.find_pair, clock=self._clock)
        stack.push_async_callback(webhooks.server.close)
        bound = await webhooks.server.serve(self._options.address, self._options.ports.webhook)
        self.ports = replace(self.ports, webhook=bound)
        tasks.start(webhooks.run(), name="webhooks")
        self._obstacle = "webhook configurations are being written"
        await webhooks.settled()

    async def _open_grpc(
        self, stack: AsyncExitStack, authority: CertificateAuthority, certificate: ServingCertificate
    ) -> None:
        """Bind both ports, wait for the configuration, then answer."""
        signer = CertificateService(
            lambda: authority,
            self._reviewer,
            metrics=self.metrics,
            clock=self._clock,
            trust_domain=self._options.trust_domain,
        )
        plain = build_server([self.ads.build_handler(is_encrypted=False)])
        encrypted = build_server([self.ads.build_handler(is_encrypted=True), signer.build_handler()])
        address, ports = self._options.address, self._options.ports
        self.ports = replace(
            self.ports,
            ads=listen_plain(plain, f"{address}:{ports.ads}"),
            tls=listen_tls(encrypted, f"{address}:{ports.tls}", certificate.find_pair),
        )
        self._obstacle = "configuration is being listed"
        await self._source.synced()
        await self.pusher.settled()
        for server in (plain, encrypted):
            stack.push_async_callback(server.stop, _GRACE_SECONDS)
            await server.start()
