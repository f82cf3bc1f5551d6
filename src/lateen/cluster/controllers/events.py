"""Events: what a controller reports of an object -> the Event that `kubectl describe` lists below it.

Source: Kubernetes API reference v1.34, `core/v1` Event. Where we differ: the same event again is another Event.
"""

from __future__ import annotations

from datetime import datetime

from lateen.api.objects import JsonObject, name_of, namespace_of, uid_of
from lateen.cluster.controllers.actions import Report
from lateen.cluster.controllers.pod_states import format_time

_LONGEST_MESSAGE = 1024


def build_event(report: Report, *, name: str, serial: int, now: datetime) -> JsonObject:
    """The Event; `name` stands for `{name}` in the message, `serial` makes the Event's own name differ from others."""
    about, moment = report.document, format_time(now)
    namespace, component = namespace_of(about), f"{report.kind.kind.lower()}-controller"
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"namespace": namespace, "name": f"{name_of(about)}.{serial:x}"},
        "involvedObject": {
            "apiVersion": report.kind.api_version,
            "kind": report.kind.kind,
            "namespace": namespace,
            "name": name_of(about),
            "uid": uid_of(about),
        },
        "reason": report.reason,
        "message": report.message.replace("{name}", name)[:_LONGEST_MESSAGE],
        "type": "Warning" if report.warning else "Normal",
        "source": {"component": component},
        "reportingComponent": component,
        "firstTimestamp": moment,
        "lastTimestamp": moment,
        "count": 1,
    }
