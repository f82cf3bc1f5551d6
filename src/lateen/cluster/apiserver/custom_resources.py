"""Custom kinds: a CustomResourceDefinition stored -> its kind served, until it is deleted with all its objects.

Definitions are the store's; this module keeps the registry equal to them. A new one is established in the
write that creates it, so its objects can be created at once. Deleting one first deletes its objects,
finalizers included.

Invariants: a name that another definition or a built-in kind holds is not accepted (condition NamesAccepted
False); only strategy None converts between versions. Source: the Kubernetes page "Extend the Kubernetes API
with CustomResourceDefinitions".
"""

from __future__ import annotations

from typing import Any

from lateen.api.kinds import AGE, Column, Kind, Registry
from lateen.api.kinds_istio import GATEWAY_API, ISTIO
from lateen.api.schema.errors import FieldError, forbidden
from lateen.api.schema.model import Schema, decode_schema
from lateen.cluster.apiserver.strategy import format_time, now
from lateen.cluster.store import Store

CRDS = "customresourcedefinitions.apiextensions.k8s.io"
FINALIZER = "customresourcecleanup.apiextensions.k8s.io"

Document = dict[str, Any]

_UNTRANSLATED = {kind.qualified_name for kind in (*ISTIO, *GATEWAY_API) if not kind.translated}


class CustomResources:
    """The custom kinds of a registry and their schemas."""

    def __init__(self, registry: Registry, store: Store) -> None:
        self._registry = registry
        self._definitions: dict[str, Document] = {}
        self._schemas: dict[tuple[str, str], Schema | None] = {}
        for revision in store.list_objects(CRDS):
            self.serve(revision.document())

    def find_schema(self, kind: Kind, version: str) -> Schema | None:
        """The schema of a custom kind in one version, None if it keeps whatever it is given."""
        return self._schemas.get((kind.qualified_name, version))

    def find_source(self, kind: Kind, version: str) -> Document | None:
        """The `openAPIV3Schema` of a custom kind as its definition has it."""
        definition = self._definitions.get(kind.qualified_name)
        if definition is None:
            return None
        found = next(one for one in definition["spec"]["versions"] if one["name"] == version)
        return (found.get("schema") or {}).get("openAPIV3Schema")

    def serve(self, definition: Document) -> None:
        """Serve what a stored definition says, if its names were accepted."""
        name = definition["metadata"]["name"]
        if not _is_accepted(definition):
            return
        self._definitions[name] = definition
        for version in definition["spec"]["versions"]:
            self._schemas[name, version["name"]] = _read_schema(version)
        self._registry.add(build_kind(definition))

    def withdraw(self, name: str) -> None:
        """Stop serving a definition's kind."""
        definition = self._definitions.pop(name, None)
        if definition is not None:
            spec = definition["spec"]
            self._registry.remove(spec["group"], spec["names"]["plural"])
            for version in spec["versions"]:
                self._schemas.pop((name, version["name"]), None)

    def complete(self, definition: Document, stored: Document | None) -> None:
        """Fill in names and status of a definition that is about to be stored."""
        names = definition["spec"]["names"]
        metadata = definition["metadata"]
        finalizers = metadata.get("finalizers") or []
        if FINALIZER not in finalizers and not metadata.get("deletionTimestamp"):
            metadata["finalizers"] = [*finalizers, FINALIZER]
        conflict = self._find_conflict(definition)
        status = definition["status"] = dict((stored or {}).get("status") or {})
        status["conditions"] = _build_conditions(status.get("conditions") or [], conflict)
        if conflict is None:
            status["acceptedNames"] = dict(names)
        storage = next(version["name"] for version in definition["spec"]["versions"] if version["storage"])
        known = status.get("storedVersions") or []
        status["storedVersions"] = known if storage in known else [*known, storage]

    def _find_conflict(self, definition: Document) -> str | None:
        spec = definition["spec"]
        names = spec["names"]
        for kind in self._registry:
            if kind.group != spec["group"] or (kind.plural == names["plural"] and not kind.builtin):
                continue
            taken = {kind.plural, kind.singular, *kind.short_names}
            for word in (names["plural"], names["singular"], *names.get("shortNames", ())):
                if word in taken:
                    return f'"{word}" is already in use'
            if kind.kind in (names["kind"], names["listKind"]):
                return f'"{names["kind"]}" is already in use'
        return None


def build_kind(definition: Document) -> Kind:
    """The kind that a definition declares."""
    spec = definition["spec"]
    names = spec["names"]
    served = tuple(version["name"] for version in spec["versions"] if version["served"])
    storage = next(version for version in spec["versions"] if version["storage"])
    columns = storage.get("additionalPrinterColumns")
    qualified = f"{names['plural']}.{spec['group']}"
    return Kind(
        group=spec["group"],
        version=storage["name"],
        served_versions=served,
        kind=names["kind"],
        plural=names["plural"],
        singular=names["singular"],
        short_names=tuple(names.get("shortNames") or ()),
        namespaced=spec["scope"] == "Namespaced",
        categories=tuple(names.get("categories") or ()),
        columns=tuple(_read_column(column) for column in columns) if columns else (AGE,),
        subresources=frozenset(
            name for version in spec["versions"] for name in version.get("subresources") or () if name == "status"
        ),
        builtin=False,
        translated=qualified not in _UNTRANSLATED,
    )


def check_definition(definition: Document) -> list[FieldError]:
    """What a valid definition may ask for that this server cannot do."""
    if (definition["spec"].get("conversion") or {}).get("strategy", "None") != "None":
        text = "only None is supported by this server: the fields of all versions must be the same"
        return [forbidden("spec.conversion.strategy", text)]
    return []


def _read_schema(version: Document) -> Schema | None:
    schema = (version.get("schema") or {}).get("openAPIV3Schema")
    return decode_schema(schema) if schema else None


def _read_column(column: Document) -> Column:
    return Column(
        name=column["name"],
        type=column["type"],
        json_path=column["jsonPath"],
        priority=column.get("priority", 0),
        format=column.get("format", ""),
    )


def _is_accepted(definition: Document) -> bool:
    conditions = (definition.get("status") or {}).get("conditions") or ()
    return any(one["type"] == "Established" and one["status"] == "True" for one in conditions)


def _build_conditions(known: list[Document], conflict: str | None) -> list[Document]:
    accepted = "True" if conflict is None else "False"
    wanted = [
        (
            "NamesAccepted",
            accepted,
            "NoConflicts" if conflict is None else "NameConflict",
            conflict or "no conflicts found",
        ),
        (
            "Established",
            accepted,
            "InitialNamesAccepted" if conflict is None else "NotAccepted",
            "the initial names have been accepted" if conflict is None else "not all names are accepted",
        ),
    ]
    before = {one["type"]: one for one in known}
    conditions = []
    for kind, status, reason, message in wanted:
        if kind in before and before[kind]["status"] == status:
            conditions.append(before.pop(kind))
            continue
        before.pop(kind, None)
        conditions.append(
            {
                "type": kind,
                "status": status,
                "lastTransitionTime": format_time(now()),
                "reason": reason,
                "message": message,
            }
        )
    return conditions + list(before.values())
