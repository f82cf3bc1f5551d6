"""Which pod a word such as `deploy/x.ns` names.

`[TYPE/]NAME[.NAMESPACE]` -> pod. A word without type is a pod; any other kind leads to the pods that its selector
takes, of which a running one is chosen, the first by name.
"""

from __future__ import annotations

from typing import Any

from lateen.api.objects import JsonObject
from lateen.base.errors import NotFoundError, UsageError
from lateen.cli.session import Session

_PODS = "pods"


def split_word(word: str) -> tuple[str, str]:
    """(type, name) of `[TYPE/]NAME`; a missing type is pods."""
    kind, separator, name = word.partition("/")
    if not separator:
        kind, name = _PODS, word
    if not kind or not name:
        raise UsageError(f"{word!r} names no pod", fix="write NAME, NAME.NAMESPACE or TYPE/NAME, such as deploy/my-app")
    return kind, name


async def find_object(session: Session, kind_word: str, name: str, namespace: str | None) -> JsonObject:
    """The object of that name, or of `NAME.NAMESPACE` where the name has a dot and no namespace was given."""
    kind = await session.find_word(kind_word)
    scope = namespace or session.namespace
    head, separator, tail = name.rpartition(".")
    try:
        return await session.client.get(kind, scope, name)
    except NotFoundError as error:
        if not separator:
            raise error
    return await session.client.get(kind, tail, head)


async def find_pods(session: Session, word: str, namespace: str | None) -> list[JsonObject]:
    """The pods that a word names, running ones first; raises NotFoundError when there are none."""
    kind_word, name = split_word(word)
    found = await find_object(session, kind_word, name, namespace)
    if found["kind"] == "Pod":
        return [found]
    scope = found["metadata"].get("namespace", "")
    selector = find_selector(found)
    pods = await session.find_word(_PODS)
    listed = await session.client.list(pods, scope, label_selector=selector) if selector else None
    items = listed.items if listed else []
    if not items:
        raise NotFoundError(
            f"{found['kind']} {scope}/{found['metadata']['name']} has no pods",
            fix=f"see `lateen get pods -n {scope}`" + (f", selector {selector}" if selector else ""),
        )
    return sorted(items, key=lambda pod: (not _runs(pod), pod["metadata"]["name"]))


async def find_pod(session: Session, word: str, namespace: str | None) -> JsonObject:
    """The pod that a word names, or the first of several."""
    return (await find_pods(session, word, namespace))[0]


def find_selector(document: JsonObject) -> str:
    """The label selector of a Service or a workload, as the API takes it; empty where it has none."""
    selector: Any = document.get("spec", {}).get("selector") or {}
    labels = (
        selector.get("matchLabels", {}) if document["kind"] != "Service" and "matchLabels" in selector else selector
    )
    return ",".join(f"{name}={value}" for name, value in sorted(labels.items()) if isinstance(value, str))


def _runs(pod: JsonObject) -> bool:
    return pod.get("status", {}).get("phase") == "Running" and "deletionTimestamp" not in pod["metadata"]
