"""Label selectors, as Kubernetes reads them."""

import pytest

from lateen.base.errors import DataError
from lateen.base.labels import matches, parse_selector

WEB = {"app": "web", "tier": "front", "weight": "5", "example.com/owner": "me"}


@pytest.mark.parametrize(
    ("text", "selected"),
    [
        ("", True),
        ("  ", True),
        ("app=web", True),
        ("app==web", True),
        ("app = web , tier=front", True),
        ("app=db", False),
        ("app!=db", True),
        ("missing!=x", True),
        ("app", True),
        ("!app", False),
        ("! missing", True),
        ("missing", False),
        ("app in (web, db)", True),
        ("app notin (web)", False),
        ("missing notin (web)", True),
        ("missing in (web)", False),
        ("example.com/owner=me", True),
        ("app in (web),!missing,tier!=back", True),
        ("weight > 4", True),
        ("weight<5", False),
        ("app>4", False),
        ("app=", False),
        ("app in (,web)", True),
    ],
)
def test_selectors(text: str, selected: bool) -> None:
    assert parse_selector(text).matches(WEB) is selected


@pytest.mark.parametrize(
    "text",
    [
        "=web",
        "app=web,",
        ",app",
        "app in web",
        "app in (web",
        "app web",
        "app=we b",
        "-a=b",
        "app>x",
        "a/b/c=d",
        "app=-x",
        "a=\u00e9",
    ],
)
def test_other_texts_are_refused(text: str) -> None:
    with pytest.raises(DataError, match="Not a label selector"):
        parse_selector(text)


def test_match_labels() -> None:
    assert matches({}, WEB)
    assert matches({"app": "web"}, WEB)
    assert not matches({"app": "web", "missing": "x"}, WEB)
