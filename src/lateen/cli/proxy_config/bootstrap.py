"""`proxy-config bootstrap` and `ecds`: versions, the whole bootstrap, and filters that discovery sent by themselves."""

from __future__ import annotations

from typing import Any

from lateen.cli.proxy_config.dump import ConfigDump, Document, unpack
from lateen.cli.proxy_config.table import NARROW, print_columns, print_documents


def print_bootstrap(dump: ConfigDump, form: str) -> None:
    """Print versions in the short form, else the bootstrap."""
    section = dump.section("BootstrapConfigDump")
    if form != "short":
        print_documents(section, form)
        return
    node = section.get("bootstrap", {}).get("node", {})
    metadata = node.get("metadata", {})
    rows = [
        ("Istio Version:", str(metadata.get("ISTIO_VERSION", ""))),
        ("Istio Proxy Version:", str(metadata.get("ISTIO_PROXY_SHA", "")).rpartition(":")[2]),
        ("Envoy Version:", format_envoy_version(node.get("userAgentBuildVersion", {}))),
    ]
    print_columns((), [row for row in rows if row[1]], padding=NARROW)


def format_envoy_version(build: Document) -> str:
    """`1.40.0/Clean/RELEASE/BoringSSL` of what Envoy says of its build."""
    numbers, metadata = build.get("version", {}), build.get("metadata", {})
    text = ".".join(str(numbers.get(part, 0)) for part in ("majorNumber", "minorNumber", "patch"))
    text += f"-{metadata['build.label']}" if "build.label" in metadata else ""
    words = [str(metadata[key]) for key in ("revision.status", "build.type", "ssl.version") if key in metadata]
    return "/".join([text, *words])


def print_extensions(dump: ConfigDump, form: str) -> None:
    """Print extension configurations."""
    section = dump.section("EcdsConfigDump")
    if form != "short":
        print_documents(section, form)
        return
    filters = [unpack(each.get("ecdsFilter")) for each in section.get("ecdsFilters", ())]
    rows = sorted((_type_of(each.get("typedConfig", {})), each.get("name", "")) for each in filters)
    print_columns(("ECDS NAME", "TYPE"), [(name, kind) for kind, name in rows])


def _type_of(config: dict[str, Any]) -> str:
    kind = str(config.get("@type", "")).rpartition("/")[2]
    return "" if kind == "google.protobuf.Empty" else kind
