"""Refusals as Kubernetes words them: `StatusError` -> a `Status` object that kubectl and client-go understand.

Each builder below is one reason of the API conventions; `details` names the object so that kubectl can
print `Error from server (NotFound): pods "x" not found`, and `causes` lists every field that is wrong.
Clients decide by `reason` and `code`, people read `message`, so both follow apimachinery's `errors` package
to the letter.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from lateen.api.kinds import Kind
from lateen.api.schema.errors import FieldError, format_errors
from lateen.base.errors import LateenError


class StatusError(LateenError):
    """A request that is answered by a `Status` of kind Failure."""

    def __init__(
        self,
        code: int,
        reason: str,
        message: str,
        *,
        details: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.details = dict(details or {})
        self.headers = dict(headers or {})

    def build_status(self) -> dict[str, Any]:
        """The `Status` object that is the response's body.

        It has details even when there are none: kubectl looks into those of a 404 unasked and would crash.
        """
        status: dict[str, Any] = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
            "reason": self.reason,
            "details": self.details,
            "code": self.code,
        }
        return {name: value for name, value in status.items() if value != ""}


def build_success(kind: Kind, name: str, uid: str) -> dict[str, Any]:
    """The `Status` that answers a deletion which left nothing behind."""
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Success",
        "details": _details(kind, name) | {"uid": uid},
    }


def not_found(kind: Kind, name: str) -> StatusError:
    """404: the object does not exist."""
    return StatusError(404, "NotFound", f'{kind.qualified_name} "{name}" not found', details=_details(kind, name))


def no_such_path() -> StatusError:
    """404: nothing is served there."""
    return StatusError(404, "NotFound", "the server could not find the requested resource")


def already_exists(kind: Kind, name: str) -> StatusError:
    """409: the name is taken."""
    message = f'{kind.qualified_name} "{name}" already exists'
    return StatusError(409, "AlreadyExists", message, details=_details(kind, name))


def generated_name_taken(kind: Kind, name: str) -> StatusError:
    """409: every name that was generated is taken; the client may try again."""
    message = f'{kind.qualified_name} "{name}" already exists, the server was not able to generate a unique name'
    return StatusError(409, "AlreadyExists", message, details=_details(kind, name) | {"retryAfterSeconds": 1})


MODIFIED = "the object has been modified; please apply your changes to the latest version and try again"


def conflict(kind: Kind, name: str, why: str = MODIFIED) -> StatusError:
    """409: the write does not fit the object's present state."""
    message = f'Operation cannot be fulfilled on {kind.qualified_name} "{name}": {why}'
    return StatusError(409, "Conflict", message, details=_details(kind, name))


def invalid(kind: Kind, name: str, errors: Sequence[FieldError]) -> StatusError:
    """422: fields are wrong, each named."""
    qualified = f"{kind.kind}.{kind.group}" if kind.group else kind.kind
    details = _details(kind, name) | {"kind": kind.kind, "causes": _build_causes(errors)}
    message = f'{qualified} "{name}" is invalid: {format_errors(errors)}'
    return StatusError(422, "Invalid", message, details=details)


def forbidden(kind: Kind, name: str, why: str, *, causes: Sequence[FieldError] = ()) -> StatusError:
    """403: admission refuses."""
    subject = f'{kind.qualified_name} "{name}"' if name else kind.qualified_name
    details = _details(kind, name)
    if causes:
        details["causes"] = _build_causes(causes)
    return StatusError(403, "Forbidden", f"{subject} is forbidden: {why}", details=details)


def _build_causes(errors: Iterable[FieldError]) -> list[dict[str, str]]:
    causes = [{"reason": error.reason, "message": error.message, "field": error.path} for error in errors]
    return [{name: value for name, value in cause.items() if value} for cause in causes]


def unauthorized() -> StatusError:
    """401: the credentials are not valid."""
    return StatusError(401, "Unauthorized", "Unauthorized", headers={"WWW-Authenticate": "Bearer"})


def bad_request(message: str) -> StatusError:
    """400: the request makes no sense."""
    return StatusError(400, "BadRequest", message)


def method_not_allowed(kind: Kind, verb: str) -> StatusError:
    """405: the resource knows no such verb."""
    message = f'{verb} is not supported on resources of kind "{kind.qualified_name}"'
    return StatusError(405, "MethodNotAllowed", message, details=_details(kind, ""))


def not_acceptable(accepted: Iterable[str]) -> StatusError:
    """406: no media type that the client takes is offered."""
    message = f"only the following media types are accepted: {', '.join(accepted)}"
    return StatusError(406, "NotAcceptable", message)


def unsupported_media_type(accepted: Iterable[str]) -> StatusError:
    """415: the body is in a format that is not understood."""
    message = "the body of the request was in an unknown format - accepted media types include: " + ", ".join(accepted)
    return StatusError(415, "UnsupportedMediaType", message)


def too_large(limit_bytes: int) -> StatusError:
    """413: the body has more bytes than are read."""
    return StatusError(413, "RequestEntityTooLarge", f"Request entity too large: limit is {limit_bytes}", details={})


def expired(message: str) -> StatusError:
    """410: the history asked for is compacted; the client lists again."""
    return StatusError(410, "Expired", message)


def version_too_large(wanted: int, current: int) -> StatusError:
    """504: the client saw a later version than the server has; it may try again."""
    message = f"Timeout: Too large resource version: {wanted}, current: {current}"
    cause = {"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}
    details = {"causes": [cause], "retryAfterSeconds": 1}
    return StatusError(504, "Timeout", message, details=details)


def internal_error(message: str) -> StatusError:
    """500: something failed that the client cannot repair."""
    cause = {"reason": "InternalError", "message": message}
    return StatusError(500, "InternalError", f"Internal error occurred: {message}", details={"causes": [cause]})


def unavailable(message: str) -> StatusError:
    """503: something is not there at the moment."""
    return StatusError(503, "ServiceUnavailable", message)


def _details(kind: Kind, name: str) -> dict[str, Any]:
    details = {"name": name, "group": kind.group, "kind": kind.plural}
    return {key: value for key, value in details.items() if value}
