"""Waiting in tests for something to become true, by asking again and again until a deadline.

Flow: `await until(condition, what="the pod is ready")` -> the condition's first true value. Nothing in a
test sleeps otherwise.
"""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")

_PAUSE_SECONDS = 0.01


async def until(condition: Callable[[], T | Awaitable[T]], *, what: str = "", deadline_seconds: float = 30.0) -> T:
    """Return the condition's first true value; raises `TimeoutError` naming `what` after the deadline."""
    end = time.monotonic() + deadline_seconds
    while True:
        answer = condition()
        value = await answer if inspect.isawaitable(answer) else answer
        if value:
            return value
        if time.monotonic() > end:
            raise TimeoutError(f"not within {deadline_seconds:g} s: {what or condition}")
        await asyncio.sleep(_PAUSE_SECONDS)
