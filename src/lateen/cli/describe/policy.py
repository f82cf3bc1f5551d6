"""What DestinationRules, VirtualServices and PeerAuthentications mean for some pods, in istioctl's words.

Documents -> lines of text, indented by three spaces a level. Nothing is asked of anybody here.
Source: the output of `istioctl experimental describe`; SEMANTICS 1.2, 1.3.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from lateen.base.labels import matches

Document = Mapping[str, Any]
Labels = Mapping[str, str]

_SUFFIX = ".svc.cluster.local"
_FACTS = {
    "loadBalancer": "load balancer",
    "connectionPool": "connection pool",
    "outlierDetection": "outlier detection",
}
_DEFAULT_MODE = "PERMISSIVE"


class Subsets(NamedTuple):
    """Names of subsets that some pod is in, and of the others; `rule` is the DestinationRule's name."""

    matching: tuple[str, ...] = ()
    others: tuple[str, ...] = ()
    rule: str = ""


def indent(lines: Iterable[str], levels: int = 1) -> list[str]:
    """The lines, further to the right."""
    return ["   " * levels + line for line in lines]


def format_name(document: Document, namespace: str) -> str:
    """The name, with the namespace where it is another one than that of the command."""
    metadata = document["metadata"]
    own = metadata.get("namespace", "")
    return str(metadata["name"]) if own == namespace else f"{metadata['name']}.{own}"


def find_subsets(rule: Document, pods: Sequence[Labels], namespace: str) -> Subsets:
    """Which subsets the pods are in."""
    found: dict[bool, list[str]] = {True: [], False: []}
    for subset in rule["spec"].get("subsets", ()):
        inside = any(matches(subset.get("labels", {}), labels) for labels in pods)
        found[inside].append(subset["name"])
    return Subsets(tuple(found[True]), tuple(found[False]), format_name(rule, namespace))


def describe_destination_rule(rule: Document, pods: Sequence[Labels], namespace: str) -> list[str]:
    """The rule, its subsets, its policies."""
    spec = rule["spec"]
    lines = [f'DestinationRule: {format_name(rule, namespace)} for "{spec.get("host", "")}"']
    subsets = find_subsets(rule, pods, namespace)
    if subsets.others and not subsets.matching:
        lines += indent([f"WARNING POD DOES NOT MATCH ANY SUBSETS.  (Non matching subsets {','.join(subsets.others)})"])
    if subsets.matching or subsets.others:
        lines += indent([f"Matching subsets: {','.join(subsets.matching)}"])
    if subsets.others:
        lines += indent([f"(Non-matching subsets {','.join(subsets.others)})"], 2)
    policy = spec.get("trafficPolicy")
    if policy is None:
        return [*lines, *indent(["No Traffic Policy"])]
    if "tls" in policy:
        lines += indent([f"Traffic Policy TLS Mode: {policy['tls'].get('mode', 'DISABLE')}"])
    lines += indent(_describe_policies(policy))
    if policy.get("portLevelSettings"):
        lines += indent(["Port Level Settings:"])
    for each in policy.get("portLevelSettings", ()):
        mode = [f"TLS Mode: {each['tls'].get('mode', 'DISABLE')}"] if "tls" in each else []
        lines += [
            *indent([f"{each.get('port', {}).get('number', 0)}:"], 1),
            *indent([*mode, *_describe_policies(each)], 2),
        ]
    return lines


def _describe_policies(policy: Document) -> list[str]:
    words = [word for field, word in _FACTS.items() if field in policy]
    return [f"Policies: {'/'.join(words)}"] if words else []


def describe_virtual_service(service: Document, host: str, subsets: Subsets, namespace: str) -> list[str]:
    """Which routes lead to a host's pods that are in the matching subsets; a warning when none does."""
    spec, own = service["spec"], service["metadata"].get("namespace", "")
    lines = [f"VirtualService: {format_name(service, namespace)}"]
    routes, notes, reached = spec.get("http", []), [], False
    for route in routes:
        found, facts = _describe_route(route, own, host, subsets)
        reached |= found
        if found:
            lines += indent(facts)
        else:
            notes += facts
    streams = [*spec.get("tcp", ()), *spec.get("tls", ())]
    reached |= any(_leads_to(each, own, host) for route in streams for each in route.get("route", ()))
    if reached and len(lines) == 1:
        lines += indent([f"{len(routes)} HTTP route(s)" if routes else f"{len(streams)} TCP route(s)"])
    if not reached:
        checked = f"{len(routes)} HTTP routes" if routes else f"{len(streams)} TCP routes"
        lines += indent([f"WARNING: No destinations match pod subsets (checked {checked})"])
        lines += indent(notes, 2)
    return lines


def resolve(host: str, namespace: str) -> str:
    """The full name of a host as a destination gives it."""
    full = host if "." in host else f"{host}.{namespace}{_SUFFIX}"
    return full if full.endswith(_SUFFIX) or full.startswith("*") else full + _SUFFIX


def _leads_to(route: Document, namespace: str, host: str) -> bool:
    return resolve(route.get("destination", {}).get("host", ""), namespace) == host


def _describe_route(route: Document, namespace: str, host: str, subsets: Subsets) -> tuple[bool, list[str]]:
    facts: list[str] = []
    notes: list[str] = []
    reached = False
    for each in route.get("route", ()):
        destination, weight = each.get("destination", {}), each.get("weight", 0)
        subset, name = destination.get("subset", ""), destination.get("host", "")
        if not _leads_to(each, namespace, host):
            facts.append(f'Route to host "{name}" with weight {weight}%')
        elif subset and subset not in subsets.matching:
            notes.append(_explain_subset(subset, subsets, route))
        else:
            reached = True
            shown = f' subset "{subset}"' if subset else ""
            facts += [f'Route to host "{name}"{shown} with weight {weight}%'] if weight else []
    if not reached:
        return False, notes
    conditions = ["Fault injection"] if route.get("fault") else []
    conditions += [describe_match(match) for match in route.get("match", ())]
    return True, [*facts, *([", ".join(conditions)] if conditions else [])]


def _explain_subset(subset: str, subsets: Subsets, route: Document) -> str:
    if subset in subsets.others:
        conditions = ", ".join(map(describe_match, route.get("match", ()))) or "everything"
        return f"Route to non-matching subset {subset} for ({conditions})"
    if not subsets.rule:
        return f"Warning: Route to subset {subset} but NO DESTINATION RULE defining subsets!"
    return f"Warning: Route to UNKNOWN subset {subset}; check DestinationRule {subsets.rule}"


def describe_match(match: Document) -> str:
    """`Match: /path* when headers are a=b`."""
    text = "Match: "
    if "uri" in match:
        text += _describe_text(match["uri"]) + (" uncased" if match.get("ignoreUriCase") else "")
    headers = [f"{name}={_describe_text(value)}" for name, value in sorted(match.get("headers", {}).items())]
    text += f" when headers are {'; '.join(headers)}" if headers else ""
    return text.strip()


def _describe_text(value: Document | None) -> str:
    if not value:
        return "*"
    if "prefix" in value:
        return f"{value['prefix']}*"
    return str(value.get("exact", f"regex {value.get('regex', '')}"))


def describe_peer_authentication(
    policies: Sequence[Document], labels: Labels, namespace: str, root_namespace: str
) -> list[str]:
    """The mode that counts for the pod: workload before namespace before mesh, the oldest of each."""
    applied = [each for each in policies if _applies(each, labels, namespace, root_namespace)]
    levels: dict[int, Document] = {}
    for each in sorted(
        applied, key=lambda one: (one["metadata"].get("creationTimestamp", ""), one["metadata"]["name"])
    ):
        levels.setdefault(_level(each, namespace), each)
    mode = _DEFAULT_MODE
    for _, each in sorted(levels.items()):
        own = each.get("spec", {}).get("mtls", {}).get("mode", "UNSET")
        mode = mode if own == "UNSET" else own
    lines = ["Effective PeerAuthentication:", *indent([f"Workload mTLS mode: {mode}"])]
    ports = levels.get(2, {}).get("spec", {}).get("portLevelMtls", {})
    if ports:
        lines += indent(["Port Level mTLS mode:"])
        lines += indent([f"{port}: {each.get('mode', mode)}" for port, each in sorted(ports.items())], 2)
    if applied:
        names = [f"{each['metadata']['name']}.{each['metadata']['namespace']}" for each in applied]
        lines += ["Applied PeerAuthentication:", *indent([", ".join(names)])]
    return lines


def _selector(policy: Document) -> Labels:
    selected: Labels = policy.get("spec", {}).get("selector", {}).get("matchLabels", {})
    return selected


def _applies(policy: Document, labels: Labels, namespace: str, root_namespace: str) -> bool:
    if policy["metadata"]["namespace"] == namespace:
        return matches(_selector(policy), labels)
    return policy["metadata"]["namespace"] == root_namespace and not _selector(policy)


def _level(policy: Document, namespace: str) -> int:
    """0 of the mesh, 1 of the namespace, 2 of the workload."""
    if _selector(policy):
        return 2
    return 1 if policy["metadata"]["namespace"] == namespace else 0
