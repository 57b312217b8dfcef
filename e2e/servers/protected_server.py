"""An MCP server on the official Python SDK that wants tokens itself: `protected_server.py RESOURCE ISSUER`.

RESOURCE is its own address as clients call it. Prints one JSON line with its address, then one for each token that it was
shown, {"token": "good"|"bad"}, and one for each tool that really ran.
"""

import asyncio
import json
import socket
import sys

import jwt
import uvicorn
from mcp.server.auth.provider import AccessToken
from mcp.server.auth.settings import AuthSettings

try:
    from mcp.server.mcpserver import MCPServer as Server  # 2.x
except ModuleNotFoundError:
    from mcp.server.fastmcp import FastMCP as Server  # 1.x

resource, issuer = sys.argv[1], sys.argv[2]
keys = jwt.PyJWKClient(f"{issuer}/jwks")


def say(**line: str) -> None:
    print(json.dumps(line), flush=True)


class Verifier:
    async def verify_token(self, token: str) -> AccessToken | None:
        try:
            key = await asyncio.to_thread(keys.get_signing_key_from_jwt, token)
            claims = jwt.decode(token, key.key, algorithms=["ES256"], audience=resource, issuer=issuer)
        except jwt.PyJWTError:
            say(token="bad")
            return None
        say(token="good")
        return AccessToken(token=token, client_id=claims["sub"], scopes=[], resource=resource)


settings = AuthSettings.model_validate({"issuer_url": issuer, "resource_server_url": resource})
server = Server("protected-notes", log_level="WARNING", auth=settings, token_verifier=Verifier())


@server.tool()
def get_note(id: str) -> str:
    """Read one note."""
    say(ran="get_note")
    return f"the note {id}"


@server.tool()
def delete_note(id: str) -> str:
    """Delete a note for good."""
    say(ran="delete_note")
    return f"deleted {id}"


async def main() -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    host, port = listener.getsockname()
    say(listening=f"{host}:{port}")
    app = server.streamable_http_app()
    config = uvicorn.Config(app, log_level="warning", access_log=False, timeout_graceful_shutdown=1)
    await uvicorn.Server(config).serve(sockets=[listener])


asyncio.run(main())
