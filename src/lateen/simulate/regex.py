"""RE2 patterns with Python's `re`: the same texts match.

Flow: RE2 syntax -> Python syntax -> compiled pattern, or None for what RE2 refuses (look-around, back-references) or
Python cannot say (`\\pN`, `\\C`). Differences that are translated: `\\z`, `\\Q...\\E`, POSIX classes, `(?<name>...)`,
flags in the middle; `\\d`, `\\w`, `\\s` mean ASCII in RE2; `\\s` has no vertical tab, `$` is the very end.
Source: RE2's syntax page; envoy/type/matcher/v3/regex.proto (the whole text has to match).
"""

from __future__ import annotations

import re
from functools import lru_cache

_POSIX = {
    "alnum": "0-9A-Za-z",
    "alpha": "A-Za-z",
    "ascii": "\\x00-\\x7F",
    "blank": "\\t ",
    "cntrl": "\\x00-\\x1F\\x7F",
    "digit": "0-9",
    "graph": "!-~",
    "lower": "a-z",
    "print": " -~",
    "punct": "!-/:-@\\[-`{-~",
    "space": "\\t\\n\\v\\f\\r ",
    "upper": "A-Z",
    "word": "0-9A-Za-z_",
    "xdigit": "0-9A-Fa-f",
}
_TOKEN = re.compile(
    r"\\Q(?P<quoted>.*?)(?:\\E|$)|\\(?P<escape>.)|\[:(?P<posix>\^?\w+):\]|\(\?(?=(?P<group>.{0,2}))|.", re.DOTALL
)
_FLAGS_RE = re.compile(r"\(\?([imsU]+)\)")


@lru_cache(1024)
def compile_re2(pattern: str) -> re.Pattern[str] | None:
    """The pattern, or None when RE2 would refuse it or Python cannot express it."""
    translated = _translate(pattern)
    if translated is None:
        return None
    try:
        return re.compile(translated, re.ASCII)
    except (re.error, OverflowError, RecursionError):
        return None


def matches_fully(pattern: str, value: str) -> bool:
    """Whether RE2's FullMatch holds."""
    compiled = compile_re2(pattern)
    return compiled is not None and compiled.fullmatch(value) is not None


def replace_all(pattern: str, substitution: str, value: str) -> str:
    """RE2's GlobalReplace; `\\0` is the whole match, `\\1` the first group."""
    compiled = compile_re2(pattern)
    if compiled is None:
        return value
    python = re.sub(r"\\(\\|\d)", lambda found: "\\\\" if found[1] == "\\" else f"\\g<{found[1]}>", substitution)
    return compiled.sub(python, value)


class _Refused(Exception):
    """RE2 refuses the pattern, or Python cannot say it."""


def _translate(pattern: str) -> str | None:
    result: list[str] = []
    opened: int | None = None  # where the character class that is open begins
    try:
        for found in _TOKEN.finditer(pattern):
            result.append(_translate_token(found, in_class=opened is not None))
            if found[0] == "[" and opened is None:
                opened = found.end()
            elif found[0] == "]" and opened is not None and pattern[opened : found.start()] not in ("", "^"):
                opened = None
    except _Refused:
        return None
    return _scope_flags("".join(result))


def _translate_token(found: re.Match[str], *, in_class: bool) -> str:
    if found["quoted"] is not None:
        return re.escape(found["quoted"])
    if found["escape"] is not None:
        return _translate_escape(found["escape"], in_class=in_class)
    if found["posix"] is not None:
        if not in_class or found["posix"] not in _POSIX:
            raise _Refused
        return _POSIX[found["posix"]]
    if found["group"] is not None and not in_class:
        return _translate_group(found["group"])
    return r"\Z" if found[0] == "$" and not in_class else found[0]


def _translate_group(following: str) -> str:
    if following[:1] in ("=", "!") or following in ("<=", "<!", "P="):
        raise _Refused
    return "(?P" if following[:1] == "<" else "(?"


def _translate_escape(letter: str, *, in_class: bool) -> str:
    if letter in "pPCXK" or (letter in "123456789" and not in_class):
        raise _Refused
    if letter == "z":
        return r"\Z"
    if letter == "s":
        return r"\t\n\f\r " if in_class else r"[\t\n\f\r ]"
    return f"\\{letter}"


def _scope_flags(pattern: str) -> str | None:
    """Flags that stand alone hold for the rest of their group: `a(?i)b` -> `a(?i:b)`, as far as it is not nested."""
    found = _FLAGS_RE.search(pattern)
    if found is None:
        return pattern
    if "U" in found[1]:
        return None
    rest = _scope_flags(pattern[found.end() :])
    return None if rest is None else f"{pattern[: found.start()]}(?{found[1]}:{rest})"
