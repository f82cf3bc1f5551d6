"""Durations as Go and protobuf write them: text <-> timedelta.

`1h30m`, `1.5s`, `250ms`, `-2m`, `0`; source: Go's time.ParseDuration. Protobuf's JSON form (`1.5s`) is a
part of it. Below a microsecond, which timedelta cannot hold, the value is rounded to the nearest one.
"""

from __future__ import annotations

import re
from datetime import timedelta
from fractions import Fraction

from lateen.base.errors import DataError

_UNIT_MICROSECONDS = {
    "ns": Fraction(1, 1000),
    "us": Fraction(1),
    "µs": Fraction(1),
    "μs": Fraction(1),
    "ms": Fraction(1000),
    "s": Fraction(10**6),
    "m": Fraction(60 * 10**6),
    "h": Fraction(3600 * 10**6),
}
_PART_RE = re.compile(r"([0-9]*\.?[0-9]*)(ns|us|µs|μs|ms|s|m|h)")
_LIMIT_MICROSECONDS = 2**63 // 1000  # Go's int64 nanoseconds


def parse_duration(text: str) -> timedelta:
    """The duration that the text means; DataError when it is none."""
    body = text[1:] if text[:1] in {"+", "-"} else text
    if body == "0":
        return timedelta(0)
    total, position = Fraction(0), 0
    while position < len(body):
        found = _PART_RE.match(body, position)
        if found is None or found[1] in {"", "."}:
            raise _refuse(text)
        total += Fraction(found[1]) * _UNIT_MICROSECONDS[found[2]]
        position = found.end()
    if not body or total > _LIMIT_MICROSECONDS:
        raise _refuse(text)
    microseconds = round(total)
    return timedelta(microseconds=-microseconds if text[0] == "-" else microseconds)


def format_duration(duration: timedelta) -> str:
    """The text that Go prints: `1h30m0s`, `1.5s`, `250ms`, `0s`."""
    microseconds = duration // timedelta(microseconds=1)
    sign, rest = ("-", -microseconds) if microseconds < 0 else ("", microseconds)
    if rest < 10**6:
        return sign + _format_small(rest)
    seconds, fraction = divmod(rest, 10**6)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    tail = f".{fraction:06d}".rstrip("0").rstrip(".") if fraction else ""
    head = (f"{hours}h" if hours else "") + (f"{minutes}m" if hours or minutes else "")
    return f"{sign}{head}{seconds}{tail}s"


def _format_small(microseconds: int) -> str:
    if microseconds == 0:
        return "0s"
    if microseconds < 1000:
        return f"{microseconds}µs"
    whole, rest = divmod(microseconds, 1000)
    tail = f".{rest:03d}".rstrip("0") if rest else ""
    return f"{whole}{tail}ms"


def _refuse(text: str) -> DataError:
    return DataError(f"Not a duration: {text!r}", fix="write it as 1h30m, 10s or 250ms")
