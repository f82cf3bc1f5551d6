"""What one pod on the node asks of the API server: status, events, tokens, its own deletion.

Source: TokenRequest of `authentication.k8s.io/v1`, bound to the pod so that it dies with it.
"""

from __future__ import annotations

from datetime import datetime

from lateen.api.kinds import Kind, Registry
from lateen.api.kinds_builtin import BUILTIN
from lateen.api.objects import JsonObject, name_of, namespace_of, uid_of
from lateen.cluster.node.events import EventRecorder
from lateen.cluster.node.publisher import StatusPublisher
from lateen.kube.client import Client
from lateen.kube.errors import ApiConflictError, ApiNotFoundError

_REGISTRY = Registry(BUILTIN)


def get_kind(group: str, version: str, plural: str) -> Kind:
    """Return a built-in kind, which is there."""
    kind = _REGISTRY.find(group, version, plural)
    assert kind is not None, plural
    return kind


PODS = get_kind("", "v1", "pods")
EVENTS = get_kind("", "v1", "events")
SERVICE_ACCOUNTS = get_kind("", "v1", "serviceaccounts")


class PodApi:
    """The API server as one pod's runner uses it."""

    def __init__(self, client: Client, events: EventRecorder, pod: JsonObject) -> None:
        self.publisher = StatusPublisher(client, PODS, pod)
        self._client = client
        self._events = events
        self._pod = pod

    def record(
        self, document: JsonObject, reason: str, message: str, *, warning: bool = False, container: str = ""
    ) -> None:
        """Note an event."""
        self._events.record(document, reason, message, warning=warning, container=container)

    async def issue_token(self, audience: str, seconds: int) -> tuple[str, datetime]:
        """Return a token of the pod's service account and when it expires; raises LateenError."""
        pod = self._pod
        spec: JsonObject = {
            "expirationSeconds": seconds,
            "boundObjectRef": {"apiVersion": "v1", "kind": "Pod", "name": name_of(pod), "uid": uid_of(pod)},
        }
        if audience:
            spec["audiences"] = [audience]
        request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec}
        account = pod["spec"].get("serviceAccountName") or "default"
        answer = await self._client.post_subresource(SERVICE_ACCOUNTS, namespace_of(pod), account, "token", request)
        status = answer["status"]
        return status["token"], datetime.fromisoformat(status["expirationTimestamp"])

    async def delete(self) -> None:
        """Delete the object now; it does not matter if it is gone already."""
        pod = self._pod
        try:
            await self._client.delete(PODS, namespace_of(pod), name_of(pod), grace_period_seconds=0, uid=uid_of(pod))
        except (ApiNotFoundError, ApiConflictError):
            return
