"""Reads rows {"body", "method", "tool", "arguments"} as JSON lines (body in base64) and says for each whether the
official Python SDK (1.x or 2.x, whichever this interpreter has), and Python's own parser with number texts kept, find
exactly that call in the body: {"fault": null} or why not."""

import base64
import json
import sys
from typing import Any

try:
    from mcp_types import CallToolRequestParams  # 2.x
    from mcp_types.jsonrpc import jsonrpc_message_adapter

    def sdk_message(body: bytes) -> Any:
        return jsonrpc_message_adapter.validate_json(body)

except ModuleNotFoundError:
    from mcp.types import CallToolRequestParams, JSONRPCMessage  # 1.x

    def sdk_message(body: bytes) -> Any:
        return JSONRPCMessage.model_validate_json(body).root


class Text(str):
    """A number by its text, so that 1.50 is not 1.5 and 30 digits stay 30 digits."""


def texts(body: str | bytes) -> Any:
    return json.loads(body, parse_float=Text, parse_int=Text)


def fault(row: dict[str, Any]) -> str | None:
    body = base64.b64decode(row["body"])
    plain = texts(body)
    params = plain.get("params", {})
    want = None if row["arguments"] is None else texts(row["arguments"])
    found = (plain["method"], params.get("name"), params.get("arguments"))
    if found != (row["method"], row["tool"], want):
        return f"json finds {found}"
    message = sdk_message(body)
    if message.method != row["method"]:
        return f"the SDK finds method {message.method}"
    if row["method"] == "tools/call":
        call = CallToolRequestParams.model_validate(message.params)
        want = None if row["arguments"] is None else json.loads(row["arguments"])
        if (call.name, call.arguments) != (row["tool"], want):
            return f"the SDK finds {call.name} {call.arguments}"
    return None


for line in sys.stdin:
    try:
        print(json.dumps({"fault": fault(json.loads(line))}))
    except Exception as error:
        print(json.dumps({"fault": f"{type(error).__name__}: {error}"}))
