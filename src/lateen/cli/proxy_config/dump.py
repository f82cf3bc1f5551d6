"""Envoy's /config_dump as plain documents: camelCase fields, the same for a live Envoy and for a file.

JSON text -> `ConfigDump` -> resources of one kind, unpacked from their Any, in the dump's order: first those that
discovery sent, then those of the bootstrap.
Invariants: everything goes through Envoy's own message classes, so enums, durations and 64-bit integers read as in
proto3 JSON whatever wrote the file; fields and types that this Envoy does not know are dropped, not refused.
Source: envoy/admin/v3/config_dump.proto and config_dump_shared.proto.
"""

from __future__ import annotations

import json
from typing import Any

from lateen.base.errors import LateenError
from lateen.envoy.messages import TYPE_URL_PREFIX, get_pool, message_class

Document = dict[str, Any]

_ADMIN = "envoy.admin.v3."
_EMPTY = {"@type": f"{TYPE_URL_PREFIX}google.protobuf.Empty"}
_DEEPEST = 200


class DumpError(LateenError):
    """A dump lacks what was asked for; istioctl's own exit code."""

    exit_code = 1


def parse_json(text: str | bytes, what: str) -> Document:
    """The JSON object in a text; raises DumpError."""
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DumpError(f"{what} is not JSON: {error}") from error
    if not isinstance(document, dict):
        raise DumpError(f"{what} is not a JSON object")
    return document


def normalise(full_name: str, document: Document) -> Document:
    """The document as its message prints it in proto3 JSON; raises DumpError for one that is no such message."""
    from google.protobuf import json_format

    from lateen.envoy.messages import build_document

    message = message_class(full_name)()
    known = _keep_known({name: value for name, value in document.items() if name != "@type"}, 0)
    try:
        json_format.ParseDict(known, message, ignore_unknown_fields=True, descriptor_pool=get_pool())
    except json_format.ParseError as error:
        raise DumpError(f"the dump's {full_name.rpartition('.')[2]} cannot be read: {error}") from error
    plain: Document = json.loads(json.dumps(build_document(message)))  # protobuf's are ordered dicts in places
    return plain


def _keep_known(value: Any, depth: int) -> Any:
    """The value with each Any of an unknown type emptied."""
    if depth > _DEEPEST:
        raise DumpError("the dump is nested too deeply")
    if isinstance(value, list):
        return [_keep_known(item, depth + 1) for item in value]
    if not isinstance(value, dict):
        return value
    if "@type" in value and not _is_known(str(value["@type"])):
        return dict(_EMPTY)
    return {name: _keep_known(item, depth + 1) for name, item in value.items()}


def _is_known(type_url: str) -> bool:
    try:
        get_pool().FindMessageTypeByName(type_url.rpartition("/")[2])
    except KeyError:
        return False
    return True


def unpack(value: Document | None) -> Document:
    """An Any's document without its type."""
    return {name: item for name, item in (value or {}).items() if name != "@type"}


class ConfigDump:
    """One Envoy's configuration."""

    def __init__(self, document: Document) -> None:
        configs = document.get("configs")
        self._sections: dict[str, Document] = {}
        for config in configs if isinstance(configs, list) else ():
            if isinstance(config, dict):
                self._add(str(config.get("@type", "")).rpartition("/")[2], config)

    def _add(self, name: str, config: Document) -> None:
        section = self._sections.setdefault(name, {})
        for field, value in config.items():
            known = section.get(field)
            # A type may have several sections: Envoy writes one for each subscription of extension configurations.
            section[field] = [*known, *value] if isinstance(known, list) and isinstance(value, list) else value

    def section(self, name: str) -> Document:
        """A section such as `ListenersConfigDump`; raises DumpError when the dump has none."""
        found = self._sections.get(_ADMIN + name)
        if found is None:
            raise DumpError(f"config dump has no configuration type {TYPE_URL_PREFIX}{_ADMIN}{name}")
        return normalise(_ADMIN + name, found)

    def listeners(self) -> list[Document]:
        """Active listeners."""
        section = self.section("ListenersConfigDump")
        active = [each.get("activeState", {}) for each in section.get("dynamicListeners", ())]
        found = [*active, *section.get("staticListeners", ())]
        return [unpack(each["listener"]) for each in found if "listener" in each]

    def clusters(self) -> list[Document]:
        """Active clusters."""
        section = self.section("ClustersConfigDump")
        found = [*section.get("dynamicActiveClusters", ()), *section.get("staticClusters", ())]
        return [unpack(each["cluster"]) for each in found if "cluster" in each]

    def routes(self) -> list[Document]:
        """Route configurations, those of RDS first."""
        section = self.section("RoutesConfigDump")
        found = [*section.get("dynamicRouteConfigs", ()), *section.get("staticRouteConfigs", ())]
        return [unpack(each["routeConfig"]) for each in found if "routeConfig" in each]

    def endpoints(self) -> list[Document]:
        """Load assignments; Envoy has them in the dump only when it was asked with `include_eds`."""
        section = self.section("EndpointsConfigDump")
        found = [*section.get("dynamicEndpointConfigs", ()), *section.get("staticEndpointConfigs", ())]
        return [unpack(each["endpointConfig"]) for each in found if "endpointConfig" in each]
