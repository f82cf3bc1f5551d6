"""The bearer token of a client: fixed, or from a file that somebody rotates.

A file is read again when it changed, so a projected token is renewed without a restart; one `stat` per
request.
"""

from __future__ import annotations

from lateen.base.errors import UnavailableError
from lateen.kube.config import ClientConfig


class TokenSource:
    """Tells the current token."""

    def __init__(self, config: ClientConfig) -> None:
        self._token = config.token
        self._file = config.token_file
        self._seen: tuple[int, int] | None = None

    def find_token(self) -> str | None:
        """The token to send now, None for a client that shows a certificate or nothing."""
        if self._file is None:
            return self._token
        try:
            status = self._file.stat()
            if (seen := (status.st_ino, status.st_mtime_ns)) != self._seen:
                self._token = self._file.read_text().strip()
                self._seen = seen
        except OSError as error:
            raise UnavailableError(f"token file {self._file}: {error.strerror}") from error
        return self._token
