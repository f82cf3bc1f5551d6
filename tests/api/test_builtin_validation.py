"""What the API server refuses of built-in kinds."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from lateen.api.kinds_builtin import BUILTIN
from lateen.api.schema.defaults import apply_defaults
from lateen.api.schema.definitions import find_schema
from lateen.api.schema.validation import validate

KINDS = {kind.kind: kind for kind in BUILTIN if kind.group != "events.k8s.io"}


def _complete(document: dict[str, Any]) -> dict[str, Any]:
    kind = KINDS[document["kind"]]
    return apply_defaults(kind, document, find_schema(kind.group, kind.version, kind.kind))


def _errors(document: dict[str, Any], old: dict[str, Any] | None = None) -> list[str]:
    kind = KINDS[document["kind"]]
    schema = find_schema(kind.group, kind.version, kind.kind)
    before = None if old is None else _complete(old)
    return [str(error) for error in validate(kind, _complete(document), schema, old=before)]


def _object(kind: str, name: str = "x", **members: Any) -> dict[str, Any]:
    metadata = {"name": name} | ({"namespace": "default"} if KINDS[kind].namespaced else {})
    return {"apiVersion": KINDS[kind].api_version, "kind": kind, "metadata": metadata, **members}


CONTAINER = {"name": "a", "image": "i"}


def _pod(*containers: dict[str, Any], **spec: Any) -> dict[str, Any]:
    return _object("Pod", spec={"containers": list(containers) or [CONTAINER], **spec})


def _deployment(**spec: Any) -> dict[str, Any]:
    template = {"metadata": {"labels": {"app": "x"}}, "spec": {"containers": [CONTAINER]}}
    selector = {"matchLabels": {"app": "x"}}
    return _object("Deployment", spec={"selector": selector, "template": template, **spec})


def _service(*ports: dict[str, Any], **spec: Any) -> dict[str, Any]:
    return _object("Service", spec={"ports": list(ports) or [{"port": 80}], **spec})


def _with(document: dict[str, Any], **members: Any) -> dict[str, Any]:
    return document | members


LABEL = (
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end "
    "with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is "
    "'[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
)
SUBDOMAIN = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start "
    "and end with an alphanumeric character (e.g. 'example.com', regex used for validation is "
    "'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
)

REFUSED: dict[str, tuple[dict[str, Any], list[str]]] = {
    "a_sound_pod": (_pod(), []),
    "a_pod_without_containers": (_object("Pod", spec={}), ["spec.containers: Required value"]),
    "two_containers_of_one_name": (
        _pod(CONTAINER, CONTAINER),
        ['spec.containers[1].name: Duplicate value: "a"'],
    ),
    "a_container_without_image": (_pod({"name": "a"}), ["spec.containers[0].image: Required value"]),
    "a_bad_container_name": (
        _pod({"name": "A", "image": "i"}),
        [f'spec.containers[0].name: Invalid value: "A": {LABEL}'],
    ),
    "a_port_out_of_range": (
        _pod(CONTAINER | {"ports": [{"containerPort": 70000}]}),
        ["spec.containers[0].ports[0].containerPort: Invalid value: 70000: must be between 1 and 65535, inclusive"],
    ),
    "a_protocol_nobody_speaks": (
        _pod(CONTAINER | {"ports": [{"containerPort": 1, "protocol": "XYZ"}]}),
        ['spec.containers[0].ports[0].protocol: Unsupported value: "XYZ": supported values: "SCTP", "TCP", "UDP"'],
    ),
    "a_mount_of_no_volume": (
        _pod(CONTAINER | {"volumeMounts": [{"name": "v", "mountPath": "/x"}]}),
        ['spec.containers[0].volumeMounts[0].name: Not found: "v"'],
    ),
    "a_volume_of_two_kinds": (
        _pod(volumes=[{"name": "v", "emptyDir": {}, "configMap": {"name": "c"}}]),
        ["spec.volumes[0].configMap: Forbidden: may not specify more than 1 volume type"],
    ),
    "a_probe_without_handler": (
        _pod(CONTAINER | {"livenessProbe": {}}),
        ["spec.containers[0].livenessProbe: Required value: must specify a handler type"],
    ),
    "a_liveness_probe_that_needs_two_successes": (
        _pod(CONTAINER | {"livenessProbe": {"tcpSocket": {"port": 1}, "successThreshold": 2}}),
        ["spec.containers[0].livenessProbe.successThreshold: Invalid value: 2: must be 1"],
    ),
    "a_probe_of_an_init_container": (
        _pod(CONTAINER, initContainers=[{"name": "i", "image": "i", "readinessProbe": {"tcpSocket": {"port": 1}}}]),
        [
            "spec.initContainers[0].readinessProbe: Forbidden: may not be set for init containers without "
            "restartPolicy=Always"
        ],
    ),
    "a_native_sidecar_may_have_probes": (
        _pod(
            CONTAINER,
            initContainers=[
                {"name": "i", "image": "i", "restartPolicy": "Always", "readinessProbe": {"tcpSocket": {"port": 1}}}
            ],
        ),
        [],
    ),
    "a_request_above_its_limit": (
        _pod(CONTAINER | {"resources": {"requests": {"cpu": "2"}, "limits": {"cpu": "500m"}}}),
        ['spec.containers[0].resources.requests: Invalid value: "2": must be less than or equal to cpu limit of 500m'],
    ),
    "a_restart_policy_nobody_knows": (
        _pod(restartPolicy="Sometimes"),
        ['spec.restartPolicy: Unsupported value: "Sometimes": supported values: "Always", "OnFailure", "Never"'],
    ),
    "a_bad_name": (
        _object("ConfigMap", "Big_Name"),
        [f'metadata.name: Invalid value: "Big_Name": {SUBDOMAIN}'],
    ),
    "no_name": (
        _with(_object("ConfigMap"), metadata={"namespace": "default"}),
        ["metadata.name: Required value: name or generateName is required"],
    ),
    "a_namespace_where_none_may_be": (
        _with(_object("Namespace"), metadata={"name": "x", "namespace": "y"}),
        ["metadata.namespace: Forbidden: not allowed on this type"],
    ),
    "a_bad_label": (
        _with(_object("ConfigMap"), metadata={"name": "x", "namespace": "d", "labels": {"a": "-"}}),
        [
            'metadata.labels: Invalid value: "-": a valid label must be an empty string or consist of alphanumeric '
            "characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or "
            "'my_value',  or '12345', regex used for validation is "
            "'(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"
        ],
    ),
    "a_sound_service": (_service(), []),
    "a_service_without_ports": (_object("Service", spec={}), ["spec.ports: Required value"]),
    "a_service_whose_name_begins_with_a_digit": (
        _with(_service(), metadata={"name": "1a", "namespace": "d"}),
        [
            'metadata.name: Invalid value: "1a": a DNS-1035 label must consist of lower case alphanumeric characters '
            "or '-', start with an alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or "
            "'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')"
        ],
    ),
    "two_ports_without_names": (
        _service({"port": 80}, {"port": 81}),
        ["spec.ports[0].name: Required value", "spec.ports[1].name: Required value"],
    ),
    "one_port_twice": (
        _service({"name": "a", "port": 80}, {"name": "b", "port": 80}),
        [
            'spec.ports[1]: Duplicate value: {"Name":"","Protocol":"TCP","AppProtocol":null,"Port":80,"TargetPort":0,'
            '"NodePort":0}'
        ],
    ),
    "an_external_name_without_name": (
        _object("Service", spec={"type": "ExternalName"}),
        ["spec.externalName: Required value"],
    ),
    "a_headless_node_port": (
        _service(type="NodePort", clusterIP="None"),
        ["spec.clusterIPs[0]: Invalid value: \"None\": may not be set to 'None' for NodePort services"],
    ),
    "a_sound_deployment": (_deployment(), []),
    "a_deployment_without_selector": (
        _deployment(selector=None),
        [
            "spec.selector: Required value",
            'spec.template.metadata.labels: Invalid value: {"app":"x"}: `selector` does not match template `labels`',
        ],
    ),
    "a_selector_that_misses_its_template": (
        _deployment(selector={"matchLabels": {"app": "y"}}),
        ['spec.template.metadata.labels: Invalid value: {"app":"x"}: `selector` does not match template `labels`'],
    ),
    "negative_replicas": (
        _deployment(replicas=-1),
        ["spec.replicas: Invalid value: -1: must be greater than or equal to 0"],
    ),
    "a_strategy_nobody_knows": (
        _deployment(strategy={"type": "Yolo"}),
        [
            'spec.strategy: Unsupported value: {"Type":"Yolo","RollingUpdate":null}: supported values: "Recreate", "RollingUpdate"',
        ],
    ),
    "a_tls_secret_without_key": (
        _object("Secret", type="kubernetes.io/tls", data={"tls.crt": ""}),
        ["data[tls.key]: Required value"],
    ),
    "a_bad_key": (
        _object("ConfigMap", data={"a/b": "1"}),
        [
            "data[a/b]: Invalid value: \"a/b\": a valid config key must consist of alphanumeric characters, '-', '_' or "
            "'.' (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')"
        ],
    ),
    "a_job_that_always_restarts": (
        _object("Job", spec={"template": {"spec": {"containers": [CONTAINER]}}}),
        ['spec.template.spec.restartPolicy: Required value: valid values: "OnFailure", "Never"'],
    ),
    "a_rule_without_verbs": (
        _object("Role", rules=[{"apiGroups": [""], "resources": ["pods"]}]),
        ["rules[0].verbs: Required value: verbs must contain at least one value"],
    ),
    "a_binding_to_nothing": (
        _object("RoleBinding", roleRef={"kind": "Role"}),
        ["roleRef.name: Required value"],
    ),
    "a_crd_of_another_name": (
        _object(
            "CustomResourceDefinition",
            spec={
                "group": "x.io",
                "scope": "Cluster",
                "names": {"plural": "things", "kind": "Thing"},
                "versions": [
                    {"name": "v1", "storage": True, "served": True, "schema": {"openAPIV3Schema": {"type": "object"}}}
                ],
            },
        ),
        ['metadata.name: Invalid value: "x": must be spec.names.plural+"."+spec.group'],
    ),
    "a_kind_without_rules_of_its_own": (
        _object("Ingress", spec={"rules": [{"http": {"paths": [{"backend": {"service": {"name": "s"}}}]}}]}),
        ["spec.rules[0].http.paths[0].pathType: Required value"],
    ),
}


@pytest.mark.parametrize(("document", "expected"), REFUSED.values(), ids=REFUSED)
def test_a_document_is_judged_in_the_words_of_kubernetes(document: dict[str, Any], expected: list[str]) -> None:
    assert _errors(document) == expected


def _changed(document: dict[str, Any], *path: Any, value: Any) -> dict[str, Any]:
    result = copy.deepcopy(document)
    found: Any = result
    for key in path[:-1]:
        found = found[key]
    found[path[-1]] = value
    return result


ADDRESS = _service(clusterIP="10.96.0.5")
CHANGES: dict[str, tuple[dict[str, Any], dict[str, Any], list[str]]] = {
    "an_image_may_change": (_pod(), _changed(_pod(), "spec", "containers", 0, "image", value="j"), []),
    "a_container_may_not_be_added": (
        _pod(),
        _pod(CONTAINER, {"name": "b", "image": "i"}),
        ["spec.containers: Forbidden: pod updates may not add or remove containers"],
    ),
    "a_selector_may_not_change": (
        _deployment(),
        _changed(
            _changed(_deployment(), "spec", "selector", "matchLabels", value={"app": "y"}),
            *("spec", "template", "metadata", "labels"),
            value={"app": "y"},
        ),
        ['spec.selector: Invalid value: {"matchLabels":{"app":"y"}}: field is immutable'],
    ),
    "a_cluster_address_may_not_change": (
        ADDRESS,
        _service(clusterIP="10.96.0.6"),
        ['spec.clusterIPs[0]: Invalid value: ["10.96.0.6"]: may not change once set'],
    ),
    "a_service_may_become_an_external_name": (
        ADDRESS,
        _object("Service", spec={"type": "ExternalName", "externalName": "example.com"}),
        [],
    ),
    "the_type_of_a_secret_may_not_change": (
        _object("Secret"),
        _object("Secret", type="x/y"),
        ['type: Invalid value: "x/y": field is immutable'],
    ),
    "an_immutable_config_map_may_not_change": (
        _object("ConfigMap", immutable=True, data={"a": "1"}),
        _object("ConfigMap", immutable=True, data={"a": "2"}),
        ["data: Forbidden: field is immutable when `immutable` is set"],
    ),
    "the_target_of_a_binding_may_not_change": (
        _object("RoleBinding", roleRef={"kind": "Role", "name": "a"}),
        _object("RoleBinding", roleRef={"kind": "Role", "name": "b"}),
        [
            'roleRef: Invalid value: {"kind":"Role","name":"b","apiGroup":"rbac.authorization.k8s.io"}: '
            "cannot change roleRef"
        ],
    ),
}


@pytest.mark.parametrize(("old", "new", "expected"), CHANGES.values(), ids=CHANGES)
def test_a_change_is_judged_in_the_words_of_kubernetes(old: Any, new: Any, expected: list[str]) -> None:
    assert _errors(new, old) == expected


def test_a_pod_may_change_nothing_but_its_image() -> None:
    (error,) = _errors(_changed(_pod(), "spec", "nodeName", value="n"), _pod())
    assert error.startswith("spec: Forbidden: pod updates may not change fields other than `spec.containers[*].image`")
