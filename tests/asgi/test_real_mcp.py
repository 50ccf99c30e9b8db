"""The official MCP server on our engine, driven by its own client: streamable HTTP, and the older SSE transport."""

from __future__ import annotations

from typing import Any

import pytest
from mcp import ClientSession
from mcp.client.client import Client
from mcp.client.sse import sse_client
from mcp.server.mcpserver import Context, MCPServer

from tests.asgi.both import Way, served
from tests.loops import run

WAYS = (Way("plain"), Way("behind-middleware", wrapped=True))


def make() -> MCPServer[Any]:
    server: MCPServer[Any] = MCPServer("sums")

    @server.tool()
    def add(a: int, b: int) -> int:
        """The sum."""
        return a + b

    @server.tool()
    async def count(to: int, context: Context[Any, Any]) -> str:
        """Counts, and says how far it is."""
        for number in range(to):
            await context.report_progress(number + 1, to)
        return "done"

    @server.tool()
    def fail() -> str:
        """Fails."""
        raise LookupError("nothing here")

    @server.resource("note://{name}")
    def note(name: str) -> str:
        """A note."""
        return f"about {name}"

    return server


async def talk(client: Any, *, streams: bool = True) -> None:
    """The same with either transport."""
    tools = await client.list_tools()
    assert sorted(tool.name for tool in tools.tools) == ["add", "count", "fail"]
    answer = await client.call_tool("add", {"a": 2, "b": 40})
    assert answer.content[0].text == "42"
    assert (await client.call_tool("fail", {})).is_error
    seen: list[float] = []

    async def progress(done: float, total: float | None, message: str | None) -> None:
        seen.append(done)

    await client.call_tool("count", {"to": 5}, progress_callback=progress)
    # An answer that is one JSON document has no room for it.
    assert seen == ([1, 2, 3, 4, 5] if streams else [])
    assert (await client.read_resource("note://x")).contents[0].text == "about x"


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.name)
@pytest.mark.parametrize("options", [{}, {"json_response": True}, {"stateless_http": True}], ids=str)
@pytest.mark.parametrize("mode", ["auto", "legacy"])
def test_streamable_http(way: Way, options: dict[str, Any], mode: Any) -> None:
    async def body(port: int) -> None:
        async with Client(f"http://127.0.0.1:{port}/mcp", mode=mode) as client:
            await talk(client, streams="json_response" not in options)

    with served(make().streamable_http_app(**options), way) as server:
        run(body(server.port))


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.name)
def test_sse(way: Way) -> None:
    async def body(port: int) -> None:
        async with sse_client(f"http://127.0.0.1:{port}/sse") as streams, ClientSession(*streams) as session:
            await session.initialize()
            await talk(session)

    with served(make().sse_app(), way) as server:
        run(body(server.port))
