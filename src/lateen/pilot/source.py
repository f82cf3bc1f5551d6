"""Where configuration comes from: informers of every kind that translation reads.

Flow: Kubernetes API -> informers -> ordered changes -> `Pusher.submit`.

Invariants: the mesh's own settings are watched by name, other ConfigMaps are not; no proxy is answered before
every kind has been listed once and committed. A kind that the API server does not serve delays readiness, since
a mesh without, say, its policies must not be taken for one that has none.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from lateen.api.kinds import Kind, Registry
from lateen.api.kinds_builtin import BUILTIN
from lateen.api.kinds_istio import ISTIO
from lateen.kube.client import Client
from lateen.kube.informer import Change, InformerSet
from lateen.mesh.inputs import MESH_CONFIG_REF, WATCHED_KINDS


class Source:
    """Everything watched at one API server."""

    def __init__(self, client: Client, submit: Callable[[Sequence[Change]], None]) -> None:
        self._informers = InformerSet(client, on_changes=submit)
        for kind in watched_kinds():
            if kind.kind == MESH_CONFIG_REF.kind:
                self._informers.add(
                    kind,
                    namespace=MESH_CONFIG_REF.namespace,
                    field_selector=f"metadata.name={MESH_CONFIG_REF.name}",
                )
            else:
                self._informers.add(kind)

    async def run(self) -> None:
        """Watch until cancelled."""
        await self._informers.run()

    async def synced(self) -> None:
        """Wait until every kind has been listed and submitted."""
        await self._informers.synced()


def watched_kinds() -> tuple[Kind, ...]:
    """The kinds behind `WATCHED_KINDS`, in its order."""
    by_name: dict[str, Kind] = {}
    for kind in Registry((*BUILTIN, *ISTIO)):
        by_name.setdefault(kind.kind, kind)
    return tuple(by_name[name] for name in WATCHED_KINDS)
