"""What a container must be beyond its types: (container, path, volumes of the pod) -> FieldErrors."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from lateen.api.schema import names
from lateen.api.schema.errors import FieldError, duplicate, forbidden, invalid, not_found, not_supported, required
from lateen.base.quantity import parse_quantity

Part = Mapping[str, Any]

PROTOCOLS = ("SCTP", "TCP", "UDP")
_FIELDS = frozenset(
    {"metadata.name", "metadata.namespace", "metadata.uid", "spec.nodeName", "spec.serviceAccountName"}
    | {"status.hostIP", "status.hostIPs", "status.podIP", "status.podIPs"}
)
"""What an environment variable may take from its pod, besides single labels and annotations."""
_PULL_POLICIES = ("Always", "IfNotPresent", "Never")
_MESSAGE_POLICIES = ("File", "FallbackToLogsOnError")
_HANDLERS = ("exec", "httpGet", "tcpSocket", "grpc", "sleep")
_PROBES = ("livenessProbe", "readinessProbe", "startupProbe")
_COUNTS = ("initialDelaySeconds", "timeoutSeconds", "periodSeconds", "successThreshold", "failureThreshold")


def validate_container(container: Part, path: str, volumes: set[str]) -> Iterator[FieldError]:
    """The mistakes in what all kinds of containers have."""
    name = container.get("name") or ""
    if not name:
        yield required(f"{path}.name")
    else:
        yield from (invalid(f"{path}.name", name, text) for text in names.check_label(name))
    if not container.get("image"):
        yield required(f"{path}.image")
    yield from _listed(container, "terminationMessagePolicy", _MESSAGE_POLICIES, path)
    yield from _validate_ports(container.get("ports") or [], f"{path}.ports")
    yield from _validate_environment(container.get("env") or [], f"{path}.env")
    yield from _validate_mounts(container.get("volumeMounts") or [], f"{path}.volumeMounts", volumes)
    yield from _listed(container, "imagePullPolicy", _PULL_POLICIES, path)
    yield from _validate_resources(container.get("resources") or {}, f"{path}.resources")


def _listed(part: Part, member: str, allowed: tuple[str, ...], path: str) -> Iterator[FieldError]:
    value = part.get(member)
    if value and value not in allowed:
        yield not_supported(f"{path}.{member}", value, allowed)


def _validate_ports(ports: list[Any], path: str) -> Iterator[FieldError]:
    used: set[str] = set()
    for place, port in enumerate(ports):
        here = f"{path}[{place}]"
        if name := port.get("name"):
            wrong = names.check_port_name(name)
            yield from (invalid(f"{here}.name", name, text) for text in wrong)
            if not wrong and name in used:
                yield duplicate(f"{here}.name", name)
            used.add(name)
        number = port.get("containerPort") or 0
        if not number:
            yield required(f"{here}.containerPort")
        else:
            yield from (invalid(f"{here}.containerPort", number, text) for text in names.check_port_number(number))
        if host := port.get("hostPort"):
            yield from (invalid(f"{here}.hostPort", host, text) for text in names.check_port_number(host))
        yield from _listed(port, "protocol", PROTOCOLS, here)


def _validate_environment(variables: list[Any], path: str) -> Iterator[FieldError]:
    for place, variable in enumerate(variables):
        here = f"{path}[{place}]"
        name = variable.get("name") or ""
        if not name:
            yield required(f"{here}.name")
        else:
            yield from (invalid(f"{here}.name", name, text) for text in names.check_environment_name(name))
        source = variable.get("valueFrom")
        if source is not None:
            yield from _validate_source(source, variable, f"{here}.valueFrom")


def _validate_source(source: Part, variable: Part, path: str) -> Iterator[FieldError]:
    if not source:
        text = "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef` or `secretKeyRef`"
        yield invalid(path, "", text)
    elif variable.get("value"):
        yield invalid(path, "", "may not be specified when `value` is not empty")
    elif len(source) > 1:
        yield invalid(path, "", "may not have more than one field specified at a time")
    for member in ("configMapKeyRef", "secretKeyRef"):
        if member in source and not source[member].get("key"):
            yield required(f"{path}.{member}.key")
    if "fieldRef" in source:
        field = source["fieldRef"].get("fieldPath") or ""
        here = f"{path}.fieldRef.fieldPath"
        if not field:
            yield required(here)
        elif field not in _FIELDS and not re.fullmatch(r"metadata\.(labels|annotations)\['.+'\]", field):
            yield invalid(here, field, f"error converting fieldPath: field label not supported: {field}")


def _validate_mounts(mounts: list[Any], path: str, volumes: set[str]) -> Iterator[FieldError]:
    used: set[str] = set()
    for place, mount in enumerate(mounts):
        here = f"{path}[{place}]"
        name, target = mount.get("name") or "", mount.get("mountPath") or ""
        if not name:
            yield required(f"{here}.name")
        if name not in volumes:
            yield not_found(f"{here}.name", name)
        if not target:
            yield required(f"{here}.mountPath")
        if target in used:
            yield invalid(f"{here}.mountPath", target, "must be unique")
        used.add(target)
        sub_path = mount.get("subPath") or ""
        if sub_path.startswith("/"):
            yield invalid(f"{path}.subPath", sub_path, "must be a relative path")
        elif ".." in sub_path.split("/"):
            yield invalid(f"{path}.subPath", sub_path, "must not contain '..'")


def _validate_resources(resources: Part, path: str) -> Iterator[FieldError]:
    limits, requests = resources.get("limits") or {}, resources.get("requests") or {}
    for member, amounts in (("limits", limits), ("requests", requests)):
        for name, amount in amounts.items():
            if parse_quantity(amount) < 0:
                yield invalid(f"{path}.{member}[{name}]", str(amount), "must be greater than or equal to 0")
    for name, amount in requests.items():
        if name in limits and parse_quantity(amount) > parse_quantity(limits[name]):
            text = f"must be less than or equal to {name} limit of {limits[name]}"
            yield invalid(f"{path}.requests", str(amount), text)


def validate_life(container: Part, path: str) -> Iterator[FieldError]:
    """The mistakes in probes and lifecycle hooks."""
    for member in _PROBES:
        probe = container.get(member)
        if probe is None:
            continue
        here = f"{path}.{member}"
        yield from _validate_handler(probe, here)
        for count in _COUNTS:
            if (probe.get(count) or 0) < 0:
                yield invalid(f"{here}.{count}", probe[count], "must be greater than or equal to 0")
        if member != "readinessProbe" and probe.get("successThreshold", 1) != 1:
            yield invalid(f"{here}.successThreshold", probe["successThreshold"], "must be 1")
    for hook in ("postStart", "preStop"):
        handler = (container.get("lifecycle") or {}).get(hook)
        if handler is not None:
            yield from _validate_handler(handler, f"{path}.lifecycle.{hook}")


def _validate_handler(handler: Part, path: str) -> Iterator[FieldError]:
    found = [one for one in _HANDLERS if handler.get(one) is not None]
    yield from (forbidden(f"{path}.{one}", "may not specify more than 1 handler type") for one in found[1:])
    if not found:
        yield required(path, "must specify a handler type")
        return
    kind, action, here = found[0], handler[found[0]], f"{path}.{found[0]}"
    if kind == "exec" and not action.get("command"):
        yield required(f"{here}.command")
    if kind in {"httpGet", "tcpSocket", "grpc"}:
        yield from validate_port(action.get("port", 0), f"{here}.port")
    if kind == "httpGet":
        yield from _listed(action, "scheme", ("HTTP", "HTTPS"), here)
        for header in action.get("httpHeaders") or ():
            name = header.get("name") or ""
            yield from (invalid(f"{here}.httpHeaders", name, text) for text in names.check_header_name(name))


def validate_port(port: Any, path: str) -> Iterator[FieldError]:
    """The mistakes in a port given by number or name."""
    if isinstance(port, str):
        yield from (invalid(path, port, text) for text in names.check_port_name(port))
    else:
        yield from (invalid(path, port, text) for text in names.check_port_number(port))
