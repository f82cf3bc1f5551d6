"""`istio.v1.auth.IstioCertificateService/CreateCertificate`: a CSR and a token in, a certificate chain out.

Flow: bearer token -> TokenReview -> SPIFFE id of the token's service account; the CSR's public key + that
id -> `CertificateAuthority.sign` -> chain. Invariants: the identity never comes from the CSR nor from the
request's metadata; every refusal has the gRPC status that says whether to try again (UNAVAILABLE) or not
(UNAUTHENTICATED, INVALID_ARGUMENT); neither tokens nor CSRs are logged. To be served with TLS only.
Source: Istio security/pkg/server/ca; metric names are istiod's. We differ: an impersonation wish in the
metadata (ztunnel's) is refused, until nodes have identities.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import grpc
from google.protobuf.message import DecodeError

from lateen.base.errors import UnavailableError
from lateen.base.names import TRUST_DOMAIN
from lateen.base.spiffe import SpiffeId
from lateen.citadel import messages
from lateen.citadel.ca import (
    DEFAULT_LIFETIME,
    MAX_LIFETIME,
    CertificateAuthority,
    CsrError,
    LifetimeError,
)
from lateen.citadel.tokens import TokenReviewer, UnauthenticatedError, take_bearer
from lateen.runtime.clock import Clock, SystemClock
from lateen.runtime.logging import get_logger
from lateen.runtime.metrics import Metrics

log = get_logger("citadel")

_IMPERSONATION = "ImpersonatedIdentity"


class CertificateService:
    """Signs for whoever proves, with its token, which service account it runs as."""

    def __init__(
        self,
        authority: Callable[[], CertificateAuthority],
        reviewer: TokenReviewer,
        *,
        metrics: Metrics,
        clock: Clock | None = None,
        trust_domain: str = TRUST_DOMAIN,
        default_lifetime: timedelta = DEFAULT_LIFETIME,
        max_lifetime: timedelta = MAX_LIFETIME,
    ) -> None:
        """`authority` returns the one in force at this moment."""
        self._authority = authority
        self._reviewer = reviewer
        self._clock: Clock = clock or SystemClock()
        self._trust_domain = trust_domain
        self._default_lifetime = default_lifetime
        self._max_lifetime = max_lifetime
        count = metrics.counter
        self._requests = count("citadel_server_csr_count", "CSRs received.")
        self._issued = count("citadel_server_success_cert_issuance_count", "Certificates issued.")
        self._unauthenticated = count("citadel_server_authentication_failure_count", "Callers not authenticated.")
        self._unreadable = count("citadel_server_csr_parsing_err_count", "CSRs that cannot be signed.")
        self._unsigned = count("citadel_server_csr_sign_err_count", "CSRs refused while signing.")

    def build_handler(self) -> grpc.GenericRpcHandler[bytes, bytes]:
        """Return the handler to add to a TLS server."""
        method = grpc.unary_unary_rpc_method_handler(self.create_certificate)
        name = messages.METHOD.rpartition("/")[2]
        return grpc.method_handlers_generic_handler(messages.SERVICE, {name: method})

    async def create_certificate(self, body: bytes, context: grpc.aio.ServicerContext[bytes, bytes]) -> bytes:
        """Answer one request; ends with the fitting status when it is refused."""
        self._requests.add()
        try:
            request = messages.decode_request(body)
            identity = await self._identify(context)
            if _IMPERSONATION in request.metadata.fields:
                raise UnauthenticatedError("impersonation is not allowed")
            chain = self._sign(request, identity)
        except UnauthenticatedError as error:
            self._unauthenticated.add()
            log.warning("caller not authenticated", peer=context.peer(), reason=error)
            await context.abort(grpc.StatusCode.UNAUTHENTICATED, f"authentication failed: {error.message}")
        except UnavailableError as error:
            log.warning("cannot authenticate", peer=context.peer(), reason=error)
            await context.abort(grpc.StatusCode.UNAVAILABLE, error.message)
        except (CsrError, DecodeError) as error:
            self._unreadable.add()
            log.warning("CSR refused", reason=error)
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, f"CSR signing error: {error}")
        except LifetimeError as error:
            self._unsigned.add()
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, f"CSR signing error: {error.message}")
        self._issued.add()
        log.debug("signed", identity=identity)
        return messages.encode(messages.build_response([each.decode() for each in chain]))

    async def _identify(self, context: grpc.aio.ServicerContext[bytes, bytes]) -> SpiffeId:
        caller = await self._reviewer.review(take_bearer(context.invocation_metadata()))
        return SpiffeId(self._trust_domain, caller.namespace, caller.service_account)

    def _sign(self, request: Any, identity: SpiffeId) -> list[bytes]:
        wanted = self._default_lifetime
        if request.validity_duration > 0:
            # Beyond this, timedelta would overflow; the authority refuses it all the same.
            wanted = timedelta(seconds=min(request.validity_duration, 1 << 32))
        return self._authority().sign(
            request.csr.encode(),
            identity,
            now=self._clock.now(),
            lifetime=wanted,
            max_lifetime=self._max_lifetime,
        )
