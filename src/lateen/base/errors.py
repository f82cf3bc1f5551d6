"""The errors of the world: what may go wrong outside our code and outside the user's YAML.

    LateenError                 70  (never raised itself)
    ├── UsageError              64  the command line asks for something impossible
    ├── DataError               65  input that cannot be used; carries diagnostics
    ├── NotFoundError           66  a named thing does not exist
    ├── UnavailableError        69  a peer cannot be reached or does not answer
    ├── MachineError            71  this machine cannot run what was asked
    ├── ConflictError           75  somebody else changed it, or the name is taken: try again
    └── PermissionDeniedError   77  the peer or the machine refuses

Exit codes are those of BSD's sysexits.h. Foreign exceptions are wrapped once, in the adapter that meets them.
User mistakes in configuration are no exceptions but `Diagnostic` data.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from lateen.base.diagnostics import Diagnostic, format_diagnostic


class LateenError(Exception):
    """A failure of the world, told in one sentence for the user, with what to do about it if that is known."""

    exit_code: ClassVar[int] = 70

    def __init__(self, message: str, *, fix: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.fix = fix

    def __str__(self) -> str:
        return self.message if self.fix is None else f"{self.message}\n  fix: {self.fix}"


class UsageError(LateenError):
    """The command line asks for something impossible."""

    exit_code = 64


class DataError(LateenError):
    """Input that cannot be used; the diagnostics name each mistake."""

    exit_code = 65

    def __init__(self, message: str, *, diagnostics: Iterable[Diagnostic] = (), fix: str | None = None) -> None:
        super().__init__(message, fix=fix)
        self.diagnostics = tuple(diagnostics)

    def __str__(self) -> str:
        return "\n".join([super().__str__(), *map(format_diagnostic, self.diagnostics)])


class NotFoundError(LateenError):
    """A named thing does not exist."""

    exit_code = 66


class UnavailableError(LateenError):
    """A peer cannot be reached or does not answer."""

    exit_code = 69


class MachineError(LateenError):
    """This machine cannot run what was asked."""

    exit_code = 71


class ConflictError(LateenError):
    """Somebody else changed it first, or the name is taken."""

    exit_code = 75


class PermissionDeniedError(LateenError):
    """The peer or the machine refuses."""

    exit_code = 77
