"""An MCP server on the official Python SDK, 1.x or 2.x, over Streamable HTTP with sessions.

Prints one JSON line with its address, then one for each tool that really ran: what a waypoint let through.
"""

import asyncio
import json
import os
import socket
import sys

import uvicorn

try:
    from mcp.server.mcpserver import MCPServer as Server  # 2.x
except ModuleNotFoundError:
    from mcp.server.fastmcp import FastMCP as Server  # 1.x


def ran(tool: str, **arguments: str) -> None:
    print(json.dumps({"ran": tool, "arguments": arguments}), flush=True)


server = Server("python-notes", log_level="WARNING")


@server.tool(description=os.environ.get("E2E_DESCRIPTION", "Read one note."))
def get_note(id: str) -> str:
    ran("get_note", id=id)
    return f"the note {id}"


@server.tool()
def create_note(owner: str, text: str) -> str:
    """Write a new note."""
    ran("create_note", owner=owner, text=text)
    return f"created for {owner}"


@server.tool()
def delete_note(id: str) -> str:
    """Delete a note for good."""
    ran("delete_note", id=id)
    return f"deleted {id}"


async def main() -> None:
    listener = socket.create_server(("127.0.0.1", int(sys.argv[1]) if len(sys.argv) > 1 else 0))
    host, port = listener.getsockname()
    print(json.dumps({"listening": f"{host}:{port}"}), flush=True)
    app = server.streamable_http_app()
    config = uvicorn.Config(app, log_level="warning", access_log=False, timeout_graceful_shutdown=1)
    await uvicorn.Server(config).serve(sockets=[listener])


asyncio.run(main())
