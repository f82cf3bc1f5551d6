"""What CustomResourceDefinitions and webhook configurations must be beyond their types: (document, old or
None) -> FieldErrors.

Source: the pages "Extend the Kubernetes API with CustomResourceDefinitions" and "Dynamic Admission
Control".
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from lateen.api.schema import names
from lateen.api.schema.errors import FieldError, duplicate, forbidden, invalid, not_supported, required
from lateen.api.schema.model import decode_schema

Part = Mapping[str, Any]

_SCOPES = ("Cluster", "Namespaced")
_VERBS = ("*", "CONNECT", "CREATE", "DELETE", "UPDATE")
_POLICIES = ("Fail", "Ignore")
_SIDE_EFFECTS = ("None", "NoneOnDryRun")


def validate_definition(definition: Part, old: Part | None) -> Iterator[FieldError]:
    """The mistakes in a CustomResourceDefinition; group, plural and kind of an established one do not change."""
    spec = definition.get("spec") or {}
    group, own = spec.get("group") or "", spec.get("names") or {}
    wanted = f"{own.get('plural', '')}.{group}"
    name = (definition.get("metadata") or {}).get("name")
    if name != wanted:
        yield invalid("metadata.name", name, 'must be spec.names.plural+"."+spec.group')
    if not group:
        yield required("spec.group")
    elif "." not in group:
        yield invalid("spec.group", group, "should be a domain with at least one dot")
    if spec.get("scope") not in _SCOPES:
        yield not_supported("spec.scope", spec.get("scope", ""), _SCOPES)
    for member in ("plural", "singular", "kind", "listKind"):
        value = own.get(member) or ""
        if not value:
            yield required(f"spec.names.{member}")
        else:
            wrong = names.check_service_name(value.lower())
            yield from (invalid(f"spec.names.{member}", value, text) for text in wrong)
    yield from _validate_versions(spec.get("versions") or [])
    if spec.get("preserveUnknownFields"):
        yield invalid("spec.preserveUnknownFields", True, "must be false in order to use defaults in the schema")
    if old is not None:
        before = old.get("spec") or {}
        for path, value, other in (
            ("spec.group", group, before.get("group")),
            ("spec.scope", spec.get("scope"), before.get("scope")),
            ("spec.names.kind", own.get("kind"), (before.get("names") or {}).get("kind")),
            ("spec.names.plural", own.get("plural"), (before.get("names") or {}).get("plural")),
        ):
            if value != other:
                yield invalid(path, value, "field is immutable")


def _validate_versions(versions: list[Any]) -> Iterator[FieldError]:
    if not versions:
        yield required("spec.versions")
        return
    seen: set[str] = set()
    for place, version in enumerate(versions):
        here = f"spec.versions[{place}]"
        name = version.get("name") or ""
        yield from (invalid(f"{here}.name", name, text) for text in names.check_service_name(name))
        if name in seen:
            yield invalid("spec.versions", versions, "must contain unique version names")
        seen.add(name)
        yield from _validate_schema((version.get("schema") or {}).get("openAPIV3Schema"), here)
    if sum(bool(version.get("storage")) for version in versions) != 1:
        text = "must have exactly one version marked as storage version"
        yield invalid("spec.versions", [version.get("name") for version in versions], text)


def _validate_schema(schema: Any, path: str) -> Iterator[FieldError]:
    here = f"{path}.schema.openAPIV3Schema"
    if schema is None:
        yield required(here, "schemas are required")
        return
    if not schema.get("type"):
        yield required(f"{here}.type", "must not be empty at the root")
    elif schema["type"] != "object":
        yield invalid(f"{here}.type", schema["type"], "must be object at the root")
    try:
        decode_schema(schema)
    except msgspec.ValidationError as error:
        yield invalid(here, "", str(error))


def validate_webhooks(configuration: Part, _old: Part | None) -> Iterator[FieldError]:
    """The mistakes in a MutatingWebhookConfiguration or ValidatingWebhookConfiguration."""
    used: set[str] = set()
    for place, webhook in enumerate(configuration.get("webhooks") or ()):
        here = f"webhooks[{place}]"
        name = webhook.get("name") or ""
        if len(name.split(".")) < 3:
            yield invalid(f"{here}.name", name, "should be a domain with at least three segments separated by dots")
        yield from (invalid(f"{here}.name", name, text) for text in names.check_subdomain(name))
        if name in used:
            yield duplicate(f"{here}.name", name)
        used.add(name)
        yield from _validate_client(webhook.get("clientConfig") or {}, f"{here}.clientConfig")
        yield from _validate_rules(webhook.get("rules") or [], f"{here}.rules")
        if webhook.get("failurePolicy") not in _POLICIES:
            yield not_supported(f"{here}.failurePolicy", webhook.get("failurePolicy"), _POLICIES)
        effects = webhook.get("sideEffects")
        if not effects:
            yield required(f"{here}.sideEffects", "must specify one of None, NoneOnDryRun")
        elif effects not in _SIDE_EFFECTS:
            yield not_supported(f"{here}.sideEffects", effects, _SIDE_EFFECTS)
        versions = webhook.get("admissionReviewVersions") or []
        if not versions:
            yield required(f"{here}.admissionReviewVersions", "must specify one of v1, v1beta1")
        elif not {"v1", "v1beta1"} & set(versions):
            text = "must include at least one of v1, v1beta1"
            yield invalid(f"{here}.admissionReviewVersions", versions, text)
        seconds = webhook.get("timeoutSeconds", 10)
        if not 1 <= seconds <= 30:
            text = "the timeout value must be between 1 and 30 seconds"
            yield invalid(f"{here}.timeoutSeconds", seconds, text)


def _validate_client(client: Part, path: str) -> Iterator[FieldError]:
    url, service = client.get("url"), client.get("service")
    if (url is None) is (service is None):
        yield required(path, "exactly one of url or service is required")
    if url is not None and not str(url).startswith("https://"):
        yield invalid(f"{path}.url", url, "'https' is the only allowed URL scheme; desired format: https://host[/path]")
    if service is not None:
        for member in ("name", "namespace"):
            if not service.get(member):
                yield required(f"{path}.service.{member}", f"service {member} is required")
        target = service.get("path")
        if target is not None and not target.startswith("/"):
            yield invalid(f"{path}.service.path", target, "must start with a '/'")


def _validate_rules(rules: list[Any], path: str) -> Iterator[FieldError]:
    for place, rule in enumerate(rules):
        here = f"{path}[{place}]"
        for member in ("operations", "apiGroups", "apiVersions", "resources"):
            values = rule.get(member) or []
            if not values:
                yield required(f"{here}.{member}")
            if "*" in values and len(values) > 1 and member != "resources":
                text = "if '*' is present, must not specify other values"
                yield invalid(f"{here}.{member}", values, text)
        for index, verb in enumerate(rule.get("operations") or ()):
            if verb not in _VERBS:
                yield not_supported(f"{here}.operations[{index}]", verb, _VERBS)
        if "" in (rule.get("apiVersions") or ()):
            yield forbidden(f"{here}.apiVersions", "must not be empty")
