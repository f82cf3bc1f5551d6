"""Runs conformance data against Lateen: `scripts/conformance DIR [corpus...] [--out DIR2]`.

DIR/simulation/cases/<id>.json -> our xDS for the case's proxy (DIR2/<id>.json, as `evaluate.py --xds` reads it)
-> for every asserted call, where the request goes in it -> `simulation: N of M` and each failure with its reason.

The inputs are loaded as a cluster's objects are. Two things of the recorded environment are stated here, since no
object says them: short host names are completed with the namespace alone (the recorded store had no domain), and an
object without namespace or age is in `default` and as old as the others.
Source: `conformance/simulation/README.md`; the evaluator is the data's own `evaluate.py`.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import msgspec
import yaml

from lateen.api.discovery import SERVICE_NAME_LABEL
from lateen.envoy.messages import build_document, decode
from lateen.incremental.database import Database
from lateen.mesh.inputs import MESH_CONFIG_REF, MESH_SETTINGS, changes_of
from lateen.mesh.proxy import Proxy
from lateen.mesh.settings import parse_settings
from lateen.translate.generate import find_call
from lateen.xds.resources import CLUSTER, ENDPOINT, LISTENER, ROUTE, TYPE_PREFIX, Resource

KNOWN_FAILURES = Path(__file__).parent.parent / "tests" / "conformance" / "known_failures.txt"

_DEFAULT_NAMESPACE = "default"
_HEADLESS = {"clusterIP": "None"}
_EDS = "EDS"


class Failure(NamedTuple):
    """An asserted call that goes elsewhere than Istio's."""

    case: str
    call: str
    reason: str

    @property
    def key(self) -> str:
        """What a line of known failures begins with."""
        return f"{self.case} | {self.call}"


class Outcome(NamedTuple):
    """How many of the asserted calls agree, and those that do not."""

    agreed: int
    total: int
    failures: tuple[Failure, ...]


def load_documents(inputs: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the objects of a case, each once."""
    documents: list[Any] = []
    for field in ("istio_yaml", "kube_yaml"):
        documents += yaml.safe_load_all(inputs.get(field) or "")
    for field in ("istio_configs", "kube_objects"):
        documents += inputs.get(field) or []
    found: dict[tuple[str, str, str], dict[str, Any]] = {}
    for document in documents:
        if document:
            metadata = document.setdefault("metadata", {})
            if not metadata.get("namespace"):
                metadata["namespace"] = _DEFAULT_NAMESPACE
            found.setdefault((document["kind"], metadata["namespace"], metadata["name"]), document)
    return list(found.values())


def build_database(case: dict[str, Any]) -> Database:
    """Return a database that holds the inputs of a case."""
    inputs = case["input"]
    documents = load_documents(inputs) + list(_build_internal_documents(inputs))
    database = Database()
    database.commit(change for document in documents for change in changes_of(document["kind"], None, document))
    settings = parse_settings(json.dumps(inputs.get("mesh_config") or {}))
    settings = msgspec.structs.replace(settings, short_name_domain="")
    database.commit([(MESH_SETTINGS, MESH_CONFIG_REF, settings)])
    return database


def _build_internal_documents(inputs: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Return the objects behind services that a case gives as Istio's own structures, all at the proxy's address."""
    instances = inputs.get("internal_instances") or []
    for service in inputs.get("internal_services") or []:
        name, namespace = service["hostname"].split(".")[:2]
        metadata = {"name": name, "namespace": namespace}
        yield {"kind": "Service", "metadata": metadata, "spec": {"ports": _list_ports(service)} | _HEADLESS}
        for number, instance in enumerate(one for one in instances if one["service"] == service["hostname"]):
            yield {
                "kind": "EndpointSlice",
                "metadata": metadata | {"name": f"{name}-{number}", "labels": {SERVICE_NAME_LABEL: name}},
                "endpoints": [{"addresses": inputs["proxy"]["ips"][:1]}],
                "ports": [{"name": instance["servicePort"]["name"], "port": instance["endpointPort"]}],
            }


def _list_ports(service: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        {"name": port["name"], "port": port["port"], "appProtocol": port["protocol"].lower()}
        for port in service["ports"]
    ]


def configure(database: Database, proxy: Proxy) -> dict[str, list[dict[str, Any]]]:
    """Return everything that a proxy is told, asking as Envoy does, as proto3 JSON."""
    clusters = [_read(CLUSTER, one) for one in database.ask(find_call(proxy, CLUSTER)).values()]
    listeners = [_read(LISTENER, one) for one in database.ask(find_call(proxy, LISTENER)).values()]
    endpoint_names = [cluster["name"] for cluster in clusters if cluster.get("type") == _EDS]
    route_names = sorted({name for listener in listeners for name in _find_route_names(listener)})
    return {
        "listeners": listeners,
        "routes": _ask_each(database, proxy, ROUTE, route_names),
        "clusters": clusters,
        "endpoints": _ask_each(database, proxy, ENDPOINT, endpoint_names),
    }


def configure_case(case: dict[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """Return everything that the proxy of a case is told."""
    proxy = case["input"]["proxy"]
    return configure(build_database(case), Proxy.from_node(proxy["node_id"], proxy["metadata"]))


def _ask_each(database: Database, proxy: Proxy, type_url: str, names: Iterable[str]) -> list[dict[str, Any]]:
    found = (database.ask(find_call(proxy, type_url, name)) for name in names)
    return [_read(type_url, resource) for resource in found if resource is not None]


def _read(type_url: str, resource: Resource) -> dict[str, Any]:
    (packed,) = decode("envoy.service.discovery.v3.DiscoveryResponse", resource.any_field).resources
    return build_document(decode(type_url.removeprefix(TYPE_PREFIX), packed.value))


def _find_route_names(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if "routeConfigName" in value:
            yield value["routeConfigName"]
        for item in value.values():
            yield from _find_route_names(item)
    elif isinstance(value, list):
        for item in value:
            yield from _find_route_names(item)


def load_evaluator(folder: Path) -> ModuleType:
    """Return the module that says where a request goes."""
    specification = importlib.util.spec_from_file_location("conformance_evaluate", folder / "evaluate.py")
    assert specification is not None and specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def run_simulation(folder: Path, out: Path | None = None) -> Outcome:
    """Judge every case of a corpus `simulation`; `out` gets our xDS of each."""
    evaluator = load_evaluator(folder)
    failures: list[Failure] = []
    total = 0
    for path in sorted((folder / "cases").glob("*.json")):
        case = json.loads(path.read_text())
        name = case.get("id") or path.stem
        xds = configure_case(case)
        if out is not None:
            (out / path.name).write_text(json.dumps(xds, indent=1, sort_keys=True))
        calls = case.get("calls") or []
        total += len(calls)
        for number, call in enumerate(calls):
            found = evaluator.evaluate(xds, call["call"])
            wrong = evaluator.check(call["expect"], found)
            if wrong:
                reason = "; ".join(f"{field}: Istio {want!r}, we {got!r}" for field, want, got in wrong)
                failures.append(Failure(name, f"{number} {call['name']}", reason))
    return Outcome(total - len(failures), total, tuple(failures))


RUNNERS = {"simulation": run_simulation}


def main(arguments: list[str]) -> int:
    """Run the corpora that are asked for, all that we know by default; 0 when nothing fails that is not known to."""
    parser = argparse.ArgumentParser(prog="scripts/conformance")
    parser.add_argument("folder", type=Path, help="a folder in the format of shared/conformance")
    parser.add_argument("corpus", nargs="*", help=f"of {', '.join(RUNNERS)}; all by default")
    parser.add_argument("--out", type=Path, help="where our xDS goes")
    options = parser.parse_args(arguments)
    unknown = set(options.corpus) - set(RUNNERS)
    if unknown:
        parser.error(f"no such corpus: {', '.join(sorted(unknown))}")
    known = {line.split(" # ")[0].strip() for line in KNOWN_FAILURES.read_text().splitlines() if line.strip()}
    unexpected = 0
    for corpus in options.corpus or RUNNERS:
        folder = options.folder / corpus
        if not folder.is_dir():
            print(f"{corpus}: no folder {folder}", file=sys.stderr)
            return 66
        if options.out is not None:
            options.out.mkdir(parents=True, exist_ok=True)
        outcome = RUNNERS[corpus](folder, options.out)
        print(f"{corpus}: {outcome.agreed} of {outcome.total}")
        for failure in outcome.failures:
            unexpected += failure.key not in known
            print(f"  {'known' if failure.key in known else 'FAILED'} {failure.key}: {failure.reason}")
    return 1 if unexpected else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
