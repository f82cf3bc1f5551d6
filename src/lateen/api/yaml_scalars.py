"""What a YAML scalar means, exactly as kubectl reads it.

Flow: (tag, text, style) -> JSON value; a key -> the text of a JSON key. The rules are those of
sigs.k8s.io/yaml: YAML 1.1 words (`yes`, `on`, `~`), octal as `017` and `0o17`, underscores in numbers, no
base 60, times stay text; numbers then pass through JSON, so that `1.0` becomes 1 and an integer beyond 64
bits a float.
Source: go-yaml v2 (resolve.go) within sigs.k8s.io/yaml, observed through `kubectl annotate --local`.
"""

import base64
import binascii
import math
import re
import struct
from decimal import Decimal
from types import MappingProxyType
from typing import Any

from lateen.base.errors import DataError

TAG_PREFIX = "tag:yaml.org,2002:"
_MIN_INT64, _MAX_INT64 = -(2**63), 2**63 - 1
_MAX_UINT64 = 2**64 - 1

_WORDS = MappingProxyType(
    {
        **dict.fromkeys(("y", "Y", "yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON"), True),
        **dict.fromkeys(("n", "N", "no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF"), False),
        **dict.fromkeys(("", "~", "null", "Null", "NULL")),
        **dict.fromkeys((".nan", ".NaN", ".NAN"), math.nan),
        **dict.fromkeys((".inf", ".Inf", ".INF", "+.inf", "+.Inf", "+.INF"), math.inf),
        **dict.fromkeys(("-.inf", "-.Inf", "-.INF"), -math.inf),
    }
)
_FLOAT_RE = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_INTEGER_RE = re.compile(r"([-+]?)(?:0[xX]([0-9a-fA-F]+)|0[bB]([01]+)|0[oO]?([0-7]+)|(0|[1-9][0-9]*))")
_TIMESTAMP_RE = re.compile(
    r"\d{4}-\d{1,2}-\d{1,2}(([Tt]|[ \t]+)\d{1,2}:\d{2}:\d{2}(\.\d*)?([ \t]*([Zz]|[-+]\d{1,2}(:\d{2})?))?)?"
)
_TYPE_OF_TAG = MappingProxyType({"null": type(None), "bool": bool, "int": int, "float": float})


def resolve_scalar(tag: str | None, text: str, *, plain: bool) -> Any:
    """The value of a scalar before JSON; DataError when it is not what its tag says."""
    kind = tag.removeprefix(TAG_PREFIX) if tag and tag.startswith(TAG_PREFIX) else tag
    if kind == "binary":
        return _decode_binary(text)
    if not kind:
        return _resolve_plain(text) if plain else text
    if kind == "timestamp":
        if _TIMESTAMP_RE.fullmatch(text) is None:
            raise DataError(f'"{text}" is not a timestamp, although it is tagged !!timestamp')
        return text
    expected = _TYPE_OF_TAG.get(kind)
    if expected is None:
        return text
    value = _resolve_plain(text)
    if expected is float and type(value) is int:
        return float(value)
    if type(value) is not expected:
        raise DataError(f'"{text}" cannot be read as !!{kind}')
    return value


def build_json_value(value: Any) -> Any:
    """The value after its way through JSON and its shortest digits; DataError for infinity and NaN."""
    if type(value) is float:
        if not math.isfinite(value):
            raise DataError("infinity and NaN cannot be written in JSON")
        number = int(Decimal(repr(value))) if value.is_integer() else None
        return number if number is not None and _MIN_INT64 <= number <= _MAX_INT64 else value
    if type(value) is int and not _MIN_INT64 <= value <= _MAX_INT64:
        return float(value)
    return value


def format_key(value: Any) -> str:
    """The JSON key of a resolved scalar; DataError for null, which is no key."""
    if isinstance(value, str):
        return value
    if value is None:
        raise DataError("null cannot be a key")
    if isinstance(value, bool):
        return "true" if value else "false"
    return _format_float_key(value) if isinstance(value, float) else str(value)


def _resolve_plain(text: str) -> Any:
    if text in _WORDS:
        return _WORDS[text]
    if text[0] == ".":
        return _parse_float(text, text)
    if text[0] in "+-0123456789":
        return _parse_number(text)
    return text


def _parse_number(text: str) -> Any:
    plain = text.replace("_", "")
    match = _INTEGER_RE.fullmatch(plain)
    if match is not None:
        sign, hexadecimal, binary, octal, decimal = match.groups()
        digits, base = next(
            (digits, base)
            for digits, base in ((hexadecimal, 16), (binary, 2), (octal, 8), (decimal, 10))
            if digits is not None
        )
        number = int(sign + digits, base)
        if _MIN_INT64 <= number <= (_MAX_INT64 if sign else _MAX_UINT64):
            return number
    return _parse_float(plain, text)


def _parse_float(plain: str, text: str) -> Any:
    """The number, or the text when it is none or lies beyond what a float holds."""
    if _FLOAT_RE.fullmatch(plain) is None:
        return text
    number = float(plain)
    return number if math.isfinite(number) else text


def _decode_binary(text: str) -> str:
    try:
        return base64.b64decode("".join(text.split()), validate=True).decode(errors="replace")
    except binascii.Error as error:
        raise DataError("a !!binary value must be base64") from error


def _format_float_key(value: float) -> str:
    """As Go prints a 32-bit float in shortest form, because that is how sigs.k8s.io/yaml makes keys."""
    if math.isnan(value):
        return ".nan"
    try:
        single = struct.unpack("f", struct.pack("f", value))[0]
    except OverflowError:
        single = math.copysign(math.inf, value)
    if math.isinf(single):
        return ".inf" if single > 0 else "-.inf"
    shortest = next(
        text
        for digits in range(17)
        if struct.pack("f", float(text := f"{single:.{digits}e}")) == struct.pack("f", single)
    )
    mantissa, _, exponent = shortest.partition("e")
    if not -4 <= int(exponent) < 6:
        return shortest
    digits_after_point = len(mantissa.lstrip("-").replace(".", "")) - 1 - int(exponent)
    return f"{float(shortest):.{max(0, digits_after_point)}f}"
