"""Log lines: their shape, and that no secret gets into one."""

import io
import logging

import pytest

from lateen.runtime.logging import configure_logging, get_logger

PRIVATE_KEY = "-----BEGIN PRIVATE KEY-----\nMIGHAgEAMBMGByqGSM49AgEG\n-----END PRIVATE KEY-----\n"
JWT = "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJzeXN0ZW0ifQ.c2lnbmF0dXJl"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def restore_logging():
    root = logging.getLogger("lateen")
    before = (root.handlers[:], root.level, root.propagate)
    yield
    root.handlers[:], root.level, root.propagate = before


def logged(stream: io.StringIO, *, level: str = "info"):
    configure_logging(level=level, stream=stream)
    return get_logger("citadel")


def test_an_event_is_one_line_of_time_level_scope_message_and_fields():
    stream = io.StringIO()
    logged(stream).info("signed", identity="spiffe://cluster.local/ns/a/sa/b", note='two words "and"\nmore')
    line = stream.getvalue()
    assert line.count("\n") == 1
    time, level, scope, message, identity, note = line.rstrip("\n").split("\t")
    assert time.endswith("Z")
    assert (level, scope, message) == ("info", "citadel", "signed")
    assert identity == "identity=spiffe://cluster.local/ns/a/sa/b"
    assert note == 'note="two words \\"and\\"\\nmore"'


@pytest.mark.parametrize(
    "fields",
    [
        {"token": "opaque-c2lnbmF0dXJl"},
        {"text": f"Bearer {JWT}"},
        {"answer": PRIVATE_KEY},
        {"cut": PRIVATE_KEY[:50]},
        {"key_pem": b"c2lnbmF0dXJl"},
        {"headers": {"authorization": f"Bearer {JWT}"}},
    ],
    ids=["by name", "a JWT", "a private key", "half a private key", "bytes by name", "inside a mapping"],
)
def test_no_secret_is_logged(fields):
    stream = io.StringIO()
    log = logged(stream)
    log.warning("event", **fields)
    log.error("failed", exc_info=ValueError(str(fields.get("answer", JWT))))
    assert "[hidden]" in stream.getvalue()
    for secret in ("c2lnbmF0dXJl", "MIGHAgEAMBMGByqGSM49AgEG"):
        assert secret not in stream.getvalue()


def test_levels_below_the_chosen_one_are_silent():
    stream = io.StringIO()
    log = logged(stream, level="warn")
    log.info("quiet")
    log.warning("loud")
    assert "quiet" not in stream.getvalue()
    assert "\twarn\t" in stream.getvalue()


def test_levels_have_colours_on_a_terminal_only():
    terminal = Terminal()
    logged(terminal).error("failed")
    assert "\x1b[31merror\x1b[0m" in terminal.getvalue()
