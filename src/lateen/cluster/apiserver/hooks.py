"""What single kinds need at their writes beyond the common path.

`complete` runs right before the store, may claim things (addresses, names) and reports what is wrong;
`undo` gives them back when the write did not happen; `written` and `removed` run after it did. Built-in
kinds without a row in the server's table need none of this.
"""

from __future__ import annotations

from typing import Any, Protocol

from lateen.api.schema.errors import FieldError
from lateen.cluster.apiserver.service_accounts import ROOT_CA_CONFIG_MAP
from lateen.cluster.apiserver.strategy import format_time, new_uid, now
from lateen.cluster.apiserver.webhook_configuration import check_configuration
from lateen.cluster.revisions import Key
from lateen.cluster.store import Store, WrongVersionError

Document = dict[str, Any]

_IDENTITY = ("uid", "creationTimestamp", "resourceVersion")


class Hook(Protocol):
    """The steps of one kind."""

    def complete(self, key: Key, document: Document, stored: Document | None) -> list[FieldError]:
        """Complete a document in place before it is stored; errors refuse the write."""

    def undo(self, key: Key, stored: Document | None) -> None:
        """The write did not happen, or was a dry run."""

    async def written(self, key: Key, document: Document) -> None:
        """The document is stored."""

    async def removed(self, key: Key) -> None:
        """The object is gone."""


class WebhookConfigurationHook:
    """Refuses webhook configurations that could never be called."""

    def complete(self, key: Key, document: Document, stored: Document | None) -> list[FieldError]:
        """Check the configuration."""
        return check_configuration(document)

    def undo(self, key: Key, stored: Document | None) -> None:
        """Nothing was claimed."""

    async def written(self, key: Key, document: Document) -> None:
        """Calls read the configuration from the store."""

    async def removed(self, key: Key) -> None:
        """Calls read the configuration from the store."""


class NamespaceHook:
    """Gives each new namespace the cluster's CA and a default service account, so that pods can follow at
    once.
    """

    def __init__(self, store: Store, ca_pem: bytes) -> None:
        self._store = store
        self._ca_pem = ca_pem

    def complete(self, key: Key, document: Document, stored: Document | None) -> list[FieldError]:
        """Nothing to check."""
        return []

    def undo(self, key: Key, stored: Document | None) -> None:
        """Nothing was claimed."""

    async def written(self, key: Key, document: Document) -> None:
        """Put the objects that every namespace is born with where they are missing."""
        if document["metadata"].get("deletionTimestamp"):
            return
        authority = build_object("v1", "ConfigMap", ROOT_CA_CONFIG_MAP, key.name)
        authority["metadata"]["annotations"] = {
            "kubernetes.io/description": "Contains a CA bundle that can be used to verify the kube-apiserver."
        }
        authority["data"] = {"ca.crt": self._ca_pem.decode()}
        account = build_object("v1", "ServiceAccount", "default", key.name)
        await put_changed(self._store, Key("configmaps", key.name, ROOT_CA_CONFIG_MAP), authority)
        await put_if_missing(self._store, Key("serviceaccounts", key.name, "default"), account)

    async def removed(self, key: Key) -> None:
        """The namespace controller emptied it before."""


def build_object(api_version: str, kind: str, name: str, namespace: str = "") -> Document:
    """A new object with its system metadata and nothing else."""
    metadata: Document = {"name": name, "uid": new_uid(), "creationTimestamp": format_time(now())}
    if namespace:
        metadata["namespace"] = namespace
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata}


async def put_changed(store: Store, key: Key, document: Document) -> None:
    """Store an object of the system's in place of another state of it; its identity stays."""
    current = store.latest(key)
    if current is not None:
        stored = current.document()
        document["metadata"] |= {name: stored["metadata"][name] for name in _IDENTITY if name in stored["metadata"]}
        if document == stored:
            return
    try:
        await store.put(key, document, expected=current.version if current is not None else None)
    except WrongVersionError:
        pass


async def put_if_missing(store: Store, key: Key, document: Document) -> None:
    """Store an object of the system's unless there is one of that name."""
    if store.latest(key) is not None:
        return
    try:
        await store.put(key, document, expected=None)
    except WrongVersionError:
        pass
