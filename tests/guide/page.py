"""A page of the guide as a test sees it: shell blocks in order, each with the output that the page shows, and a shell.

Flow: Markdown -> `parse_page` -> blocks; block -> `Shell.run` -> output -> `matches(shown, output)`.

| in an output block | stands for |
| --- | --- |
| a line `...` | any lines, also none |
| `...` in a line | any text |
| `~90` | a number near 90: within five standard deviations of a count that is 90 on average |
| spaces | any spaces |
"""

from __future__ import annotations

import math
import os
import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_CHANGES = re.compile(
    r"\b(?:kubectl|lateen)\b[^|\n]*?\s(?:apply|create|delete|label|patch|scale|restart|set-context|wait|status|add)\b"
)
_NUMBER = re.compile(r"~(\d+)")
_END = "-- end of block --"


@dataclass(frozen=True)
class Block:
    """Commands, and the output that the page shows, None if it shows none."""

    line: int
    script: str
    shown: str | None

    @property
    def repeatable(self) -> bool:
        """Whether the commands only look, so that one may wait for their output."""
        return not _CHANGES.search(self.script)


def parse_page(text: str) -> list[Block]:
    """The `sh` blocks of a page; a `text` block that follows with nothing in between is the output."""
    fences = list(_FENCE.finditer(text))
    blocks = []
    for fence, following in zip(fences, [*fences[1:], None], strict=True):
        if fence[1] != "sh":
            continue
        follows = following is not None and following[1] == "text"
        near = following is not None and not text[fence.end() : following.start()].strip()
        shown = following[2] if following is not None and follows and near else None
        blocks.append(Block(text.count("\n", 0, fence.start()) + 1, fence[2], shown))
    return blocks


def matches(shown: str, output: str) -> bool:
    """Whether a command printed what a page shows."""
    pattern, numbers = "", []
    for line in shown.strip().splitlines():
        if line.strip() == "...":
            pattern += r"(?:[^\n]*\n)*?"
            continue
        parts = re.split(r"(\.\.\.|~\d+|\s+)", line.strip())
        for part in parts:
            if part == "...":
                pattern += r"[^\n]*?"
            elif number := _NUMBER.fullmatch(part):
                numbers.append(int(number[1]))
                pattern += r"(\d+)"
            else:
                pattern += r"[ \t]+" if part.isspace() else re.escape(part)
        pattern += r"[ \t]*\n"
    lines = "".join(f"{line.strip()}\n" for line in output.strip().splitlines())
    found = re.fullmatch(pattern, lines)
    return found is not None and all(
        abs(int(text) - number) <= 5 * math.sqrt(number) for text, number in zip(found.groups(), numbers, strict=True)
    )


class Shell:
    """One bash for a whole page, so that variables live on."""

    def __init__(self, directory: Path, environment: Mapping[str, str]) -> None:
        self._process = subprocess.Popen(
            ["bash", "--noprofile", "--norc"],
            cwd=directory,
            env={**os.environ, **environment},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, script: str) -> tuple[int, str]:
        """The last command's exit status, and everything that was printed."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(f'{{\n{script}\n}} </dev/null\n_status=$?; echo; echo "{_END} $_status"\n')
        self._process.stdin.flush()
        output = []
        for line in self._process.stdout:
            if line.startswith(_END):
                return int(line.removeprefix(_END)), "".join(output)
            output.append(line)
        raise AssertionError(f"the shell ended:\n{''.join(output)}")

    def close(self) -> None:
        """End it."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(10)
        self._process.stdout.close()
