"""What a workload demands of the peers that connect to it: plain text, mutual TLS, or either.

PeerAuthentication rows -> PeerPolicy of a workload.

Precedence, the later beating the earlier; UNSET inherits; at each level the oldest counts, then the first by name:

    default PERMISSIVE < mesh (root namespace) < namespace < workload (selector) < port of the workload

A policy with a selector in the root namespace applies to nobody; ports count only in a policy with a selector, and
are the pod's ports. Source: Istio's pilot/pkg/security/authn (ComposePeerAuthentication); SEMANTICS 1.6.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

import msgspec

from lateen.base.labels import matches
from lateen.incremental.query import query
from lateen.mesh.indexes import PEER_AUTHENTICATIONS_BY_NAMESPACE
from lateen.mesh.inputs import PEER_AUTHENTICATIONS
from lateen.mesh.rows import Labels, PeerAuthenticationRow
from lateen.mesh.visibility import mesh_settings

if TYPE_CHECKING:
    from lateen.incremental.database import Database


class MutualTls(Enum):
    """How connections to a port must come."""

    DISABLE = "DISABLE"
    PERMISSIVE = "PERMISSIVE"
    STRICT = "STRICT"


class PeerPolicy(msgspec.Struct, frozen=True):
    """The modes of a workload's ports."""

    mode: MutualTls
    ports: tuple[tuple[int, MutualTls], ...] = ()
    """(port, mode) of the ports that say their own, by number."""

    def get_mode(self, port: int) -> MutualTls:
        """Return the mode of a port."""
        return dict(self.ports).get(port, self.mode)


@query
def peer_policy(db: Database, namespace: str, labels: Labels) -> PeerPolicy:
    """Return what the workload with these labels demands."""
    mode = namespace_mode(db, namespace)
    if namespace == mesh_settings(db).root_namespace:
        return PeerPolicy(mode)
    carried = dict(labels)
    chosen = _oldest([row for row in _policies(db, namespace) if row.selector and matches(dict(row.selector), carried)])
    if chosen is None:
        return PeerPolicy(mode)
    mode = _apply(chosen.mode, mode)
    return PeerPolicy(mode, tuple((port, _apply(own, mode)) for port, own in chosen.ports))


@query
def namespace_mode(db: Database, namespace: str) -> MutualTls:
    """Return the mode that holds in a namespace where no policy with a selector says otherwise."""
    root = mesh_settings(db).root_namespace
    mode = MutualTls.PERMISSIVE
    for level in dict.fromkeys((root, namespace)):
        chosen = _oldest([row for row in _policies(db, level) if not row.selector])
        if chosen is not None:
            mode = _apply(chosen.mode, mode)
    return mode


def _policies(db: Database, namespace: str) -> list[PeerAuthenticationRow]:
    refs = db.lookup(PEER_AUTHENTICATIONS_BY_NAMESPACE, namespace)
    rows = [db.get(PEER_AUTHENTICATIONS, ref) for ref in refs]
    return [row for row in rows if row is not None]


def _oldest(rows: list[PeerAuthenticationRow]) -> PeerAuthenticationRow | None:
    """Return the oldest row, the first in the order of names among equally old ones."""
    return min(rows, key=lambda row: row.created, default=None)


def _apply(own: str | None, inherited: MutualTls) -> MutualTls:
    return inherited if own is None else MutualTls(own)
