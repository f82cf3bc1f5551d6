"""Each directory of `cases` is a mesh; what its proxies are told is kept beside it and checked by the real Envoy."""

from pathlib import Path

import pytest
from mesh_case import (
    build_database,
    build_static_bootstrap,
    configure,
    list_proxies,
    load_documents,
)

from lateen.envoy.canonical import format_document
from lateen.envoy.process import validate

CASES = sorted(path.parent for path in (Path(__file__).parent / "cases").glob("*/in.yaml"))


def build_outputs(case: Path) -> dict[str, str]:
    """Return file name -> canonical YAML, a file for each proxy and type."""
    documents = load_documents((case / "in.yaml").read_text())
    database = build_database(documents)
    outputs = {}
    for proxy in list_proxies(documents):
        for kind, resources in configure(database, proxy).build_document().items():
            outputs[f"{proxy.namespace}.{proxy.name}/{kind}.yaml"] = format_document(list(resources.values()))
    return outputs


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_proxies_are_told_what_the_case_says(case: Path, pytestconfig: pytest.Config) -> None:
    outputs = build_outputs(case)
    assert outputs, "a case has at least one proxy"
    kept = {str(path.relative_to(case)): path for path in case.glob("*/*.yaml")}
    if pytestconfig.getoption("--update-golden"):
        for name in kept.keys() - outputs.keys():
            kept[name].unlink()
        for name, text in outputs.items():
            (case / name).parent.mkdir(exist_ok=True)
            (case / name).write_text(text)
        return
    assert {name: path.read_text() for name, path in kept.items()} == outputs


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
async def test_envoy_accepts_what_proxies_are_told(case: Path, tmp_path: Path) -> None:
    documents = load_documents((case / "in.yaml").read_text())
    database = build_database(documents)
    for proxy in list_proxies(documents):
        await validate(build_static_bootstrap(configure(database, proxy)), tmp_path)
