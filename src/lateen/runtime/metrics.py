"""Counters and gauges of a component, written as Prometheus reads them.

Flow: `metrics = Metrics()`; `count = metrics.counter(name, help, *labels)`; `count.add(1, label="value")`;
`metrics.render()` -> text exposition format 0.0.4. Invariants: a series without labels exists, at 0, from its
declaration; output is sorted by label values. Source: Prometheus, "Exposition formats".
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Series:
    """One metric: a value for each combination of its labels."""

    def __init__(self, name: str, help_text: str, kind: Literal["counter", "gauge"], labels: tuple[str, ...]):
        self.name = name
        self._head = f"# HELP {name} {help_text}\n# TYPE {name} {kind}\n"
        self._labels = labels
        self._values: dict[tuple[str, ...], float] = {}
        if not labels:
            self._values[()] = 0.0
        self._read: Callable[[], float] | None = None

    def add(self, amount: float = 1.0, **labels: str) -> None:
        """Raise the value by `amount`."""
        key = self._key(labels)
        self._values[key] = self._values.get(key, 0.0) + amount

    def set(self, value: float, **labels: str) -> None:
        """Put the value; for gauges."""
        self._values[self._key(labels)] = value

    def read_from(self, function: Callable[[], float]) -> None:
        """Ask `function` for the value at every rendering; for a gauge without labels."""
        self._read = function

    def get(self, **labels: str) -> float:
        """Return the value, 0 when it was never set."""
        return self._values.get(self._key(labels), 0.0) if self._read is None else self._read()

    def render(self) -> str:
        """Return the lines of this metric."""
        values = self._values
        if self._read is not None:
            values = {(): self._read()}
        lines = [f"{self.name}{self._format(key)} {_format_value(values[key])}\n" for key in sorted(values)]
        return self._head + "".join(lines)

    def _key(self, labels: dict[str, str]) -> tuple[str, ...]:
        return tuple(labels[name] for name in self._labels)

    def _format(self, key: tuple[str, ...]) -> str:
        pairs = zip(self._labels, key, strict=True)
        inside = ",".join(f'{name}="{_escape(value)}"' for name, value in pairs)
        return f"{{{inside}}}" if inside else ""


class Metrics:
    """The metrics of one component."""

    def __init__(self) -> None:
        self._series: dict[str, Series] = {}

    def counter(self, name: str, help_text: str, *labels: str) -> Series:
        """Declare a value that only grows; declared again, it is the same one."""
        return self._series.setdefault(name, Series(name, help_text, "counter", labels))

    def gauge(self, name: str, help_text: str, *labels: str) -> Series:
        """Declare a value that goes up and down; declared again, it is the same one."""
        return self._series.setdefault(name, Series(name, help_text, "gauge", labels))

    def render(self) -> str:
        """Return every metric, in the order of declaration."""
        return "".join(series.render() for series in self._series.values())


def _escape(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _format_value(value: float) -> str:
    return str(int(value)) if value == int(value) and abs(value) < 1 << 53 else repr(value)
