"""One form for everything measured: `report(...)` prints a line and keeps it; `main` makes a table of what was kept.

Flow: a benchmark calls `report` -> a line on standard output, and a JSON line in the file that LATEEN_FIGURES names
-> `python benchmarks/figures.py FILE` -> a Markdown table with the ratio of each figure to its goal.
Goals are printed, never asserted: seconds differ between machines, ratios and counts hardly do.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path

DESTINATION = "LATEEN_FIGURES"


def report(work: str, value: float, unit: str, *, goal: float | None = None, note: str = "") -> None:
    """Print and keep one figure; `goal` is what it is to stay below."""
    print(f"{work:56} {format_value(value):>9} {unit:12} {format_goal(value, goal)}{note}".rstrip(), flush=True)
    if destination := os.environ.get(DESTINATION):
        with open(destination, "a") as file:
            file.write(json.dumps({"work": work, "value": value, "unit": unit, "goal": goal, "note": note}) + "\n")


def report_median(work: str, values: Sequence[float], unit: str, *, goal: float | None = None) -> None:
    """Report the median of several measurements, with their number and range."""
    note = f" median of {len(values)}, {format_value(min(values))} to {format_value(max(values))}"
    note = note if len(values) > 1 else ""
    report(work, statistics.median(values), unit, goal=goal, note=note)


def format_value(value: float) -> str:
    if value == int(value):
        return str(int(value))
    return f"{value:.2f}" if abs(value) < 10 else f"{value:.1f}"


def format_goal(value: float, goal: float | None) -> str:
    return "" if goal is None else f"{value / goal:5.0%} of {format_value(goal)}"


def main() -> None:
    lines = [json.loads(line) for line in Path(sys.argv[1]).read_text().splitlines()]
    print("| what | figure | of its goal | |\n| --- | ---: | ---: | --- |")
    print(f"| load of {os.cpu_count()} processors meanwhile | {os.getloadavg()[1]:.1f} | | |")
    for line in lines:
        figure = f"{format_value(line['value'])} {line['unit']}".strip()
        cells = (line["work"], figure, format_goal(line["value"], line["goal"]).strip(), line["note"].strip())
        print(f"| {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
