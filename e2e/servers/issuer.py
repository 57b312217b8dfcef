"""A small OAuth 2.1 authorization server that says yes to everybody, as alice.

Prints one JSON line with its address, then {"asked": PATH} for each request that is part of a client's way to a token.
`/mint?aud=..&kind=good|expired|wrong` gives tokens that no flow gives: `wrong` is signed with a key that nobody knows.
"""

import base64
import json
import secrets
import time
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec

KEY, OTHER = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
codes: dict[str, str] = {}


def print_line(**line: str) -> None:
    print(json.dumps(line), flush=True)


def number(value: int) -> str:
    return base64.urlsafe_b64encode(value.to_bytes(32, "big")).rstrip(b"=").decode()


def token(issuer: str, audience: str, kind: str = "good") -> str:
    now = int(time.time())
    claims = {"iss": issuer, "sub": "alice", "aud": audience, "iat": now - 7200}
    claims["exp"] = now - 3600 if kind == "expired" else now + 3600
    return jwt.encode(claims, OTHER if kind == "wrong" else KEY, algorithm="ES256", headers={"kid": "1"})


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    @property
    def issuer(self) -> str:
        return "http://127.0.0.1:%d" % self.server.server_address[1]

    def do_GET(self) -> None:
        url = urllib.parse.urlsplit(self.path)
        query = {name: values[0] for name, values in urllib.parse.parse_qs(url.query).items()}
        match url.path:
            case "/jwks":
                at = KEY.public_key().public_numbers()
                key = {"kty": "EC", "crv": "P-256", "alg": "ES256", "kid": "1", "x": number(at.x), "y": number(at.y)}
                self.answer(200, {"keys": [key]})
            case "/mint":
                self.answer(200, {"token": token(self.issuer, query["aud"], query["kind"])})
            case "/.well-known/oauth-authorization-server" | "/.well-known/openid-configuration":
                ends = {f"{name}_endpoint": f"{self.issuer}/{path}" for name, path in ENDPOINTS.items()}
                self.answer(200, {"issuer": self.issuer, **ends, **ABLE})
            case "/authorize":
                print_line(asked=url.path)
                code = secrets.token_hex(16)
                codes[code] = query["resource"]
                said = urllib.parse.urlencode({"code": code, "state": query.get("state", "")})
                self.answer(302, {}, f"{query['redirect_uri']}?{said}")
            case _:
                self.answer(404, {})

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"])).decode()
        print_line(asked=self.path)
        if self.path == "/register":
            self.answer(201, {**json.loads(body), "client_id": "e2e"})
        elif self.path == "/token":
            said = {name: values[0] for name, values in urllib.parse.parse_qs(body).items()}
            audience = codes.pop(said["code"])
            answer = {"access_token": token(self.issuer, audience), "token_type": "Bearer", "expires_in": 3600}
            self.answer(200, answer)
        else:
            self.answer(404, {})

    def answer(self, status: int, body: dict[str, Any], location: str | None = None) -> None:
        text = json.dumps(body).encode()
        self.send_response(status)
        if location:
            self.send_header("location", location)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_: object) -> None:
        pass


ENDPOINTS = {"authorization": "authorize", "token": "token", "registration": "register"}
ABLE = {
    "response_types_supported": ["code"],
    "grant_types_supported": ["authorization_code"],
    "code_challenge_methods_supported": ["S256"],
    "token_endpoint_auth_methods_supported": ["none"],
    "jwks_uri": "",
    "subject_types_supported": ["public"],
    "id_token_signing_alg_values_supported": ["ES256"],
}
server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
ABLE["jwks_uri"] = f"http://127.0.0.1:{server.server_address[1]}/jwks"
print_line(listening=f"127.0.0.1:{server.server_address[1]}")
server.serve_forever()
