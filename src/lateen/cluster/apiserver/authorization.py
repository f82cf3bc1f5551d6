"""What each user may do: (user, verb, resource) -> allowed or not, from lists that are fixed until RBAC exists.

The administrator may do everything. Each component of the system has the list below and nothing else. A
service-account token may only ask who it is and what it may do; anonymous requests reach versions and health.

Resources are written as discovery qualifies them: `pods`, `pods/status`, `deployments.apps`; `*.group` stands for all
resources of a group with their subresources, `*/status` for the status of everything, `*` for every resource without
its subresources, among which are `pods/exec` and `serviceaccounts/token`. Source: the least that each component was
seen to need.
"""

from __future__ import annotations

from dataclasses import dataclass

from lateen.cluster.apiserver.authentication import AUTHENTICATED, User

READ = ("get", "list", "watch")
WRITE = ("create", "update", "patch", "delete")

PUBLIC_PATHS = frozenset({"/version", "/healthz"})
"""Open to everybody."""

_HEALTH_PATHS = ("/healthz", "/livez", "/readyz")

_DISCOVERY_PREFIXES = ("/api", "/apis", "/openapi")
_SELF_REVIEWS = frozenset(
    {
        "selfsubjectreviews.authentication.k8s.io",
        "selfsubjectaccessreviews.authorization.k8s.io",
        "selfsubjectrulesreviews.authorization.k8s.io",
    }
)


@dataclass(frozen=True)
class Rule:
    """Verbs allowed on resources, in every namespace or in one."""

    verbs: tuple[str, ...]
    resources: tuple[str, ...]
    namespace: str = ""


ISTIO = ("*.networking.istio.io", "*.security.istio.io", "*.telemetry.istio.io", "*.extensions.istio.io")

RULES: dict[str, tuple[Rule, ...]] = {
    "system:lateen:discovery": (
        Rule(READ, ("pods", "services", "endpoints", "nodes", "namespaces", "configmaps", "serviceaccounts")),
        Rule(READ, ("endpointslices.discovery.k8s.io", "customresourcedefinitions.apiextensions.k8s.io")),
        Rule(READ, (*ISTIO, "*.gateway.networking.k8s.io", "ingresses.networking.k8s.io")),
        Rule(("update", "patch"), tuple(f"{group}/status" for group in ISTIO)),
        Rule(("create", "update", "patch"), ("configmaps",)),
        Rule(("get", "create"), ("secrets",), namespace="istio-system"),
        Rule(("create",), ("tokenreviews.authentication.k8s.io", "subjectaccessreviews.authorization.k8s.io")),
        Rule(("create", "patch", "update"), ("events", "events.events.k8s.io")),
        Rule((*READ, *WRITE), ("leases.coordination.k8s.io",), namespace="istio-system"),
        Rule(
            (*READ, "patch", "update"),
            (
                "mutatingwebhookconfigurations.admissionregistration.k8s.io",
                "validatingwebhookconfigurations.admissionregistration.k8s.io",
            ),
        ),
    ),
    "system:lateen:controllers": (
        Rule((*READ, "delete", "deletecollection", "patch"), ("*",)),
        Rule(WRITE, ("endpoints", "endpointslices.discovery.k8s.io", "serviceaccounts", "configmaps")),
        Rule(WRITE, ("pods", "replicasets.apps", "controllerrevisions.apps", "jobs.batch")),
        Rule(("update", "patch"), ("deployments.apps", "statefulsets.apps", "daemonsets.apps", "cronjobs.batch")),
        Rule(("update", "patch"), ("*/status", "namespaces/finalize")),
        Rule(("create", "patch", "update"), ("events", "events.events.k8s.io")),
    ),
    "system:node:lateen": (
        Rule(
            READ,
            ("pods", "services", "endpoints", "nodes", "namespaces", "configmaps", "secrets", "serviceaccounts"),
        ),
        Rule(READ, ("endpointslices.discovery.k8s.io", "runtimeclasses.node.k8s.io", "persistentvolumeclaims")),
        Rule(("create", "update", "patch"), ("nodes", "nodes/status")),
        Rule(("update", "patch"), ("pods/status",)),
        Rule(("create",), ("pods/binding", "serviceaccounts/token")),
        Rule(("delete",), ("pods",)),
        Rule(("create", "patch", "update"), ("events", "events.events.k8s.io")),
        Rule((*READ, *WRITE), ("leases.coordination.k8s.io",), namespace="kube-node-lease"),
    ),
}
"""User -> what it may do."""


@dataclass(frozen=True, slots=True)
class Action:
    """What a user wants: a verb on a resource, or on a path that is no resource."""

    verb: str
    group: str = ""
    resource: str = ""
    subresource: str = ""
    namespace: str = ""
    path: str = ""

    @property
    def qualified(self) -> str:
        """The resource as rules name it."""
        name = f"{self.resource}.{self.group}" if self.group else self.resource
        return f"{name}/{self.subresource}" if self.subresource else name


def is_allowed(user: User, action: Action) -> bool:
    """Whether the user may do it."""
    if "system:masters" in user.groups:
        return True
    if not action.resource:
        return _may_read_path(user, action)
    if action.verb == "create" and AUTHENTICATED in user.groups and action.qualified in _SELF_REVIEWS:
        return True
    return any(_covers(rule, action) for rule in RULES.get(user.name, ()))


def explain_refusal(user: User, action: Action) -> str:
    """The sentence that a 403 carries after `pods "x" is forbidden: `."""
    resource = f"{action.resource}/{action.subresource}" if action.subresource else action.resource
    where = f' in the namespace "{action.namespace}"' if action.namespace else " at the cluster scope"
    return f'User "{user.name}" cannot {action.verb} resource "{resource}" in API group "{action.group}"{where}'


def _may_read_path(user: User, action: Action) -> bool:
    if action.verb not in ("get", "head", "options"):
        return False
    path = action.path.rstrip("/")
    if path in PUBLIC_PATHS or (AUTHENTICATED in user.groups and _is_under(path, _HEALTH_PATHS)):
        return True
    return user.name in RULES and _is_under(path, _DISCOVERY_PREFIXES)


def _is_under(path: str, prefixes: tuple[str, ...]) -> bool:
    return any(path == prefix or path.startswith(prefix + "/") for prefix in prefixes)


def _covers(rule: Rule, action: Action) -> bool:
    if action.verb not in rule.verbs or (rule.namespace and rule.namespace != action.namespace):
        return False
    return any(_names(pattern, action) for pattern in rule.resources)


def _names(pattern: str, action: Action) -> bool:
    resource, _, subresource = pattern.partition("/")
    if resource == "*":
        return subresource == action.subresource
    if resource.startswith("*."):
        return action.group == resource[2:] and (not subresource or subresource == action.subresource)
    return pattern == action.qualified
