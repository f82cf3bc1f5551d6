"""Everything that follows the API's objects beside the node: controllers, garbage collector, host ports.

They share one identity, `system:lateen:controllers`, and end together. The garbage collector reads the store of the
API server in this process; the others are plain clients.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from lateen.cluster.apiserver.server import ApiServer
from lateen.cluster.controllers import loop as controllers
from lateen.cluster.controllers.collector import collect_garbage
from lateen.cluster.host_ports import Dial, HostPorts
from lateen.kube.client import Client


async def run_control_loops(client: Client, api: ApiServer, dial: Dial, *, reserved_ports: Iterable[int] = ()) -> None:
    """Run all of them until cancelled; `dial` reaches pods, `reserved_ports` of the host are for no Service."""
    async with asyncio.TaskGroup() as group:
        group.create_task(controllers.run(client), name="controllers")
        group.create_task(collect_garbage(client, api.store, api.registry), name="garbage")
        group.create_task(HostPorts(client, dial, reserved=reserved_ports).run(), name="host-ports")
