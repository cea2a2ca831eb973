"""What a server tells an editor while a graph runs: each node's texts and pictures, as they come over the websocket."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any, NamedTuple

import aiohttp

from live.server import Server

Told = dict[str, dict[str, Any]]
"""The id of the node on which the editor shows something -> what it shows."""

LONGEST = 600  # seconds that a graph may take


def run_listening(server: Server, prompt: dict[str, Any], client: str = "listener") -> Told:
    """Run a graph as the editor does, and return what it showed on every node. Raises RuntimeError when it fails."""
    return asyncio.run(asyncio.wait_for(_listen(server, prompt, client), LONGEST))


def count_steps(server: Server, prompt: dict[str, Any], client: str = "counter") -> dict[str, int]:
    """Run a graph, and return how many steps each node that ran told of, those included that other nodes became."""
    steps: dict[str, int] = {}

    async def run() -> None:
        async for said in _messages(server, prompt, client):
            if said["type"] == "progress":
                steps[said["data"]["node"]] = said["data"]["max"]

    asyncio.run(asyncio.wait_for(run(), LONGEST))
    return steps


class Work(NamedTuple):
    """What a server did for a graph.

    nodes: those that ran; all others came from the cache.
    pictures: by node, how many an encoder of pictures read in it.
    """

    nodes: set[str]
    pictures: Counter[str]


def run_counting(server: Server, prompt: dict[str, Any], client: str = "counter") -> Work:
    """Run a graph, and return what the server told of its work; a sampler's steps count as pictures too."""
    nodes, pictures = set(), Counter[str]()

    async def run() -> None:
        async for said in _messages(server, prompt, client):
            data = said["data"]
            if said["type"] == "executing" and data["node"]:
                nodes.add(data["node"])
            if said["type"] == "progress" and data["value"] == data["max"]:
                pictures[data["node"]] += data["max"]

    asyncio.run(asyncio.wait_for(run(), LONGEST))
    return Work(nodes, pictures)


async def _listen(server: Server, prompt: dict[str, Any], client: str) -> Told:
    told: Told = {}
    async for said in _messages(server, prompt, client):
        data = said["data"]
        if said["type"] == "executed" and data.get("output"):
            told[data["display_node"]] = told.get(data["display_node"], {}) | data["output"]
    return told


async def _messages(server: Server, prompt: dict[str, Any], client: str) -> AsyncIterator[dict[str, Any]]:
    """What a server says of a graph, until it has run. Raises RuntimeError when it fails."""
    address = f"{server.address.replace('http', 'ws', 1)}/ws?clientId={client}"
    async with aiohttp.ClientSession() as session, session.ws_connect(address, max_msg_size=0) as socket:
        body = {"prompt": prompt, "client_id": client}
        answer = await asyncio.to_thread(server.post, "/prompt", body)
        async for message in socket:
            if message.type is not aiohttp.WSMsgType.TEXT:
                continue
            said = json.loads(message.data)
            data = said.get("data", {})
            if data.get("prompt_id") != answer["prompt_id"]:
                continue
            yield said
            if said["type"] == "execution_success":
                return
            if said["type"] in ("execution_error", "execution_interrupted"):
                raise RuntimeError(data)
    raise RuntimeError("The server hung up.")
