"""How large each ReplicaSet of a Deployment should be next: (Deployment, its ReplicaSets) -> name -> replicas.

| Deployment                      | next step                                                                        |
| ------------------------------- | -------------------------------------------------------------------------------- |
| paused, or `replicas` changed   | the active ReplicaSets share the new size in proportion to theirs                |
| RollingUpdate                   | the new one grows within `maxSurge`; else the old ones lose pods that are not    |
|                                 | available, then as many as `maxUnavailable` allows                               |
| Recreate                        | the old ones go to 0; when none of their pods is left, the new one gets all       |

One step is decided at a time, from what the ReplicaSets report; a step that changes nothing gives nothing. `maxSurge`
rounds percentages up, `maxUnavailable` down; if both are 0, one pod may be missing. Source: the Kubernetes page
"Deployments" and its controller (pkg/controller/deployment: rolling.go, recreate.go, sync.go).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction

from lateen.api.apps import Deployment, ReplicaSet

DESIRED = "deployment.kubernetes.io/desired-replicas"
MAXIMUM = "deployment.kubernetes.io/max-replicas"

Sizes = dict[str, int]
"""ReplicaSet -> the replicas it should have; those not named stay as they are."""


def find_surge(deployment: Deployment) -> int:
    """How many pods there may be above `replicas`."""
    return _find_bounds(deployment)[0]


def find_unavailable(deployment: Deployment) -> int:
    """How many of `replicas` may be missing during an update."""
    return min(_find_bounds(deployment)[1], deployment.spec.replicas)


def find_first_size(deployment: Deployment, old: Iterable[ReplicaSet]) -> int:
    """The replicas that a new ReplicaSet begins with; with Recreate, the old ones are gone by then."""
    if deployment.spec.strategy.type == "Recreate":
        return deployment.spec.replicas
    return _find_growth(deployment, 0, sum(one.spec.replicas for one in old))


def plan_sizes(
    deployment: Deployment, new: ReplicaSet | None, old: Sequence[ReplicaSet], *, old_pods_left: bool
) -> Sizes:
    """The next step; `old` in the order of their creation, `old_pods_left` if pods of theirs still run or end."""
    everything = [*old, *([new] if new is not None else [])]
    if deployment.spec.paused or _is_scaled(deployment, everything):
        return _share(deployment, new, old)
    if deployment.spec.strategy.type == "Recreate":
        return _recreate(deployment, new, old, old_pods_left=old_pods_left)
    return {} if new is None else _roll(deployment, new, old)


def _find_bounds(deployment: Deployment) -> tuple[int, int]:
    strategy = deployment.spec.strategy
    if strategy.type == "Recreate" or strategy.rolling_update is None:
        return 0, 0
    rolling, replicas = strategy.rolling_update, deployment.spec.replicas
    surge = _resolve(rolling.max_surge, replicas, up=True)
    unavailable = _resolve(rolling.max_unavailable, replicas, up=False)
    return surge, unavailable if surge or unavailable else 1


def _resolve(value: int | str | None, of: int, *, up: bool) -> int:
    if value is None or isinstance(value, int):
        return value or 0
    percent = int(value.removesuffix("%") or 0)
    return -(-of * percent // 100) if up else of * percent // 100


def _find_growth(deployment: Deployment, size: int, total: int) -> int:
    wanted = deployment.spec.replicas
    room = wanted + find_surge(deployment) - total
    return size + min(room, wanted - size) if room > 0 else size


def _roll(deployment: Deployment, new: ReplicaSet, old: Sequence[ReplicaSet]) -> Sizes:
    wanted, size = deployment.spec.replicas, new.spec.replicas
    total = size + sum(one.spec.replicas for one in old)
    grown = wanted if size > wanted else _find_growth(deployment, size, total)
    if grown != size:
        return {new.metadata.name: grown}
    return _shrink_old(deployment, new, [one for one in old if one.spec.replicas], total)


def _shrink_old(deployment: Deployment, new: ReplicaSet, old: Sequence[ReplicaSet], total: int) -> Sizes:
    least = deployment.spec.replicas - find_unavailable(deployment)
    allowed = total - least - (new.spec.replicas - new.status.available_replicas)
    if not old or allowed <= 0:
        return {}
    sizes = {one.metadata.name: one.spec.replicas for one in old}
    for one in old:  # what is not available is not missed
        given_up = max(0, min(allowed, one.spec.replicas - one.status.available_replicas))
        sizes[one.metadata.name] -= given_up
        allowed -= given_up
    available = new.status.available_replicas + sum(
        min(one.status.available_replicas, sizes[one.metadata.name]) for one in old
    )
    for one in old:
        given_up = max(0, min(available - least, sizes[one.metadata.name]))
        sizes[one.metadata.name] -= given_up
        available -= given_up
    return {one.metadata.name: size for one in old if (size := sizes[one.metadata.name]) != one.spec.replicas}


def _recreate(
    deployment: Deployment, new: ReplicaSet | None, old: Sequence[ReplicaSet], *, old_pods_left: bool
) -> Sizes:
    if active := [one for one in old if one.spec.replicas]:
        return {one.metadata.name: 0 for one in active}
    if new is None or old_pods_left or new.spec.replicas == deployment.spec.replicas:
        return {}
    return {new.metadata.name: deployment.spec.replicas}


def _is_scaled(deployment: Deployment, replica_sets: Iterable[ReplicaSet]) -> bool:
    """Whether `replicas` changed since the active ReplicaSets were last sized."""
    return any(
        _number(one.metadata.annotations, DESIRED, deployment.spec.replicas) != deployment.spec.replicas
        for one in replica_sets
        if one.spec.replicas
    )


def _number(annotations: Mapping[str, str], name: str, default: int) -> int:
    text = annotations.get(name, "")
    return int(text) if text.isdecimal() else default


def _share(deployment: Deployment, new: ReplicaSet | None, old: Sequence[ReplicaSet]) -> Sizes:
    wanted = deployment.spec.replicas
    latest = [*old, *([new] if new is not None else [])]
    active = [one for one in latest if one.spec.replicas]
    if len(active) <= 1:
        only = active or ([new] if new is not None else list(old[-1:]))
        return {one.metadata.name: wanted for one in only}
    if new is not None and new.spec.replicas == wanted == new.status.available_replicas:
        return {one.metadata.name: 0 for one in old if one.spec.replicas}
    if deployment.spec.strategy.type != "RollingUpdate":
        return {}
    allowed = wanted + find_surge(deployment) if wanted else 0
    return _share_in_proportion(deployment, active, allowed)


def _share_in_proportion(deployment: Deployment, active: Sequence[ReplicaSet], allowed: int) -> Sizes:
    missing = allowed - sum(one.spec.replicas for one in active)
    newest_first = [*reversed(active)]
    order = sorted(newest_first if missing > 0 else active, key=lambda one: -one.spec.replicas)
    sizes: Sizes = {}
    left = missing
    for one in order:
        share = _find_share(deployment, one, allowed) if missing else 0
        share = min(share, left) if missing > 0 else max(share, left)
        sizes[one.metadata.name] = max(0, one.spec.replicas + share)
        left -= share
    first = order[0].metadata.name
    sizes[first] = max(0, sizes[first] + left)
    return sizes


def _find_share(deployment: Deployment, one: ReplicaSet, allowed: int) -> int:
    if not deployment.spec.replicas:
        return -one.spec.replicas
    before = _number(one.metadata.annotations, MAXIMUM, deployment.status.replicas) or allowed
    exact = Fraction(one.spec.replicas * allowed, before)
    return int(exact + Fraction(1, 2)) - one.spec.replicas
