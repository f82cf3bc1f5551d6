"""The catalogue of diagnostics: code -> level and message template.

Flow: (code, arguments) -> Diagnostic. A code is never reused for another meaning, because users suppress by
code. IST codes and levels are those of Istio (pkg/config/analysis/msg/messages.yaml); the wording is ours.
LTN codes are ours: LTN00xx loading and decoding, LTN01xx admission, LTN02xx pods and the embedded node,
LTN03xx mTLS, LTN04xx analysis of routes.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType

from lateen.base.diagnostics import Diagnostic, Level


@dataclass(frozen=True, slots=True)
class Entry:
    """One row of the catalogue; `template` is a `str.format` template over the named arguments."""

    level: Level
    template: str


CATALOGUE = MappingProxyType(
    {
        "IST0101": Entry(Level.ERROR, "Referenced {kind} not found: {name}"),
        "IST0103": Entry(Level.WARNING, "The pod {name} is missing the Istio proxy"),
        "IST0106": Entry(Level.ERROR, "Schema validation error: {error}"),
        "IST0109": Entry(
            Level.ERROR, "The host {host} is also routed in the mesh by {others}; only the oldest of them counts"
        ),
        "IST0118": Entry(
            Level.INFO,
            "Port name {name} (port: {port}) does not follow the naming convention <protocol>[-suffix]",
        ),
        "IST0122": Entry(Level.ERROR, "Not a regular expression that Envoy takes: {regex}"),
        "IST0127": Entry(Level.WARNING, "No workloads match the labels {labels}"),
        "IST0132": Entry(Level.WARNING, "The host {host} is served by no server of Gateway {gateway}"),
        "IST0133": Entry(Level.WARNING, "Schema warning: {error}"),
        "IST0137": Entry(Level.WARNING, "This port conflicts with another one on the workload: {error}"),
        "IST0144": Entry(Level.WARNING, "User id 1337 is reserved for the sidecar proxy"),
        "IST0173": Entry(Level.ERROR, "The subset {subset} selects no pods of {host}: its requests answer 503"),
        "LTN0001": Entry(Level.ERROR, "Not valid YAML: {error}"),
        "LTN0002": Entry(Level.ERROR, "Key {key} stands twice, in lines {first} and {second}"),
        "LTN0003": Entry(Level.ERROR, "The document goes beyond a limit: {error}"),
        "LTN0004": Entry(Level.ERROR, "Not a Kubernetes object: {error}"),
        "LTN0005": Entry(Level.ERROR, "Unknown kind {kind} in {api_version}"),
        "LTN0006": Entry(Level.ERROR, "Unknown field {field}"),
        "LTN0007": Entry(Level.ERROR, "{error}"),
        "LTN0101": Entry(Level.WARNING, "{kind} is stored but has no effect in this version of Lateen"),
        "LTN0102": Entry(Level.WARNING, "{field} is stored but has no effect in this version of Lateen"),
        "LTN0201": Entry(Level.ERROR, "No command is known for the image {image}"),
        "LTN0202": Entry(Level.ERROR, "Port {port} is taken"),
        "LTN0301": Entry(Level.WARNING, "mTLS mismatch: {error}"),
        "LTN0401": Entry(Level.WARNING, "Service {name} has no ready endpoints: its requests answer 503"),
        "LTN0402": Entry(Level.WARNING, "It names no hosts, and no other VirtualService delegates to it: no effect"),
    }
)


def build_diagnostic(
    code: str,
    *,
    subject: str,
    path: str = "",
    file: str | None = None,
    line: int | None = None,
    fix: str | None = None,
    **arguments: object,
) -> Diagnostic:
    """The diagnostic of this code; an unknown code or a missing argument is our bug and raises KeyError."""
    entry = CATALOGUE[code]
    return Diagnostic(
        code=code,
        level=entry.level,
        subject=subject,
        path=path,
        message=entry.template.format_map(arguments),
        file=file,
        line=line,
        fix=fix,
    )
