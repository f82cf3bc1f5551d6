"""Bodies in Kubernetes' protobuf form: what `kubectl create` sends is stored as what the same YAML would be."""

import json
import shlex
from typing import Any

import pytest

from lateen.api.schema.wire import WireError, decode_object
from lateen.testing.apiserver import RunningServer

COMMANDS = {
    "a Deployment without replicas": "deployment web --image=a --replicas=0 --port=80 -- sleep 1",
    "a Job": "job once --image=a -- true",
    "a CronJob": "cronjob tick --image=a --schedule='*/1 * * * *'",
    "a ConfigMap": "configmap data --from-literal=a=b --from-literal=c=",
    "a Secret": "secret generic data --from-literal=a=b",
    "a Namespace": "namespace other",
    "a ServiceAccount": "serviceaccount robot",
    "a Service": "service clusterip web --tcp=80:8080 --tcp=443:https",
    "a headless Service": "service clusterip web --clusterip=None --tcp=80",
    "an ExternalName Service": "service externalname web --external-name=example.com",
    "a Role": "role reader --verb=get,list --resource=pods,deployments.apps --resource-name=one",
    "a ClusterRoleBinding": "clusterrolebinding all --clusterrole=admin --serviceaccount=default:robot",
    "a quota": "quota small --hard=cpu=1,memory=1Gi,pods=2",
    "an Ingress": "ingress web --rule=a.com/path*=web:80,tls=cert",
    "a PodDisruptionBudget": "poddisruptionbudget web --selector=app=web --min-available=50%",
}


def meaning(value: Any) -> Any:
    """The document without identity and status, and without the nulls and empty structs that a typed client prints."""
    if isinstance(value, list):
        return [meaning(item) for item in value]
    if isinstance(value, str) and value.startswith("10.96."):
        return "a cluster IP"
    if not isinstance(value, dict):
        return value
    identity = ("uid", "creationTimestamp", "status", "controller-uid", "batch.kubernetes.io/controller-uid")
    kept = {key: meaning(item) for key, item in value.items() if key not in identity}
    return {key: item for key, item in kept.items() if item is not None and item != {}}


@pytest.mark.parametrize("command", [shlex.split(text) for text in COMMANDS.values()], ids=COMMANDS.keys())
async def test_what_kubectl_create_sends_equals_the_same_object_in_json(api: RunningServer, command: list[str]) -> None:
    split = command.index("--") if "--" in command else len(command)

    def arguments(dry_run: str) -> list[str]:
        return ["create", *command[:split], f"--dry-run={dry_run}", "-o", "json", *command[split:]]

    in_protobuf = json.loads((await api.kubectl(*arguments("server"))).out)
    document = json.loads((await api.kubectl(*arguments("client"))).out)
    in_json = await api.create(_path_of(document), document, dryRun="All")
    assert meaning(in_protobuf) == meaning(in_json)


def _path_of(document: dict[str, Any]) -> str:
    prefix = "/apis/" if "/" in document["apiVersion"] else "/api/"
    plural = {"Ingress": "ingresses", "NetworkPolicy": "networkpolicies"}.get(document["kind"])
    plural = plural or f"{document['kind'].lower()}s"
    scope = "" if document["kind"] in ("Namespace", "ClusterRoleBinding") else "/namespaces/default"
    return f"{prefix}{document['apiVersion']}{scope}/{plural}"


async def test_tokens_and_reviews_work_from_kubectl(api: RunningServer) -> None:
    await api.kubectl("create", "serviceaccount", "robot")
    token = await api.kubectl("create", "token", "robot", "--duration=20m")
    assert token.out.count(".") == 2
    assert "kubernetes-admin" in (await api.kubectl("auth", "whoami")).out


@pytest.mark.parametrize(
    "body",
    [b"", b"{}", b"k8s\0", b"k8s\0\xff", b"k8s\0\x0a\x7f", b"k8s\0\x0a\x04\x0a\x02v1\x12\x03\x0a\xff\xff"],
    ids=["empty", "JSON", "no object", "half a number", "too long a field", "no kind"],
)
def test_what_is_no_object_is_refused(body: bytes) -> None:
    with pytest.raises(WireError):
        decode_object(body)


async def test_a_malformed_body_is_a_bad_request(api: RunningServer) -> None:
    answer = await api.request(
        "POST", "/api/v1/namespaces", b"k8s\0\xff", media_type="application/vnd.kubernetes.protobuf"
    )
    assert answer.status == 400
