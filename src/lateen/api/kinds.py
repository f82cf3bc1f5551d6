"""The kinds an API server serves, and the registry that finds one by group, version, plural, kind or CLI
word.

A `Kind` is what discovery says of a resource: names, versions, scope, verbs, subresources and printer
columns. The lists themselves are `kinds_builtin.BUILTIN`, `kinds_istio.ISTIO` and
`kinds_istio.GATEWAY_API`; CRDs that users create are added to a `Registry` while it runs.

Invariants: (group, plural) is unique in a registry; `version` is always one of `served_versions`; the
order of `all()` is the order of discovery, which decides what an ambiguous word such as `gateway` means
to kubectl.
Source: Kubernetes API conventions and apimachinery's version priority (GA before beta before alpha,
newest first).
Where we differ: groups of Istio stand before `gateway.networking.k8s.io`, so that `kubectl get gateway`
keeps showing Istio's gateways although both are served.
"""

import re
from collections.abc import Iterable, Iterator

import msgspec

ALL_VERBS = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")
"""Verbs of a resource that is stored; discovery prints them in this order."""


class Column(msgspec.Struct, frozen=True, kw_only=True):
    """One printer column; `json_path` starts with a dot, priority 0 shows without `-o wide`."""

    name: str
    type: str
    json_path: str
    priority: int = 0
    format: str = ""


AGE = Column(name="Age", type="date", json_path=".metadata.creationTimestamp")


class Kind(msgspec.Struct, frozen=True, kw_only=True):
    """One resource type; `version` is the stored one, `translated` says whether it changes Envoy yet."""

    group: str
    version: str
    served_versions: tuple[str, ...]
    kind: str
    plural: str
    singular: str
    short_names: tuple[str, ...] = ()
    namespaced: bool = True
    categories: tuple[str, ...] = ()
    columns: tuple[Column, ...] = ()
    subresources: frozenset[str] = frozenset()
    verbs: tuple[str, ...] = ALL_VERBS
    builtin: bool = True
    schema_name: str = ""
    translated: bool = True

    @property
    def api_version(self) -> str:
        """The storage version as documents write it: `v1`, `apps/v1`."""
        return format_api_version(self.group, self.version)

    @property
    def list_kind(self) -> str:
        """The kind of a list of these objects."""
        return self.kind + "List"

    @property
    def stored(self) -> bool:
        """Whether objects persist; reviews are answered and forgotten."""
        return "list" in self.verbs

    @property
    def qualified_name(self) -> str:
        """The name that is unique among kinds, as CRDs are named: `virtualservices.networking.istio.io`."""
        return f"{self.plural}.{self.group}" if self.group else self.plural


def format_api_version(group: str, version: str) -> str:
    """`apiVersion` of a group and version; the core group is the empty string."""
    return f"{group}/{version}" if group else version


def parse_api_version(api_version: str) -> tuple[str, str]:
    """Group and version of an `apiVersion`; a text without a slash belongs to the core group."""
    group, slash, version = api_version.rpartition("/")
    return (group, version) if slash else ("", api_version)


_VERSION = re.compile(r"v([1-9][0-9]*)(?:(alpha|beta)([1-9][0-9]*))?")
_STABILITY = {"alpha": 0, "beta": 1, None: 2}


def order_version(version: str) -> tuple[int, int, int, int, str]:
    """A sort key, preferred version first: v2, v1, v1beta1, v1alpha3, then anything else by name."""
    match = _VERSION.fullmatch(version)
    if match is None:
        return (1, 0, 0, 0, version)
    major, stability, minor = match.groups()
    return (0, -_STABILITY[stability], -int(major), -int(minor or 0), version)


class Registry:
    """The kinds one API server or client knows, in discovery order; None stands for an unknown one."""

    def __init__(self, kinds: Iterable[Kind] = ()) -> None:
        self._kinds: dict[tuple[str, str], Kind] = {}
        self._by_plural: dict[tuple[str, str, str], Kind] = {}
        self._by_kind: dict[tuple[str, str, str], Kind] = {}
        self._by_word: dict[str, list[Kind]] = {}
        for kind in kinds:
            self._kinds[(kind.group, kind.plural)] = kind
        self._index()

    def __iter__(self) -> Iterator[Kind]:
        return iter(self._kinds.values())

    def __len__(self) -> int:
        return len(self._kinds)

    def all(self) -> tuple[Kind, ...]:
        """Every kind in discovery order."""
        return tuple(self._kinds.values())

    def add(self, kind: Kind) -> None:
        """Serve a kind, or replace the one of the same group and plural in its place."""
        self._kinds[(kind.group, kind.plural)] = kind
        self._index()

    def remove(self, group: str, plural: str) -> None:
        """Stop serving a kind; one that is not served is no error."""
        if self._kinds.pop((group, plural), None) is not None:
            self._index()

    def find(self, group: str, version: str, plural: str) -> Kind | None:
        """The kind behind a URL such as `/apis/apps/v1/deployments`, if that version is served."""
        return self._by_plural.get((group, version, plural))

    def find_kind(self, group: str, version: str, kind: str) -> Kind | None:
        """The kind that a document's `apiVersion` and `kind` name, if that version is served."""
        return self._by_kind.get((group, version, kind))

    def find_document(self, document: dict[str, object]) -> Kind | None:
        """The kind of a document; None also when it does not say."""
        api_version, kind = document.get("apiVersion"), document.get("kind")
        if not isinstance(api_version, str) or not isinstance(kind, str):
            return None
        return self.find_kind(*parse_api_version(api_version), kind)

    def resolve(self, text: str) -> Kind | None:
        """The kind a command line word means, as kubectl reads it: `vs`, `deploy`, `Pod`, `svc.v1`,
        `deployments.apps`, `virtualservices.v1beta1.networking.istio.io`; the first in discovery order wins.
        """
        word, _, rest = text.lower().partition(".")
        candidates = self._by_word.get(word, [])
        version, _, group = rest.partition(".")
        return next(
            (
                kind
                for matches in (
                    lambda kind: not rest or rest == kind.group,
                    lambda kind: kind.group.startswith(rest),
                    lambda kind: version in kind.served_versions and kind.group.startswith(group),
                )
                for kind in candidates
                if matches(kind)
            ),
            None,
        )

    def _index(self) -> None:
        self._by_plural = {(k.group, v, k.plural): k for k in self for v in k.served_versions}
        self._by_kind = {(k.group, v, k.kind): k for k in self for v in k.served_versions}
        self._by_word = {}
        for names_of in (_plural_and_singular, _short_names):
            for kind in self:
                for word in names_of(kind):
                    known = self._by_word.setdefault(word, [])
                    if kind not in known:
                        known.append(kind)


def _plural_and_singular(kind: Kind) -> tuple[str, ...]:
    return (kind.plural, kind.singular)


def _short_names(kind: Kind) -> tuple[str, ...]:
    return kind.short_names
