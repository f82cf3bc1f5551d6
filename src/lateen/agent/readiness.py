"""Is the proxy ready: has Envoy clusters and listeners from discovery, and do its workers run.

Flow: Envoy's admin statistics -> None when ready, else the reason in words.
Source: Istio pilot/cmd/pilot-agent/status/ready: `cds` and `lds` must each have been answered (an update
that Envoy rejects counts as an answer), `server.state` 0 (live), workers started. What once was answered
stays so.
"""

from __future__ import annotations

from lateen.base.errors import LateenError
from lateen.envoy.admin import AdminClient

_PATTERN = (
    r"^(cluster_manager\.cds|listener_manager\.lds)\.(update_success|update_rejected)$"
    r"|^server\.state$|^listener_manager\.workers_started$"
)
_LIVE = 0


class Readiness:
    """Asks one Envoy."""

    def __init__(self, admin: AdminClient) -> None:
        self._admin = admin
        self._configured = False

    async def find_obstacle(self) -> str | None:
        """Return what the proxy still lacks, None when it is ready."""
        try:
            stats = await self._admin.get_stats(_PATTERN)
        except LateenError as error:
            return error.message
        if not self._configured:
            if missing := _find_missing(stats):
                return missing
            self._configured = True
        if stats.get("server.state", _LIVE) != _LIVE:
            return f"Envoy is not live: server.state is {stats['server.state']}"
        if stats.get("listener_manager.workers_started", 0) != 1:
            return "Envoy's workers have not started"
        return None


def _find_missing(stats: dict[str, int]) -> str | None:
    parts = []
    for kind, prefix in (("clusters", "cluster_manager.cds"), ("listeners", "listener_manager.lds")):
        accepted = stats.get(f"{prefix}.update_success", 0)
        rejected = stats.get(f"{prefix}.update_rejected", 0)
        if not accepted and not rejected:
            parts.append(kind)
    return f"no {' and no '.join(parts)} from discovery yet" if parts else None
