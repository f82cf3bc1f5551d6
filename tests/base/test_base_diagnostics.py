"""Diagnostics and errors: what a user reads."""

import string

import pytest

from lateen.base.catalogue import CATALOGUE, build_diagnostic
from lateen.base.diagnostics import Level, format_diagnostic
from lateen.base.errors import DataError, LateenError


def test_a_diagnostic_says_what_where_and_what_to_do() -> None:
    diagnostic = build_diagnostic(
        "IST0101",
        subject="VirtualService default/web",
        path="spec.http[0]",
        file="in.yaml",
        line=3,
        fix="create it",
        kind="Service",
        name="api",
    )
    assert diagnostic.level is Level.ERROR
    assert format_diagnostic(diagnostic) == (
        "Error [IST0101] (VirtualService default/web in.yaml:3) spec.http[0]: Referenced Service not found: api\n"
        "  fix: create it"
    )


@pytest.mark.parametrize("code", CATALOGUE)
def test_every_template_can_be_filled(code: str) -> None:
    entry = CATALOGUE[code]
    names = [name for _, name, _, _ in string.Formatter().parse(entry.template) if name]
    diagnostic = build_diagnostic(code, subject="x", **dict.fromkeys(names, "value"))
    assert "{" not in diagnostic.message
    assert diagnostic.level is entry.level


def test_an_error_tells_the_fix_and_its_diagnostics() -> None:
    diagnostic = build_diagnostic("LTN0001", subject="in.yaml", file="in.yaml", line=2, error="a tab")
    error = DataError("in.yaml cannot be read", diagnostics=[diagnostic], fix="use spaces")
    assert str(error).splitlines() == [
        "in.yaml cannot be read",
        "  fix: use spaces",
        "Error [LTN0001] (in.yaml:2) Not valid YAML: a tab",
    ]


def test_every_kind_of_error_has_its_own_exit_code() -> None:
    codes = [kind.exit_code for kind in LateenError.__subclasses__() if kind.__module__ == "lateen.base.errors"]
    assert len(codes) == len(set(codes)) > 5
    assert all(64 <= code <= 78 for code in codes)
