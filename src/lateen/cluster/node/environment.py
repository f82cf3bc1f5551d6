"""A container's environment and command line, with references resolved. Pure.

Flow: container + pod fields + ConfigMaps and Secrets + Services -> name -> value; `$(NAME)` expanded in values, command
and args; `ConfigError` for a reference to what is not there.
Precedence, later wins: the image's, service variables, envFrom in order, env in order.
Source: the Kubernetes pages "Define Dependent Environment Variables" and "Discovering services"; names of Docker
links (`SVC_PORT_80_TCP`) as kubelet makes them.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Mapping
from typing import Protocol

from lateen.api.container import Container, EnvVar, KeySelector
from lateen.api.core import ConfigMap, Secret, Service
from lateen.cluster.images import SEARCH_PATH
from lateen.cluster.node.fields import ConfigError, PodFields

_REFERENCE = re.compile(r"\$\$|\$\(([^()$]*)\)")


class ConfigSource(Protocol):
    """Where ConfigMaps and Secrets of the pod's namespace are found."""

    def config_map(self, name: str) -> ConfigMap | None:
        """Return the ConfigMap, if it is there."""

    def secret(self, name: str) -> Secret | None:
        """Return the Secret, if it is there."""


def expand(text: str, values: Mapping[str, str]) -> str:
    """Replace `$(NAME)` by values known so far; an unknown one stays, `$$` is one dollar."""

    def replacement(match: re.Match[str]) -> str:
        if match[0] == "$$":
            return "$"
        return values.get(match[1], match[0])

    return _REFERENCE.sub(replacement, text)


def build_environment(
    container: Container,
    fields: PodFields,
    source: ConfigSource,
    *,
    image: Mapping[str, str],
    services: Mapping[str, str],
    host_name: str,
) -> dict[str, str]:
    """Return the environment; raises ConfigError."""
    base = {"PATH": SEARCH_PATH, "HOME": "/root", "HOSTNAME": host_name, **image}
    values: dict[str, str] = dict(services)
    for origin in container.env_from:
        if origin.config_map_ref is not None:
            reference = origin.config_map_ref
            config_map = source.config_map(reference.name)
            if config_map is None and not reference.optional:
                raise ConfigError(f'configmap "{reference.name}" not found')
            found = dict(config_map.data) if config_map else {}
        elif origin.secret_ref is not None:
            secret = source.secret(origin.secret_ref.name)
            if secret is None and not origin.secret_ref.optional:
                raise ConfigError(f'secret "{origin.secret_ref.name}" not found')
            found = {key: _decode(value) for key, value in secret.data.items()} if secret else {}
        else:
            continue
        values |= {origin.prefix + key: value for key, value in found.items()}
    for variable in container.env:
        value = _resolve(variable, container, fields, source, values)
        if value is not None:
            values[variable.name] = value
    return base | values


def _resolve(
    variable: EnvVar,
    container: Container,
    fields: PodFields,
    source: ConfigSource,
    known: Mapping[str, str],
) -> str | None:
    origin = variable.value_from
    if origin is None:
        return expand(variable.value, known)
    if origin.field_ref is not None:
        return fields.read(origin.field_ref)
    if origin.resource_field_ref is not None:
        return fields.read_resource(origin.resource_field_ref, container.name)
    if origin.config_map_key_ref is not None:
        reference = origin.config_map_key_ref
        config_map = source.config_map(reference.name)
        return _pick(reference, "configmap", config_map.data if config_map else None)
    if origin.secret_key_ref is not None:
        secret = source.secret(origin.secret_key_ref.name)
        found = _pick(origin.secret_key_ref, "secret", secret.data if secret else None)
        return None if found is None else _decode(found)
    return ""


def _pick(reference: KeySelector, kind: str, data: Mapping[str, str] | None) -> str | None:
    if data is not None and reference.key in data:
        return data[reference.key]
    if reference.optional:
        return None
    if data is None:
        raise ConfigError(f'{kind} "{reference.name}" not found')
    raise ConfigError(f'couldn\'t find key {reference.key} in {kind} "{reference.name}"')


def _decode(value: str) -> str:
    return base64.b64decode(value).decode("utf-8", "replace")


def build_service_variables(services: Iterable[Service]) -> dict[str, str]:
    """Return the variables that tell a container of the services with a cluster IP."""
    values: dict[str, str] = {}
    for service in services:
        address = service.spec.cluster_ip
        if address in ("", "None") or not service.spec.ports:
            continue
        prefix = service.metadata.name.upper().replace("-", "_")
        first = service.spec.ports[0]
        values[f"{prefix}_SERVICE_HOST"] = address
        values[f"{prefix}_SERVICE_PORT"] = str(first.port)
        values[f"{prefix}_PORT"] = f"{first.protocol.lower()}://{address}:{first.port}"
        for port in service.spec.ports:
            protocol = port.protocol.lower()
            if port.name:
                values[f"{prefix}_SERVICE_PORT_{port.name.upper().replace('-', '_')}"] = str(port.port)
            link = f"{prefix}_PORT_{port.port}_{port.protocol}"
            values[link] = f"{protocol}://{address}:{port.port}"
            values |= {f"{link}_PROTO": protocol, f"{link}_PORT": str(port.port), f"{link}_ADDR": address}
    return values
