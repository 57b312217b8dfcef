"""What a Python client knows of tokens: a browser that always says yes, and a place for what it gets."""

import os
import urllib.parse
import urllib.request
from typing import Any

REDIRECT = "http://127.0.0.1:1/callback"


class NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        return None


class Wallet:
    def __init__(self, token: str) -> None:
        from mcp.shared.auth import OAuthToken

        self.tokens = OAuthToken(access_token=token) if token else None
        self.client: Any = None
        self.code = self.state = ""

    async def get_tokens(self) -> Any:
        return self.tokens

    async def set_tokens(self, tokens: Any) -> None:
        self.tokens = tokens

    async def get_client_info(self) -> Any:
        return self.client

    async def set_client_info(self, client: Any) -> None:
        self.client = client

    async def redirected(self, url: str) -> None:
        try:
            urllib.request.build_opener(NoRedirect).open(url, timeout=60)
        except urllib.error.HTTPError as answer:
            said = urllib.parse.parse_qs(urllib.parse.urlsplit(answer.headers["location"]).query)
            self.code, self.state = said["code"][0], said["state"][0]

    async def came_back(self) -> Any:
        try:
            from mcp.client.auth import AuthorizationCodeResult  # 2.x
        except ImportError:
            return self.code, self.state
        return AuthorizationCodeResult(code=self.code, state=self.state)


def of_environment(url: str) -> Any:
    """The SDK's own OAuth client with the token of E2E_TOKEN, which may be empty: none yet. None without it."""
    token = os.environ.get("E2E_TOKEN")
    if token is None:
        return None
    from mcp.client.auth import OAuthClientProvider
    from mcp.shared.auth import OAuthClientMetadata

    wallet = Wallet(token)
    said = {"client_name": "e2e", "redirect_uris": [REDIRECT], "grant_types": ["authorization_code", "refresh_token"]}
    metadata = OAuthClientMetadata.model_validate({**said, "token_endpoint_auth_method": "none"})
    return OAuthClientProvider(url, metadata, wallet, wallet.redirected, wallet.came_back)
