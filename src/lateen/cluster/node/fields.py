"""Fields of a pod as text: what `fieldRef` and `resourceFieldRef` name. Pure.

Flow: (pod, field path) -> text. Source: the Kubernetes page "Downward API"; the forms of labels and annotations in
files are kubelet's (`key="value"` lines, sorted, escaped as Go's %q).
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

from lateen.api.container import ObjectFieldSelector, ResourceFieldSelector
from lateen.api.pod import Pod
from lateen.base.quantity import parse_quantity
from lateen.cluster.node.status import HOST_ADDRESS
from lateen.cluster.node.sync import find_container

NODE_NAME = "lateen"
_SUBSCRIPT = re.compile(r"metadata\.(labels|annotations)\['(.*)'\]")


class ConfigError(Exception):
    """A container cannot be made from what its specification refers to; the text is for the user."""


@dataclass(frozen=True)
class PodFields:
    """A pod with what only the node knows of it."""

    pod: Pod
    address: str
    allocatable: Mapping[str, float]

    def read(self, selector: ObjectFieldSelector) -> str:
        """Return the field as text; raises ConfigError for a path that Kubernetes does not support."""
        metadata = self.pod.metadata
        simple = {
            "metadata.name": metadata.name,
            "metadata.namespace": metadata.namespace,
            "metadata.uid": metadata.uid,
            "metadata.labels": _format_map(metadata.labels),
            "metadata.annotations": _format_map(metadata.annotations),
            "spec.nodeName": NODE_NAME,
            "spec.serviceAccountName": self.pod.spec.service_account_name or "default",
            "status.hostIP": HOST_ADDRESS,
            "status.hostIPs": HOST_ADDRESS,
            "status.podIP": self.address,
            "status.podIPs": self.address,
        }
        if selector.field_path in simple:
            return simple[selector.field_path]
        if match := _SUBSCRIPT.fullmatch(selector.field_path):
            values = metadata.labels if match[1] == "labels" else metadata.annotations
            return values.get(match[2], "")
        raise ConfigError(f"fieldPath {selector.field_path!r} is not supported")

    def read_resource(self, selector: ResourceFieldSelector, container_name: str) -> str:
        """Return a container's request or limit divided and rounded up, the node's capacity where it sets none."""
        name = selector.container_name or container_name
        container = find_container(self.pod, name)
        section, _, resource = selector.resource.partition(".")
        if container is None or section not in ("limits", "requests"):
            raise ConfigError(f"resource {selector.resource!r} of container {name!r} is not there")
        values = container.resources.limits if section == "limits" else container.resources.requests
        amount = float(parse_quantity(str(values[resource]))) if resource in values else 0.0
        if resource not in values and section == "limits":
            amount = self.allocatable.get(resource, 0.0)
        divisor = float(parse_quantity(str(selector.divisor or "1"))) or 1.0
        return str(math.ceil(amount / divisor))


def _format_map(values: Mapping[str, str]) -> str:
    return "\n".join(f"{key}={json.dumps(value, ensure_ascii=False)}" for key, value in sorted(values.items()))
