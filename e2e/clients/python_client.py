"""A client on the official Python SDK, 1.x or 2.x: `python_client.py URL auto|legacy`.

Reads one JSON object per line, {"step", "do": "open"|"list"|"call"|"close", "tool", "arguments"}, does it on the one
session, and prints one JSON line with the outcome. What went wrong is an outcome; only the end of input ends it.
"""

import asyncio
import json
import os
import sys
from contextlib import AsyncExitStack
from typing import Any

import wallet

TIMEOUT = 90
url, mode = sys.argv[1], sys.argv[2]


async def open_v1(stack: AsyncExitStack, auth: Any) -> Any:
    from mcp import ClientSession
    import httpx
    from mcp.client.streamable_http import streamable_http_client

    http = None if auth is None else await stack.enter_async_context(httpx.AsyncClient(auth=auth, timeout=TIMEOUT))
    read, write, _ = await stack.enter_async_context(streamable_http_client(url, http_client=http))
    session = await stack.enter_async_context(ClientSession(read, write))
    await session.initialize()
    return session


async def open_session(stack: AsyncExitStack) -> Any:
    auth = wallet.of_environment(url)
    try:
        from mcp import Client  # 2.x
    except ImportError:
        return await open_v1(stack, auth)
    if auth is None:
        return await stack.enter_async_context(Client(url, mode=mode))
    import httpx2
    from mcp.client.streamable_http import streamable_http_client

    http = await stack.enter_async_context(httpx2.AsyncClient(auth=auth, timeout=TIMEOUT))
    return await stack.enter_async_context(Client(streamable_http_client(url, http_client=http), mode=mode))


def failure(error: BaseException) -> dict[str, Any]:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    detail = getattr(error, "error", None)
    if detail is not None and hasattr(detail, "code"):
        return {"outcome": "error", "code": detail.code, "message": detail.message, "data": detail.data}
    return {"outcome": "broken", "message": f"{type(error).__name__}: {error}"}


async def do(session: Any, order: dict[str, Any]) -> dict[str, Any]:
    if order["do"] == "list":
        listed = await session.list_tools()
        return {"outcome": "ok", "tools": sorted(tool.name for tool in listed.tools)}
    result = await session.call_tool(order["tool"], order["arguments"])
    is_error = getattr(result, "is_error", None) or getattr(result, "isError", False)
    text = result.content[0].text if result.content else ""
    return {"outcome": "tool_error" if is_error else "ok", "text": text}


async def main() -> None:
    loop = asyncio.get_running_loop()
    stack, session = AsyncExitStack(), None
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        order = json.loads(line)
        try:
            async with asyncio.timeout(TIMEOUT):
                if order["do"] == "open":
                    session = await open_session(stack)
                    outcome: dict[str, Any] = {"outcome": "ok"}
                elif order["do"] == "close":
                    await stack.aclose()
                    outcome = {"outcome": "ok"}
                else:
                    outcome = await do(session, order)
        except TimeoutError:
            outcome = {"outcome": "broken", "message": f"no answer in {TIMEOUT} s"}
        except Exception as error:
            outcome = failure(error)
        except asyncio.CancelledError:
            # 1.x answers a status it does not expect by cancelling whoever holds the session: it is lost.
            outcome = {"outcome": "broken", "message": "the session was cancelled"}
        print(json.dumps({"step": order["step"], **outcome}), flush=True)
        if order["do"] == "close":
            return
    os._exit(0)  # of a broken session nothing can be closed in order


asyncio.run(main())
