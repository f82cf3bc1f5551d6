"""The framing of `pods/exec` and `attach` over WebSocket, subprotocol v5.channel.k8s.io.

Each binary message is one channel byte followed by data: 0 standard input, 1 standard output, 2 standard
error, 3 the final Status as JSON, 4 a terminal size as JSON (`Width`, `Height`); 255 followed by a channel
byte closes that channel, which is how version 5 ends standard input. Source: Kubernetes' remotecommand constants
and KEP-4006. Used by the API server and by the `lateen` command.
"""

from __future__ import annotations

import json
from typing import Any, Final

PROTOCOL: Final = "v5.channel.k8s.io"
# An older client offers version 4, which differs only in that it cannot close a channel.
PROTOCOLS: Final = (PROTOCOL, "v4.channel.k8s.io")
STDIN: Final = 0
STDOUT: Final = 1
STDERR: Final = 2
ERROR: Final = 3
RESIZE: Final = 4
CLOSE: Final = 255


def encode_frame(channel: int, data: bytes) -> bytes:
    """One message of a channel."""
    return bytes((channel,)) + data


def decode_frame(message: bytes) -> tuple[int, bytes]:
    """Channel and data of one message; an empty message is channel 0 without data."""
    return (message[0], message[1:]) if message else (STDIN, b"")


def build_status(exit_code: int) -> dict[str, Any]:
    """The Status that ends a stream: Success, or NonZeroExitCode with the code as a cause."""
    if exit_code == 0:
        return {"metadata": {}, "status": "Success"}
    return {
        "metadata": {},
        "status": "Failure",
        "message": f"command terminated with non-zero exit code: exit status {exit_code}",
        "reason": "NonZeroExitCode",
        "details": {"causes": [{"reason": "ExitCode", "message": str(exit_code)}]},
    }


def encode_status(status: dict[str, Any]) -> bytes:
    """The error channel's message for a Status."""
    return encode_frame(ERROR, json.dumps(status).encode())


def exit_code_of(status: dict[str, Any]) -> int | None:
    """Exit code that a final Status tells; None when it tells a failure to run the command at all."""
    if status.get("status") == "Success":
        return 0
    for cause in status.get("details", {}).get("causes", []):
        if cause.get("reason") == "ExitCode":
            return int(cause["message"])
    return None
