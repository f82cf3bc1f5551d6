"""What may pass before it is stored: (operation, object, old object) -> object, changed or refused.

The order is kube-apiserver's: the namespace must live, the pod's service account is found and mounted (once more
if a webhook added containers), then
mutating webhooks; after validation come the validating webhooks. `Attributes` is what every step sees of
the request.

Invariant: no step stores anything; a dry run goes through all of them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from lateen.api.kinds_builtin import BUILTIN
from lateen.api.schema.errors import FieldError
from lateen.cluster.apiserver.authentication import User
from lateen.cluster.apiserver.effects import find_effect_warnings
from lateen.cluster.apiserver.resource import Resource
from lateen.cluster.apiserver.service_accounts import ServiceAccountAdmission
from lateen.cluster.apiserver.status import forbidden, not_found
from lateen.cluster.revisions import Key
from lateen.cluster.store import Store

Document = dict[str, Any]
Operation = Literal["CREATE", "UPDATE", "DELETE", "CONNECT"]

_IMMORTAL = frozenset({"default", "kube-system", "kube-public"})
_NAMESPACE_KIND = next(kind for kind in BUILTIN if kind.qualified_name == "namespaces")


@dataclass(slots=True)
class Attributes:
    """One operation on one object; `object` is None for DELETE, `old` for CREATE."""

    operation: Operation
    resource: Resource
    subresource: str
    namespace: str
    name: str
    object: Document | None
    old: Document | None
    user: User
    dry_run: bool
    options: Document = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)


class Webhooks(Protocol):
    """The webhooks that users configured."""

    async def mutate(self, attributes: Attributes) -> bool:
        """Let mutating webhooks change `attributes.object`; True if one did."""

    async def validate(self, attributes: Attributes) -> None:
        """Let validating webhooks refuse."""


class Admission:
    """The chain of steps."""

    def __init__(self, store: Store, webhooks: Webhooks) -> None:
        self._store = store
        self._webhooks = webhooks
        self._service_accounts = ServiceAccountAdmission(store)

    async def mutate(self, attributes: Attributes) -> bool:
        """Check and complete an object before validation; True if a webhook changed it."""
        self._check_namespace(attributes)
        resource, document = attributes.resource, attributes.object
        if attributes.operation == "CREATE" and document is not None and not attributes.subresource:
            if resource.storage == "pods":
                await self._service_accounts.admit(document, attributes.namespace, attributes.name)
            attributes.warnings += find_effect_warnings(resource.kind, document)
        changed = await self._webhooks.mutate(attributes)
        if changed and attributes.operation == "CREATE" and resource.storage == "pods" and not attributes.subresource:
            assert attributes.object is not None
            await self._service_accounts.admit(attributes.object, attributes.namespace, attributes.name)
        return changed

    async def validate(self, attributes: Attributes) -> None:
        """Let validating webhooks refuse the object as it would be stored."""
        await self._webhooks.validate(attributes)

    def _check_namespace(self, attributes: Attributes) -> None:
        kind = attributes.resource.kind
        if kind.qualified_name == "namespaces":
            if attributes.operation == "DELETE" and attributes.name in _IMMORTAL:
                raise forbidden(kind, attributes.name, "this namespace may not be deleted")
            return
        if attributes.operation != "CREATE" or not attributes.namespace or attributes.subresource:
            return
        key = Key("namespaces", "", attributes.namespace)
        revision = self._store.latest(key)
        if revision is None:
            raise not_found(_NAMESPACE_KIND, attributes.namespace)
        if b'"deletionTimestamp":"' in revision.body and "deletionTimestamp" in revision.document()["metadata"]:
            text = f"namespace {attributes.namespace} is being terminated"
            cause = FieldError("metadata.namespace", text, "NamespaceTerminating")
            why = f"unable to create new content in namespace {attributes.namespace} because it is being terminated"
            raise forbidden(kind, attributes.name, why, causes=[cause])
