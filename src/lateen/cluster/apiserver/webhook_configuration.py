"""Webhook configurations as the admission chain uses them: stored objects -> `Webhook`s in the order of their calls.

Source: Kubernetes `admissionregistration.k8s.io/v1`. Configurations are called in the order of their names,
webhooks in the order inside. Where we differ: `matchConditions` need CEL and are refused at the
configuration's write.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from lateen.api.schema.errors import FieldError, forbidden
from lateen.base.labels import Operator, Requirement, Selector
from lateen.cluster.apiserver.resource import Resource
from lateen.cluster.revisions import Key
from lateen.cluster.store import Store

MUTATING = "mutatingwebhookconfigurations.admissionregistration.k8s.io"
VALIDATING = "validatingwebhookconfigurations.admissionregistration.k8s.io"

_EXEMPT = frozenset({MUTATING, VALIDATING, "tokenreviews.authentication.k8s.io"})
"""Never sent to webhooks, so that a broken one can be repaired."""

Document = dict[str, Any]


@dataclass(frozen=True)
class Webhook:
    """One webhook with the name of the configuration that it stands in."""

    configuration: str
    spec: Document
    namespace_selector: Selector
    object_selector: Selector

    @property
    def name(self) -> str:
        """The name that refusals show."""
        return str(self.spec["name"])

    @property
    def fails_open(self) -> bool:
        """Whether a call that fails lets the object pass."""
        return bool(self.spec.get("failurePolicy", "Fail") == "Ignore")

    @property
    def reinvoked(self) -> bool:
        """Whether it is asked again when a later webhook changed the object."""
        return bool(self.spec.get("reinvocationPolicy", "Never") == "IfNeeded")

    def find_resource(self, operation: str, resource: Resource, subresource: str) -> tuple[str, str, str] | None:
        """The (group, version, plural) under which a rule of the webhook covers an operation, or None.

        With matchPolicy Equivalent that may be another version than the request's.
        """
        if resource.kind.qualified_name in _EXEMPT:
            return None
        versions = [resource.version]
        if self.spec.get("matchPolicy", "Equivalent") == "Equivalent":
            versions += [version for version in resource.kind.served_versions if version != resource.version]
        for version in versions:
            for rule in self.spec.get("rules") or ():
                if _covers(rule, operation, resource, version, subresource):
                    return (resource.kind.group, version, resource.kind.plural)
        return None


class WebhookConfigurations:
    """The webhooks of the cluster, read anew when a configuration changed."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._read: dict[str, tuple[int, list[Webhook]]] = {}

    def find(self, resource: str) -> list[Webhook]:
        """All webhooks of `MUTATING` or `VALIDATING` configurations in the order of their calls."""
        newest = self._store.newest(resource)
        known = self._read.get(resource)
        if known is not None and known[0] == newest:
            return known[1]
        webhooks = [
            webhook
            for revision in self._store.list_objects(resource)
            for webhook in _read_configuration(revision.document())
        ]
        self._read[resource] = (newest, webhooks)
        return webhooks


def _read_configuration(configuration: Document) -> list[Webhook]:
    name = configuration["metadata"]["name"]
    return [
        Webhook(name, spec, build_selector(spec.get("namespaceSelector")), build_selector(spec.get("objectSelector")))
        for spec in configuration.get("webhooks") or ()
    ]


def build_selector(selector: Document | None) -> Selector:
    """A LabelSelector as conditions; none matches everything."""
    selector = selector or {}
    requirements = [
        Requirement(key, Operator.IN, frozenset({value})) for key, value in (selector.get("matchLabels") or {}).items()
    ]
    requirements += [
        Requirement(one["key"], Operator(one["operator"]), frozenset(one.get("values") or ()))
        for one in selector.get("matchExpressions") or ()
    ]
    return Selector(tuple(requirements))


def find_namespace_labels(store: Store, resource: Resource, namespace: str, name: str) -> dict[str, str] | None:
    """The labels that a namespaceSelector is matched against, None where it does not apply."""
    if resource.kind.qualified_name == "namespaces":
        namespace = name
    elif not resource.kind.namespaced:
        return None
    revision = store.latest(Key("namespaces", "", namespace))
    return revision.labels if revision is not None else {}


def check_configuration(configuration: Document) -> list[FieldError]:
    """What a valid configuration may ask for that this server cannot do."""
    text = "matchConditions are not supported by this server; use objectSelector or namespaceSelector"
    return [
        forbidden(f"webhooks[{index}].matchConditions", text)
        for index, webhook in enumerate(configuration.get("webhooks") or ())
        if webhook.get("matchConditions")
    ]


def _covers(rule: Document, operation: str, resource: Resource, version: str, subresource: str) -> bool:
    scope = rule.get("scope", "*")
    if scope != "*" and (scope == "Namespaced") is not resource.kind.namespaced:
        return False
    plural = resource.kind.plural
    return (
        _among(operation, rule.get("operations"))
        and _among(resource.kind.group, rule.get("apiGroups"))
        and _among(version, rule.get("apiVersions"))
        and any(_names(pattern, plural, subresource) for pattern in rule.get("resources") or ())
    )


def _among(value: str, allowed: list[str] | None) -> bool:
    return allowed is not None and (value in allowed or "*" in allowed)


def _names(pattern: str, plural: str, subresource: str) -> bool:
    resource, _, wanted = pattern.partition("/")
    return resource in ("*", plural) and wanted in ((subresource, "*") if subresource or wanted == "*" else ("",))
