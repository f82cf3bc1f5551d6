"""Kubernetes quantities: `100m`, `1.5`, `2Gi`, `1e3` -> an exact number.

Binary suffixes (`Ki` to `Ei`) are powers of 1024, decimal ones (`n`, `u`, `m`, `k`, `M` to `E`) powers of
1000. Source: the page "Quantity" of the Kubernetes API reference.
"""

from __future__ import annotations

import re
from decimal import Decimal

from lateen.base.errors import DataError

_QUANTITY = re.compile(
    r"(?P<number>[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+))(?P<suffix>[KMGTPE]i|[numkMGTPE]|[eE][+-]?[0-9]+)?"
)
_FACTORS = {
    **{f"{letter}i": Decimal(1024) ** power for power, letter in enumerate("KMGTPE", start=1)},
    **{letter: Decimal(1000) ** power for power, letter in enumerate("kMGTPE", start=1)},
    **{letter: Decimal(1000) ** -power for power, letter in enumerate("mun", start=1)},
}


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
