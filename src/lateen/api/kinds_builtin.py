"""Built-in kinds of the Kubernetes API that Lateen's server offers, in discovery order (core group first).

Each row is one resource: names, scope, categories, subresources. Printer columns are not here: kubectl's
built-in tables are computed from the objects in `tables.py`.
Source: `kubectl api-resources` of Kubernetes 1.34. Where we differ: alpha and beta resources are left
out, and `autoscaling` offers v2 only, whose schema differs from v1's.
"""

from lateen.api.kinds import ALL_VERBS, Kind

BUILTIN_GROUPS: dict[str, str] = {
    "": "core",
    "apiregistration.k8s.io": "apiregistration",
    "apps": "apps",
    "events.k8s.io": "events",
    "authentication.k8s.io": "authentication",
    "authorization.k8s.io": "authorization",
    "autoscaling": "autoscaling",
    "batch": "batch",
    "certificates.k8s.io": "certificates",
    "networking.k8s.io": "networking",
    "policy": "policy",
    "rbac.authorization.k8s.io": "rbac",
    "storage.k8s.io": "storage",
    "admissionregistration.k8s.io": "admissionregistration",
    "apiextensions.k8s.io": "apiextensions",
    "scheduling.k8s.io": "scheduling",
    "coordination.k8s.io": "coordination",
    "node.k8s.io": "node",
    "discovery.k8s.io": "discovery",
}
"""API group -> the package that Kubernetes' OpenAPI definitions of that group are named after."""

_SCHEMA_ROOTS = {
    "apiregistration.k8s.io": "io.k8s.kube-aggregator.pkg.apis.apiregistration",
    "apiextensions.k8s.io": "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions",
}

_REVIEW_VERBS = ("create",)


def _build(
    group: str,
    kind: str,
    plural: str,
    short_names: str = "",
    *,
    version: str = "v1",
    namespaced: bool = True,
    categories: str = "",
    subresources: str = "",
    verbs: tuple[str, ...] = ALL_VERBS,
) -> Kind:
    root = _SCHEMA_ROOTS.get(group, f"io.k8s.api.{BUILTIN_GROUPS[group]}")
    return Kind(
        group=group,
        version=version,
        served_versions=(version,),
        kind=kind,
        plural=plural,
        singular=kind.lower(),
        short_names=tuple(short_names.split()),
        namespaced=namespaced,
        categories=tuple(categories.split()),
        subresources=frozenset(subresources.split()),
        verbs=verbs,
        schema_name=f"{root}.{version}.{kind}",
    )


_POD_SUBRESOURCES = "status log exec attach portforward binding eviction ephemeralcontainers resize proxy"

_CORE = (
    _build("", "Binding", "bindings", verbs=_REVIEW_VERBS),
    _build("", "ConfigMap", "configmaps", "cm"),
    _build("", "Endpoints", "endpoints", "ep"),
    _build("", "Event", "events", "ev"),
    _build("", "LimitRange", "limitranges", "limits"),
    _build("", "Namespace", "namespaces", "ns", namespaced=False, subresources="status finalize"),
    _build("", "Node", "nodes", "no", namespaced=False, subresources="status proxy"),
    _build("", "PersistentVolumeClaim", "persistentvolumeclaims", "pvc", subresources="status"),
    _build("", "PersistentVolume", "persistentvolumes", "pv", namespaced=False, subresources="status"),
    _build("", "Pod", "pods", "po", categories="all", subresources=_POD_SUBRESOURCES),
    _build("", "PodTemplate", "podtemplates"),
    _build(
        "",
        "ReplicationController",
        "replicationcontrollers",
        "rc",
        categories="all",
        subresources="status scale",
    ),
    _build("", "ResourceQuota", "resourcequotas", "quota", subresources="status"),
    _build("", "Secret", "secrets"),
    _build("", "ServiceAccount", "serviceaccounts", "sa", subresources="token"),
    _build("", "Service", "services", "svc", categories="all", subresources="status proxy"),
)

_WORKLOADS = (
    _build("apps", "ControllerRevision", "controllerrevisions"),
    _build("apps", "DaemonSet", "daemonsets", "ds", categories="all", subresources="status"),
    _build("apps", "Deployment", "deployments", "deploy", categories="all", subresources="status scale"),
    _build("apps", "ReplicaSet", "replicasets", "rs", categories="all", subresources="status scale"),
    _build("apps", "StatefulSet", "statefulsets", "sts", categories="all", subresources="status scale"),
    _build("events.k8s.io", "Event", "events", "ev"),
    _build(
        "autoscaling",
        "HorizontalPodAutoscaler",
        "horizontalpodautoscalers",
        "hpa",
        version="v2",
        categories="all",
        subresources="status",
    ),
    _build("batch", "CronJob", "cronjobs", "cj", categories="all", subresources="status"),
    _build("batch", "Job", "jobs", categories="all", subresources="status"),
)

_AUTHENTICATION = "authentication.k8s.io"
_AUTHORIZATION = "authorization.k8s.io"
_RBAC = "rbac.authorization.k8s.io"
_ADMISSION = "admissionregistration.k8s.io"

_ACCESS = (
    _build(_AUTHENTICATION, "SelfSubjectReview", "selfsubjectreviews", namespaced=False, verbs=_REVIEW_VERBS),
    _build(_AUTHENTICATION, "TokenReview", "tokenreviews", namespaced=False, verbs=_REVIEW_VERBS),
    _build(_AUTHORIZATION, "LocalSubjectAccessReview", "localsubjectaccessreviews", verbs=_REVIEW_VERBS),
    _build(
        _AUTHORIZATION,
        "SelfSubjectAccessReview",
        "selfsubjectaccessreviews",
        namespaced=False,
        verbs=_REVIEW_VERBS,
    ),
    _build(
        _AUTHORIZATION,
        "SelfSubjectRulesReview",
        "selfsubjectrulesreviews",
        namespaced=False,
        verbs=_REVIEW_VERBS,
    ),
    _build(_AUTHORIZATION, "SubjectAccessReview", "subjectaccessreviews", namespaced=False, verbs=_REVIEW_VERBS),
    _build(_RBAC, "ClusterRoleBinding", "clusterrolebindings", namespaced=False),
    _build(_RBAC, "ClusterRole", "clusterroles", namespaced=False),
    _build(_RBAC, "RoleBinding", "rolebindings"),
    _build(_RBAC, "Role", "roles"),
    _build(
        "certificates.k8s.io",
        "CertificateSigningRequest",
        "certificatesigningrequests",
        "csr",
        namespaced=False,
        subresources="status approval",
    ),
)

_CLUSTER = (
    _build("networking.k8s.io", "IngressClass", "ingressclasses", namespaced=False),
    _build("networking.k8s.io", "Ingress", "ingresses", "ing", subresources="status"),
    _build("networking.k8s.io", "IPAddress", "ipaddresses", "ip", namespaced=False),
    _build("networking.k8s.io", "NetworkPolicy", "networkpolicies", "netpol"),
    _build("networking.k8s.io", "ServiceCIDR", "servicecidrs", namespaced=False, subresources="status"),
    _build("policy", "PodDisruptionBudget", "poddisruptionbudgets", "pdb", subresources="status"),
    _build("storage.k8s.io", "CSIDriver", "csidrivers", namespaced=False),
    _build("storage.k8s.io", "CSINode", "csinodes", namespaced=False),
    _build("storage.k8s.io", "CSIStorageCapacity", "csistoragecapacities"),
    _build("storage.k8s.io", "StorageClass", "storageclasses", "sc", namespaced=False),
    _build("storage.k8s.io", "VolumeAttachment", "volumeattachments", namespaced=False, subresources="status"),
    _build("scheduling.k8s.io", "PriorityClass", "priorityclasses", "pc", namespaced=False),
    _build("coordination.k8s.io", "Lease", "leases"),
    _build("node.k8s.io", "RuntimeClass", "runtimeclasses", namespaced=False),
    _build("discovery.k8s.io", "EndpointSlice", "endpointslices"),
)

_EXTENSION = (
    _build(
        "apiregistration.k8s.io",
        "APIService",
        "apiservices",
        namespaced=False,
        categories="api-extensions",
        subresources="status",
    ),
    _build(
        _ADMISSION,
        "MutatingWebhookConfiguration",
        "mutatingwebhookconfigurations",
        namespaced=False,
        categories="api-extensions",
    ),
    _build(
        _ADMISSION,
        "ValidatingAdmissionPolicy",
        "validatingadmissionpolicies",
        namespaced=False,
        categories="api-extensions",
        subresources="status",
    ),
    _build(
        _ADMISSION,
        "ValidatingAdmissionPolicyBinding",
        "validatingadmissionpolicybindings",
        namespaced=False,
        categories="api-extensions",
    ),
    _build(
        _ADMISSION,
        "ValidatingWebhookConfiguration",
        "validatingwebhookconfigurations",
        namespaced=False,
        categories="api-extensions",
    ),
    _build(
        "apiextensions.k8s.io",
        "CustomResourceDefinition",
        "customresourcedefinitions",
        "crd crds",
        namespaced=False,
        categories="api-extensions",
        subresources="status",
    ),
)

_GROUP_ORDER = {group: place for place, group in enumerate(BUILTIN_GROUPS)}

BUILTIN: tuple[Kind, ...] = tuple(
    sorted(_CORE + _WORKLOADS + _ACCESS + _CLUSTER + _EXTENSION, key=lambda kind: _GROUP_ORDER[kind.group])
)
"""Every built-in kind, core group first, groups in the order that kube-apiserver's discovery gives them."""
