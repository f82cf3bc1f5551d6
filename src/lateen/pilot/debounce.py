"""When to act on changes that keep coming: at once for a lone one, in batches for a storm.

Flow: `note(now)` for each arrival -> `due_at` -> `take(now)` when the moment has come.

Rules: the first change after a quiet time is due at once (leading edge); one that comes sooner waits until
`QUIET_SECONDS` have passed without another, but the first of a batch never waits longer than
`LONGEST_SECONDS`. Pure; times are seconds of any one monotonic clock. Istio waits 100 ms after every change,
the lone one too (PILOT_DEBOUNCE_AFTER), and up to 10 s in a storm.
"""

import math

QUIET_SECONDS = 0.010
LONGEST_SECONDS = 0.100


class Debounce:
    """The moments of one stream of changes."""

    def __init__(self) -> None:
        self._last = -math.inf  # of the last arrival or batch taken
        self._first: float | None = None  # of the arrivals that wait
        self._is_leading = False

    @property
    def due_at(self) -> float | None:
        """When to take what waits; None if nothing does."""
        if self._first is None or self._is_leading:
            return self._first
        return min(self._last + QUIET_SECONDS, self._first + LONGEST_SECONDS)

    def note(self, now: float) -> None:
        """A change has come."""
        if self._first is None:
            self._first = now
            self._is_leading = now - self._last >= QUIET_SECONDS
        self._last = now

    def take(self, now: float) -> None:
        """Everything that waited is taken."""
        self._first = None
        self._last = now
