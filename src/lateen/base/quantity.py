"""Kubernetes quantities: `100m`, `1.5`, `2Gi`, `1e3` -> an exact number.

Binary suffixes (`Ki` to `Ei`) are powers of 1024, decimal ones (`n`, `u`, `m`, `k`, `M` to `E`) powers of
1000. Source: the page "Quantity" of the Kubernetes API reference.
"""

from __future__ import annotations

import re
from decimal import ROUND_UP, Context, Decimal

from lateen.base.errors import DataError

_QUANTITY = re.compile(
    r"(?P<number>[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+))(?P<suffix>[KMGTPE]i|[numkMGTPE]|[eE][+-]?[0-9]+)?"
)
_FACTORS = {
    **{f"{letter}i": Decimal(1024) ** power for power, letter in enumerate("KMGTPE", start=1)},
    **{letter: Decimal(1000) ** power for power, letter in enumerate("kMGTPE", start=1)},
    **{letter: Decimal(1000) ** -power for power, letter in enumerate("mun", start=1)},
}

_CONTEXT = Context(prec=60)


def is_quantity(text: str) -> bool:
    """Whether the text is a quantity."""
    return _QUANTITY.fullmatch(text) is not None


def parse_quantity(value: str | int | float) -> Decimal:
    """The number that a quantity means; JSON numbers are quantities too. DataError for other text."""
    if not isinstance(value, str):
        return Decimal(str(value))
    found = _QUANTITY.fullmatch(value)
    if found is None:
        raise DataError(f"Not a quantity: {value!r}", fix="write a number with a suffix such as m, Ki, Mi or Gi")
    number, suffix = Decimal(found["number"]), found["suffix"] or ""
    if suffix in _FACTORS:
        return number * _FACTORS[suffix]
    return number * Decimal(10) ** int(suffix[1:] or 0) if suffix else number


_DECIMAL_SUFFIXES = {-9: "n", -6: "u", -3: "m", 0: "", 3: "k", 6: "M", 9: "G", 12: "T", 15: "P", 18: "E"}
_BINARY_SUFFIXES = ("", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei")
_NANO = Decimal("1e-9")
_MOST = 2**63 - 1


def format_quantity(value: str | int | float) -> str:
    """The canonical text of a quantity: `3000m` is `3`, `1024Mi` is `1Gi`, `0.5` is `500m`. DataError for
    other text.
    """
    text = str(value)
    number = parse_quantity(text).quantize(_NANO, rounding=ROUND_UP, context=_CONTEXT)
    if number == 0:
        return "0"
    if abs(number) > _MOST:
        return str(_MOST if number > 0 else -_MOST)
    if text.endswith("i") and abs(number) >= 1024:
        return _format_binary(int(number.to_integral_value(rounding=ROUND_UP)))
    exponent = -9
    digits = int(number.scaleb(9, context=_CONTEXT))
    while digits % 1000 == 0 and exponent < 18:
        digits, exponent = digits // 1000, exponent + 3
    if "e" in text.lower() and not text.endswith(("E", "Ei")):
        return f"{digits}e{exponent}" if exponent else str(digits)
    return f"{digits}{_DECIMAL_SUFFIXES[exponent]}"


def _format_binary(number: int) -> str:
    power = 0
    while number % 1024 == 0 and power < len(_BINARY_SUFFIXES) - 1:
        number, power = number // 1024, power + 1
    return f"{number}{_BINARY_SUFFIXES[power]}"
