"""Fixtures of the agent's tests: each gets a discovery, a node and an agent of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from agent_rig import Agent, Discovery, Node


@pytest.fixture
async def discovery(tmp_path: Path) -> AsyncIterator[Discovery]:
    discovery = Discovery(tmp_path)
    await discovery.start()
    yield discovery
    await discovery.stop()


@pytest.fixture
async def node(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Node]:
    # A short path: a socket's has 108 bytes.
    node = Node(tmp_path_factory.mktemp("node"))
    await node.start()
    yield node
    await node.stop()


@pytest.fixture
async def agent(node: Node, discovery: Discovery) -> AsyncIterator[Agent]:
    async with Agent(node, discovery) as agent:
        yield agent
