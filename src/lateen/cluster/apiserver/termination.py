"""The end of an object: what marks it for deletion, and what still holds it.

Deletion is asked for by `deletionTimestamp` in the metadata; the object is held while finalizers remain,
while a pod's grace period is above 0, and, for a namespace, while `spec.finalizers` remain. How dependants go
is a finalizer of the garbage collector's too: `foregroundDeletion` (they first) or `orphan` (they stay). Source: the
Kubernetes pages "Finalizers" and "Garbage Collection", and the API conventions.
"""

from __future__ import annotations

import datetime
from typing import Any

from lateen.cluster.apiserver.strategy import format_time, now

Document = dict[str, Any]

FOREGROUND, ORPHAN = "foregroundDeletion", "orphan"
"""Also lateen.cluster.controllers.garbage, which removes them when their part is done."""

_FINALIZERS = {"Foreground": FOREGROUND, "Orphan": ORPHAN, "Background": ""}


def mark_deleted(document: Document, grace_seconds: int) -> bool:
    """Write the deletion into the metadata; False if an earlier one asked for the same or less time."""
    metadata = document["metadata"]
    known = metadata.get("deletionGracePeriodSeconds")
    if metadata.get("deletionTimestamp") and (known is None or known <= grace_seconds):
        return False
    metadata["deletionTimestamp"] = format_time(now() + datetime.timedelta(seconds=grace_seconds))
    metadata["deletionGracePeriodSeconds"] = grace_seconds
    if "generation" in metadata and known is None:
        metadata["generation"] += 1
    if document["kind"] == "Namespace":
        document["status"] = {**(document.get("status") or {}), "phase": "Terminating"}
    return True


def set_propagation(document: Document, policy: str) -> bool:
    """Write how dependants go into the finalizers; False if they say so already, or no policy was asked for."""
    metadata = document["metadata"]
    before = list(metadata.get("finalizers") or ())
    if not policy:
        return False
    wanted = [one for one in before if one not in (FOREGROUND, ORPHAN)]
    wanted += filter(None, [_FINALIZERS[policy]])
    if sorted(wanted) == sorted(before):
        return False
    if wanted:
        metadata["finalizers"] = wanted
    else:
        metadata.pop("finalizers", None)
    return True


def is_held(document: Document) -> bool:
    """Whether an object that is to be deleted must stay for now."""
    metadata = document["metadata"]
    if metadata.get("finalizers") or metadata.get("deletionGracePeriodSeconds"):
        return True
    return document["kind"] == "Namespace" and bool((document.get("spec") or {}).get("finalizers"))


def is_released(document: Document) -> bool:
    """Whether deletion was asked for and nothing holds the object any longer."""
    return bool(document["metadata"].get("deletionTimestamp")) and not is_held(document)
