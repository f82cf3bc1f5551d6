"""What our `curl` knows of a transfer, and how `-w` prints it.

Source: curl's manual page, `--write-out`. Variables that it does not know print nothing.
"""

from __future__ import annotations

import re
import time
from dataclasses import dataclass, field


@dataclass
class Outcome:
    """What `-w` may print of a request."""

    status: int = 0
    sent_to: str = ""
    size: int = 0
    started: float = field(default_factory=time.monotonic)
    connected: float = 0.0
    resolved: float = 0.0
    first_byte: float = 0.0
    redirects: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    version: str = "0"
    method: str = ""
    url: str = ""
    redirect_url: str = ""
    exit_code: int = 0
    message: str = ""

    def format(self, template: str) -> str:
        """Expand `%{name}`, `%header{name}` and the escapes of `-w`."""
        ended = time.monotonic()
        values = {
            "http_code": f"{self.status:03d}",
            "response_code": f"{self.status:03d}",
            "http_version": self.version,
            "method": self.method,
            "url_effective": self.url,
            "redirect_url": self.redirect_url,
            "exitcode": str(self.exit_code),
            "errormsg": self.message,
            "size_download": str(self.size),
            "remote_ip": self.sent_to.rpartition(":")[0],
            "remote_port": self.sent_to.rpartition(":")[2],
            "num_redirects": str(self.redirects),
            "content_type": self.headers.get("content-type", ""),
            "time_total": f"{ended - self.started:.6f}",
            "time_namelookup": f"{max(0.0, self.resolved - self.started):.6f}",
            "time_connect": f"{max(0.0, self.connected - self.started):.6f}",
            "time_starttransfer": f"{max(0.0, self.first_byte - self.started):.6f}",
        }
        text = re.sub(r"%header\{([^}]+)\}", lambda match: self.headers.get(match[1].lower(), ""), template)
        text = re.sub(r"%\{(\w+)\}", lambda match: values.get(match[1], ""), text)
        return text.replace("\\n", "\n").replace("\\t", "\t").replace("\\r", "\r").replace("%%", "%")
