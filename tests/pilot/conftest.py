"""A cluster and a control plane for each test."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from control_plane import Cluster, run_cluster, run_discovery

from lateen.pilot.discovery import Discovery


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[Cluster]:
    async with run_cluster(tmp_path) as running:
        yield running


@pytest.fixture
async def discovery(cluster: Cluster) -> AsyncIterator[Discovery]:
    async with run_discovery(cluster) as running:
        yield running
