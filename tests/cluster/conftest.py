"""A real API server for each test that asks for one."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from lateen.testing.apiserver import RunningServer, run_apiserver


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[RunningServer]:
    """The API server of a new cluster."""
    async with run_apiserver(tmp_path) as running:
        yield running
