"""Who speaks: the node in a discovery request, overwritten with the pod that owns the socket.

Flow: request bytes -> its `node` field taken out, identity replaced, put back -> request bytes. All other
fields pass as they are, even those unknown here. Invariants: the first request of a stream leaves with a
node, a later one only if it had one; whatever the proxy said of its id, name, namespace, service account,
labels, addresses or node is gone; what it said of itself (version, features, locality,
other metadata) stays, but for its list of extensions.
Source: envoy/config/core/v3/base.proto (Node), service/discovery/v3/discovery.proto; metadata keys are
Istio's.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import DecodeError
from google.protobuf.message_factory import GetMessageClass

from lateen.base.errors import DataError
from lateen.envoy.messages import encode, message_class
from lateen.runtime.agent_control import AddPod

DELTA_NODE_FIELD = 1
STATE_NODE_FIELD = 2
"""Where `node` stands in a DeltaDiscoveryRequest and in a DiscoveryRequest."""


class NodeStamp:
    """Stamps the requests of one pod."""

    def __init__(self, pod: AddPod) -> None:
        self._id = f"{pod.proxy_type}~{pod.ip}~{pod.name}.{pod.namespace}~{pod.namespace}.svc.{pod.cluster_domain}"
        self._metadata: dict[str, Any] = {
            "NAME": pod.name,
            "NAMESPACE": pod.namespace,
            "SERVICE_ACCOUNT": pod.service_account,
            "LABELS": dict(pod.labels),
            "INSTANCE_IPS": pod.ip,
            "NODE_NAME": pod.node_name,
            "CLUSTER_ID": pod.cluster_id,
        }

    def stamp(self, request: bytes, field: int, *, first: bool) -> bytes:
        """Return the request as it may leave; raises `DataError` for what is no request."""
        try:
            envelope = _envelope_class(field).FromString(request)
            if not first and not envelope.HasField("node"):
                return request
            envelope.node = self._overwrite(envelope.node)
        except DecodeError as error:
            raise DataError("not a discovery request") from error
        return encode(envelope)

    def _overwrite(self, body: bytes) -> bytes:
        node = message_class("envoy.config.core.v3.Node").FromString(body)
        node.id = self._id
        # The list of Envoy's extensions: 60 KB in every first request, read by no control plane.
        node.ClearField("extensions")
        for key in self._metadata:
            node.metadata.fields.pop(key, None)
        node.metadata.update(self._metadata)
        return encode(node)


@cache
def _envelope_class(field: int) -> Any:
    """Return a message that knows `node` alone, as bytes; upb keeps the other fields unread, in order."""
    file = FileDescriptorProto(name=f"lateen/agent/{field}.proto", package="lateen.agent", syntax="proto3")
    node = file.message_type.add(name="Envelope").field.add(
        name="node", number=field, type=FieldDescriptorProto.TYPE_BYTES, proto3_optional=True, oneof_index=0
    )
    node.label = FieldDescriptorProto.LABEL_OPTIONAL
    file.message_type[0].oneof_decl.add(name="_node")
    pool = DescriptorPool()
    pool.AddSerializedFile(file.SerializeToString(deterministic=True))
    return GetMessageClass(pool.FindMessageTypeByName("lateen.agent.Envelope"))
