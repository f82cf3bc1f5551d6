"""Log lines as structured text: time, level, scope, message, then key=value; colour on a terminal; never a
secret.

Flow: `log = get_logger("citadel")`, `log.info("signed", identity=spiffe)` -> one line on the configured
stream. Invariants: one event is one line but for a traceback; a field named like a secret, a PEM private
key or a JWT anywhere in the line is replaced by `[hidden]`. Source: the shape (tab-separated, scope after
level) is that of istiod's text log.
"""

from __future__ import annotations

import logging
import re
import sys
from datetime import UTC, datetime
from typing import Any, TextIO

_ROOT = "lateen"
_HIDDEN = "[hidden]"
_SECRET_FIELDS = re.compile(r"token|password|secret_value|private|authorization|key_pem", re.IGNORECASE)
_SECRET_TEXT = re.compile(
    r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)"
    r"|\beyJ[\w-]{8,}\.[\w-]+\.[\w-]*",
    re.DOTALL,
)
_COLOURS = {"debug": "2", "info": "36", "warn": "33", "error": "31"}
_LEVELS = {logging.DEBUG: "debug", logging.INFO: "info", logging.WARNING: "warn", logging.ERROR: "error"}


class Logger:
    """A scope's log: a message for people and fields for machines."""

    def __init__(self, logger: logging.Logger) -> None:
        self._logger = logger

    def debug(self, message: str, **fields: Any) -> None:
        """Tell what only a developer of this scope wants to know."""
        self._emit(logging.DEBUG, message, None, fields)

    def info(self, message: str, **fields: Any) -> None:
        """Tell an event of the normal life."""
        self._emit(logging.INFO, message, None, fields)

    def warning(self, message: str, **fields: Any) -> None:
        """Tell what goes on but wants attention."""
        self._emit(logging.WARNING, message, None, fields)

    def error(self, message: str, *, exc_info: BaseException | None = None, **fields: Any) -> None:
        """Tell a failure; `exc_info` adds the traceback, for failures that are bugs of ours."""
        self._emit(logging.ERROR, message, exc_info, fields)

    def _emit(self, level: int, message: str, error: BaseException | None, fields: dict[str, Any]) -> None:
        if self._logger.isEnabledFor(level):
            self._logger.log(level, message, exc_info=error, extra={"fields": fields})


def get_logger(scope: str) -> Logger:
    """Return the log of a scope: the package's name, or `package/module`."""
    return Logger(logging.getLogger(f"{_ROOT}.{scope}"))


def configure_logging(*, level: str = "info", stream: TextIO | None = None) -> None:
    """Send this process's log to `stream` (standard error), replacing an earlier choice."""
    target = sys.stderr if stream is None else stream
    handler = logging.StreamHandler(target)
    handler.setFormatter(_Formatter(colour=target.isatty()))
    root = logging.getLogger(_ROOT)
    root.handlers[:] = [handler]
    root.setLevel({"warn": logging.WARNING}.get(level, level.upper()))
    root.propagate = False


def hide_secrets(text: str) -> str:
    """Return the text with every private key and JWT replaced."""
    return _SECRET_TEXT.sub(_HIDDEN, text)


class _Formatter(logging.Formatter):
    def __init__(self, *, colour: bool) -> None:
        super().__init__()
        self._colour = colour

    def format(self, record: logging.LogRecord) -> str:
        moment = datetime.fromtimestamp(record.created, UTC)
        level = _LEVELS.get(record.levelno, record.levelname.lower())
        shown = f"\x1b[{_COLOURS.get(level, '0')}m{level}\x1b[0m" if self._colour else level
        parts = [
            moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
            shown,
            record.name.removeprefix(f"{_ROOT}."),
            record.getMessage(),
            *_format_fields(getattr(record, "fields", {})),
        ]
        line = "\t".join(parts)
        if record.exc_info:
            line = f"{line}\n{self.formatException(record.exc_info)}"
        return hide_secrets(line)


def _format_fields(fields: dict[str, Any]) -> list[str]:
    return [f"{name}={_format_value(name, value)}" for name, value in fields.items()]


def _format_value(name: str, value: Any) -> str:
    if _SECRET_FIELDS.search(name):
        return _HIDDEN
    text = str(value)
    if not text or any(character.isspace() or character in '"=' for character in text):
        escaped = text.replace("\\", "\\\\").replace('"', '\\"')
        return '"' + escaped.replace("\n", "\\n").replace("\t", "\\t").replace("\r", "\\r") + '"'
    return text
