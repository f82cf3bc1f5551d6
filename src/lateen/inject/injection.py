"""An injected pod: the pod that a user wrote, with the mesh's containers, volumes, labels and annotations.

Flow: pod + workload + settings -> pod. Steps: what the user wrote for the mesh's containers is set aside ->
containers of each template -> the user's wishes merged onto them -> probes -> annotations and labels -> order.

| native sidecar | order of init containers |
| --- | --- |
| yes | istio-validation or istio-init, istio-proxy, the user's |
| no | istio-validation, the user's, istio-init |

Invariants: the given pod is not changed; an injected pod is never injected again.
Source: Istio `pkg/kube/inject/webhook.go`. We differ: the templates are code (`sidecar`, `gateway`), not configuration.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from lateen.api.objects import annotations_of, labels_of
from lateen.api.schema.definitions import get_definition
from lateen.api.strategic_merge import strategic_merge
from lateen.base.errors import DataError
from lateen.inject.containers import INIT, VALIDATION, Injection, begin, build_gateway, build_init, build_sidecar
from lateen.inject.decision import STATUS
from lateen.inject.environment import NETWORK_LABEL, PROXY_CONTAINER, app_container_names
from lateen.inject.probes import REWRITE, VARIABLE, format_probers, rewrite_container
from lateen.inject.prometheus import VARIABLE as PROMETHEUS_VARIABLE
from lateen.inject.prometheus import merge_annotations
from lateen.inject.settings import InjectionSettings
from lateen.inject.traffic import build_cni_annotations
from lateen.inject.volumes import build_volumes
from lateen.inject.workload import Workload, find_canonical_name, find_canonical_revision

TEMPLATES = "inject.istio.io/templates"
OVERRIDES = "proxy.istio.io/overrides"
_OWN = (PROXY_CONTAINER, INIT, VALIDATION)
_AUTO = "auto"  # the image that means "the mesh's"
_DEFAULT_CONTAINER = ("kubectl.kubernetes.io/default-logs-container", "kubectl.kubernetes.io/default-container")
_NAMED_LISTS = (("env", "name"), ("volumeMounts", "mountPath"), ("ports", "containerPort"))
_SYSCTL = {"name": "net.ipv4.ip_unprivileged_port_start", "value": "0"}

Document = dict[str, Any]


def inject(pod: Mapping[str, Any], workload: Workload, settings: InjectionSettings) -> Document:
    """The injected pod; raises DataError for an annotation that cannot be obeyed."""
    injection = begin(pod, workload, settings)
    is_gateway = _find_template(injection) == "gateway"
    spec = dict(pod["spec"])
    wishes = _take_wishes(spec, is_native=injection.is_native and not is_gateway)
    if is_gateway:
        containers, initial = [build_gateway(injection)], []
        _open_low_ports(spec)
    else:
        init = build_init(injection)
        proxy = [build_sidecar(injection)]
        containers = [] if injection.is_native else proxy
        initial = ([init] if init else []) + (proxy if injection.is_native else [])
    containers = [_apply_wish(one, wishes.get("containers", ())) for one in containers]
    initial = [_apply_wish(one, wishes.get("initContainers", ())) for one in initial]
    volumes = build_volumes(injection.annotations, settings, is_gateway=is_gateway)
    spec["containers"] = _order(spec.get("containers") or [], containers, first=injection.holds_application)
    spec["initContainers"] = _order_initial(spec.get("initContainers") or [], initial)
    spec["volumes"] = [*volumes, *(spec.get("volumes") or ())]
    if settings.pull_secrets:
        _add_pull_secrets(spec, settings.pull_secrets)
    metadata = dict(pod.get("metadata") or {})
    metadata["labels"] = _build_labels(injection, is_gateway=is_gateway)
    status = _format_status(containers, initial, volumes, settings)
    annotations = {**_build_annotations(injection, is_gateway=is_gateway), STATUS: status}
    if wishes:
        annotations[OVERRIDES] = json.dumps(wishes, separators=(",", ":"))
    metadata["annotations"] = _finish(spec, annotations, injection)
    if not initial and "initContainers" not in pod["spec"]:
        del spec["initContainers"]
    return {**pod, "metadata": metadata, "spec": spec}


def _find_template(injection: Injection) -> str:
    text = injection.annotations.get(TEMPLATES) or labels_of(injection.pod).get(TEMPLATES) or "sidecar"
    names = [name.strip() for name in text.split(",") if name.strip()]
    if len(names) != 1 or names[0] not in ("sidecar", "gateway"):
        raise DataError(f"annotation {TEMPLATES}: {text!r} is none of the templates sidecar, gateway")
    return names[0]


def _take_wishes(spec: Document, *, is_native: bool) -> dict[str, list[Document]]:
    """Take what the user wrote for the mesh's own containers out of the pod."""
    wishes: dict[str, list[Document]] = {}
    for key in ("initContainers", "containers"):
        found = [one for one in spec.get(key) or () if one["name"] in _OWN]
        if not found:
            continue
        spec[key] = [one for one in spec[key] if one["name"] not in _OWN]
        kept = [{name: value for name, value in one.items() if (name, value) != ("image", _AUTO)} for one in found]
        wishes.setdefault("initContainers" if is_native else key, []).extend(kept)
    return wishes


def _apply_wish(container: Document, wishes: Sequence[Document]) -> Document:
    wish = next((one for one in wishes if one["name"] == container["name"]), None)
    if wish is None:
        return container
    schema = get_definition("io.k8s.api.core.v1.Container")
    merged = strategic_merge(container, wish, schema)
    for key, identity in _NAMED_LISTS:
        if key in wish and key in container:
            ours = [one[identity] for one in container[key]]
            places = {name: place for place, name in enumerate(ours)}
            merged[key] = sorted(merged[key], key=lambda one: places.get(one[identity], len(places)))
    return merged


def _order(own: Sequence[Document], added: Sequence[Document], *, first: bool) -> list[Document]:
    return [*added, *own] if first else [*own, *added]


def _order_initial(own: Sequence[Document], added: Sequence[Document]) -> list[Document]:
    is_native = any(one["name"] == PROXY_CONTAINER for one in added)
    late = [] if is_native else [one for one in added if one["name"] == INIT]
    return [*(one for one in added if one not in late), *own, *late]


def _open_low_ports(spec: Document) -> None:
    context = dict(spec.get("securityContext") or {})
    sysctls = list(context.get("sysctls") or ())
    if all(one.get("name") != _SYSCTL["name"] for one in sysctls):
        sysctls.append(dict(_SYSCTL))
    spec["securityContext"] = {**context, "sysctls": sysctls}


def _add_pull_secrets(spec: Document, names: Sequence[str]) -> None:
    added = [{"name": name} for name in names]
    spec["imagePullSecrets"] = added + [one for one in spec.get("imagePullSecrets") or () if one not in added]


def _build_labels(injection: Injection, *, is_gateway: bool) -> dict[str, str]:
    labels = dict(labels_of(injection.pod))
    labels["service.istio.io/canonical-name"] = find_canonical_name(labels, injection.workload)
    labels["service.istio.io/canonical-revision"] = find_canonical_revision(labels)
    if not is_gateway:
        labels.setdefault("security.istio.io/tlsMode", "istio")
    if injection.settings.network:
        labels.setdefault(NETWORK_LABEL, injection.settings.network)
    return labels


def _build_annotations(injection: Injection, *, is_gateway: bool) -> dict[str, str]:
    settings = injection.settings
    annotations = dict(annotations_of(injection.pod))
    added: dict[str, str] = {"istio.io/rev": settings.revision}
    names = app_container_names(injection.pod)
    if names and not is_gateway:
        added |= {name: names[0] for name in _DEFAULT_CONTAINER if name not in annotations}
    if settings.cni and not is_gateway:
        added |= build_cni_annotations(annotations, settings, mode=injection.mode, status_port=injection.status_port)
        if settings.cni_provider == "multus":
            networks = annotations.get("k8s.v1.cni.cncf.io/networks")
            own = "default/istio-cni"
            added["k8s.v1.cni.cncf.io/networks"] = f"{networks}, {own}" if networks else own
    return {**annotations, **added, **settings.injected_annotations}


def _format_status(
    containers: Sequence[Document],
    initial: Sequence[Document],
    volumes: Sequence[Document],
    settings: InjectionSettings,
) -> str:
    def names(documents: Sequence[Document]) -> list[str] | None:
        return [one["name"] for one in documents] or None

    status = {
        "initContainers": names(initial),
        "containers": names(containers),
        "volumes": names(volumes),
        "imagePullSecrets": list(settings.pull_secrets) or None,
        "revision": settings.revision,
    }
    return json.dumps(status, separators=(",", ":"))


def _finish(spec: Document, annotations: dict[str, str], injection: Injection) -> dict[str, str]:
    """Turn probes and metrics to the agent; returns the annotations."""
    port = int(injection.status_port)
    mesh_port = int(injection.settings.proxy_config.get("statusPort") or 0)
    annotations, described = merge_annotations(annotations, injection.settings, mesh_port)
    added = [{"name": PROMETHEUS_VARIABLE, "value": described}] if described else []
    rewrites = annotations.get(REWRITE, str(injection.settings.rewrite_probes)).lower() == "true"
    if rewrites and port:
        asked: dict[str, Document] = {}
        for key in ("initContainers", "containers"):
            spec[key] = _map_containers(spec[key], lambda one: rewrite_container(one, port), asked)
        if asked:
            added.append({"name": VARIABLE, "value": format_probers(asked)})
    if added:
        for key in ("initContainers", "containers"):
            spec[key] = [_with_variables(one, added) if one["name"] == PROXY_CONTAINER else one for one in spec[key]]
    return annotations


def _map_containers(
    containers: Sequence[Document],
    rewrite: Callable[[Document], tuple[Document, dict[str, Document]]],
    asked: dict[str, Document],
) -> list[Document]:
    results = []
    for container in containers:
        result, found = rewrite(container)
        asked.update(found)
        results.append(result)
    return results


def _with_variables(container: Document, variables: Sequence[Document]) -> Document:
    return {**container, "env": [*(container.get("env") or ()), *variables]}
