import itertools
import os
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from lateen.api.codec import decode
from lateen.api.istio_views import ISTIO_VIEWS
from lateen.api.yaml_composer import MAX_ALIASED_VALUES, MAX_DEPTH
from lateen.api.yaml_loader import MAX_BYTES, load, load_plain
from lateen.base.diagnostics import format_diagnostic

SHARED = Path(os.environ.get("LATEEN_SHARED", Path(__file__).parents[2].parent / "shared"))


def _problems(text: str | bytes) -> list[tuple[str, int | None]]:
    return [(diagnostic.code, diagnostic.line) for diagnostic in load(text, "in.yaml").diagnostics]


def test_documents_come_in_order_with_their_first_line() -> None:
    text = "---\n# first\napiVersion: v1\nkind: A\n---\n---\n# only a comment\n--- # c\napiVersion: v1\nkind: B\n...\n"
    documents = load(text, "in.yaml").documents
    assert [(document.object["kind"], document.line) for document in documents] == [("A", 3), ("B", 9)]


@pytest.mark.parametrize("text", ["", "\n\n", "# nothing\n", "---\n---\n"])
def test_an_empty_file_holds_nothing_and_nothing_is_wrong(text: str) -> None:
    loaded = load(text, "in.yaml")
    assert (loaded.documents, loaded.diagnostics) == ((), ())


@pytest.mark.parametrize("text", ["\ufeffapiVersion: v1\nkind: A\n", "%YAML 1.1\n---\napiVersion: v1\nkind: A\n"])
def test_byte_order_marks_and_directives_are_read_over(text: str) -> None:
    assert load(text, "in.yaml").documents[0].object == {"apiVersion": "v1", "kind": "A"}
    assert load(text.encode(), "in.yaml").documents[0].object == {"apiVersion": "v1", "kind": "A"}


def test_windows_line_ends_are_read() -> None:
    text = "---\r\napiVersion: v1\r\nkind: A\r\n---\r\napiVersion: v1\r\nkind: B\r\n"
    assert [document.object["kind"] for document in load(text, "in.yaml").documents] == ["A", "B"]


VIRTUAL_SERVICE = """\
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata:
  name: reviews
  labels:
    app.kubernetes.io/name: a
spec:
  hosts: [reviews]
  http:
  - route:
    - destination: {host: reviews}
      weight: 90
    - destination: {host: reviews}
      weight: many
"""


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ("", 1),
        ("kind", 2),
        ("metadata.labels[app.kubernetes.io/name]", 6),
        ("spec", 7),
        ("spec.hosts[0]", 8),
        ("spec.http[0]", 10),
        ("spec.http[0].route[1].weight", 14),
        ("spec.http[0].route[1].destination.host", 13),
        ("spec.http[0].timeout", 10),
        ("spec.http[7]", 9),
        ("nothing.at.all", 1),
    ],
)
def test_the_line_of_a_field_is_found(path: str, line: int) -> None:
    (document,) = load("# comment\n---\n" + VIRTUAL_SERVICE, "in.yaml").documents
    assert document.line_of(path) == line + 2


def test_errors_of_decoding_get_file_line_and_object() -> None:
    (document,) = load(VIRTUAL_SERVICE, "vs.yaml").documents
    (diagnostic,) = document.diagnose(decode(document.object, ISTIO_VIEWS["VirtualService"]).errors)
    assert format_diagnostic(diagnostic) == (
        "Error [LTN0007] (VirtualService reviews vs.yaml:14) spec.http[0].route[1].weight: "
        'must be an integer, not the string "many"'
    )


def test_every_duplicate_key_is_refused_with_both_lines() -> None:
    text = "apiVersion: v1\nkind: A\nspec:\n  a: 1\n  b: 1\n  a: 2\nkind: B\n"
    messages = [diagnostic.message for diagnostic in load(text, "in.yaml").diagnostics]
    assert messages == [
        "Key a stands twice, in lines 4 and 6",
        "Key kind stands twice, in lines 2 and 7",
    ]
    assert load(text, "in.yaml").documents == ()


def test_a_broken_document_spoils_no_other() -> None:
    text = "apiVersion: v1\nkind: A\n---\na: [\n---\nkind: C\n---\napiVersion: v1\nkind: B\nb: 1\nb: 2\n---\n- a\n"
    loaded = load(text, "in.yaml")
    assert [document.object["kind"] for document in loaded.documents] == ["A"]
    assert _problems(text) == [("LTN0001", 5), ("LTN0004", 6), ("LTN0002", 11), ("LTN0004", 13)]


@pytest.mark.parametrize(
    ("text", "code", "line"),
    [
        ("a:\n\tb: 1\n", "LTN0001", 2),
        ('a: "x\n', "LTN0001", 2),
        ("a: b: c\n", "LTN0001", 1),
        ("a: 1\nb: *x\n", "LTN0001", 2),
        ("a: &a [*a]\n", "LTN0001", 1),
        ("a: 1\nb: \x01\n", "LTN0001", 2),
        (b"a: 1\nb: \xff\n", "LTN0001", 2),
        ("a: .inf\n", "LTN0001", 1),
        ("<<: 3\n", "LTN0001", 1),
        ("[" * 100_000, "LTN0003", 1),
        ("a: " + "{a: " * (MAX_DEPTH + 1), "LTN0003", 1),
        ("a: " + "x" * MAX_BYTES, "LTN0003", 1),
        ("text", "LTN0004", 1),
        ("kind: A\n", "LTN0004", 1),
        ("apiVersion: 1\nkind: A\n", "LTN0004", 1),
        ('{"apiVersion": "v1", "kind": "A", "kind": "B"}', "LTN0002", 1),
        ('{"apiVersion": "v1",\n "kind": }', "LTN0004", 1),
    ],
    ids=lambda value: value[:20] if isinstance(value, (str, bytes)) else str(value),
)
def test_a_mistake_is_one_diagnostic_with_its_line(text: str | bytes, code: str, line: int) -> None:
    assert _problems(text) == [(code, line)]


def test_aliases_cannot_blow_up() -> None:
    letters = "abcdefgh"
    lines = ["a: &a [x, x, x, x, x, x, x, x, x]"]
    lines += [f"{n}: &{n} [{', '.join([f'*{m}'] * 9)}]" for m, n in itertools.pairwise(letters)]
    (diagnostic,) = load_plain("\n".join(lines), "in.yaml").diagnostics
    assert diagnostic.code == "LTN0003"
    assert str(MAX_ALIASED_VALUES) in diagnostic.message


def test_an_alias_is_a_copy() -> None:
    (document,) = load_plain("a: &a {x: [1]}\nb: *a\n", "in.yaml").documents
    document.object["a"]["x"].append(2)
    assert document.object["b"] == {"x": [1]}


def test_tags_of_programming_languages_are_only_text() -> None:
    (document,) = load_plain('a: !!python/object/apply:os.system ["x"]\n', "in.yaml").documents
    assert document.object == {"a": ["x"]}


def test_lists_become_the_objects_they_hold() -> None:
    text = """\
apiVersion: v1
kind: List
items:
- apiVersion: v1
  kind: Pod
  metadata: {name: a}
- apiVersion: v1
  kind: ServiceList
  items:
  - metadata:
      name: b
- kind: C
"""
    loaded = load(text, "in.yaml")
    assert [document.object for document in loaded.documents] == [
        {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}},
        {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "b"}},
    ]
    assert [document.line_of("metadata.name") for document in loaded.documents] == [6, 11]
    assert _problems(text) == [("LTN0004", 12)]


def test_a_stream_of_json_is_read_with_lines() -> None:
    text = (
        '{"apiVersion": "v1",\n\t"kind": "A", "x": "\\ud83d\\ude00 \\\\ud83d"}\n\n{"apiVersion": "v1",\n"kind": "B"}\n'
    )
    first, second = load(text, "in.json").documents
    assert first.object == {"apiVersion": "v1", "kind": "A", "x": "\U0001f600 \\ud83d"}
    assert (first.line, first.line_of("x"), second.line, second.line_of("kind")) == (1, 2, 4, 5)


@pytest.mark.skipif(not SHARED.is_dir(), reason="../shared is absent")
@pytest.mark.parametrize("folder", ["samples", "article"])
def test_the_samples_read_as_another_loader_reads_them(folder: str) -> None:
    files = sorted((SHARED / folder).rglob("*.yaml"))
    assert files
    for file in files:
        loaded = load_plain(file.read_bytes(), file.name)
        assert loaded.diagnostics == (), file
        expected = [document for document in yaml.safe_load_all(file.read_text()) if document is not None]
        assert [document.object for document in loaded.documents] == expected, file


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(st.dictionaries(st.text(), json_values))
def test_what_yaml_writes_is_read_back(value: dict[str, object]) -> None:
    text = yaml.safe_dump(value, default_style='"')
    (document,) = load_plain(text, "in.yaml").documents
    assert document.object == value


@given(st.text())
def test_no_text_raises(text: str) -> None:
    loaded = load(text, "in.yaml")
    for diagnostic in loaded.diagnostics:
        assert diagnostic.line is not None
        assert 1 <= diagnostic.line <= text.count("\n") + text.count("\r") + 2
