"""What an API server refuses, as errors of ours: HTTP status and Status object -> LateenError.

    ApiError(LateenError)                  any refusal; carries code, reason and details
    ├── ApiForbiddenError                  401, 403     a PermissionDeniedError
    ├── ApiNotFoundError                   404          a NotFoundError
    ├── ApiConflictError                   409          a ConflictError
    ├── ApiInvalidError                    400, 413, 415, 422   a DataError
    └── ApiUnavailableError                408, 410, 429, 5xx   an UnavailableError
        └── ApiGoneError                   410          the resource version is too old: list again

A server that cannot be reached is a plain UnavailableError. Source: apimachinery's metav1.Status.
"""

from __future__ import annotations

from typing import Any

import msgspec

from lateen.base.errors import (
    ConflictError,
    DataError,
    LateenError,
    NotFoundError,
    PermissionDeniedError,
    UnavailableError,
)


class ApiError(LateenError):
    """The API server refused; `reason` is the machine-readable word of its Status (`AlreadyExists`)."""

    def __init__(self, message: str, *, code: int, reason: str = "", details: dict[str, Any] | None = None):
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.details = details or {}


class ApiForbiddenError(ApiError, PermissionDeniedError):
    """Not known, or not allowed."""


class ApiNotFoundError(ApiError, NotFoundError):
    """No such object or kind."""


class ApiConflictError(ApiError, ConflictError):
    """The name is taken, or the object changed since it was read."""


class ApiInvalidError(ApiError, DataError):
    """The object or request is not valid."""


class ApiUnavailableError(ApiError, UnavailableError):
    """The server cannot answer now."""


class ApiGoneError(ApiUnavailableError):
    """The resource version is older than what the server remembers."""


_BY_CODE: dict[int, type[ApiError]] = {
    400: ApiInvalidError,
    401: ApiForbiddenError,
    403: ApiForbiddenError,
    404: ApiNotFoundError,
    408: ApiUnavailableError,
    409: ApiConflictError,
    410: ApiGoneError,
    413: ApiInvalidError,
    415: ApiInvalidError,
    422: ApiInvalidError,
    429: ApiUnavailableError,
}


def decode_error(code: int, body: bytes) -> ApiError:
    """The error that a response with this HTTP status and body means."""
    try:
        status = msgspec.json.decode(body)
    except msgspec.DecodeError:
        status = None
    if isinstance(status, dict) and status.get("kind") == "Status":
        return build_error(status, code)
    text = body[:200].decode(errors="replace").strip()
    message = f"the API server answered {code}"
    return _class_of(code)(f"{message}: {text}" if text else message, code=code)


def build_error(status: dict[str, Any], code: int = 500) -> ApiError:
    """The error that a Status object means."""
    code = status.get("code") or code
    return _class_of(code)(
        status.get("message") or f"the API server answered {code}",
        code=code,
        reason=status.get("reason") or "",
        details=status.get("details"),
    )


def _class_of(code: int) -> type[ApiError]:
    return _BY_CODE.get(code, ApiUnavailableError if code >= 500 else ApiError)
