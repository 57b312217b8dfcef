"""An issuer of tokens (RS256), by openssl."""

from __future__ import annotations

import base64
import json
import subprocess
import time
from pathlib import Path
from typing import Any


def encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


class Issuer:
    """One key; `jwks` is its public half as one line of JSON."""

    def __init__(self, folder: Path, name: str = "idp") -> None:
        self.name = f"https://{name}.example"
        self.key = folder / f"{name}.key"
        subprocess.run(["openssl", "genrsa", "-out", str(self.key), "2048"], check=True, capture_output=True)
        shown = subprocess.run(["openssl", "rsa", "-in", str(self.key), "-noout", "-modulus"], check=True, capture_output=True, text=True)
        modulus = encoded(bytes.fromhex(shown.stdout.strip().split("=")[1]))
        self.jwks = json.dumps({"keys": [{"kty": "RSA", "alg": "RS256", "use": "sig", "kid": name, "n": modulus, "e": "AQAB"}]})
        self.kid = name

    def token(self, seconds: int = 3600, **claims: Any) -> str:
        """Of `claims` beside the usual ones, good for `seconds`; a claim that is None is left out."""
        now = int(time.time())
        said = {"iss": self.name, "sub": "alice", "iat": now - 60, "exp": now + seconds, **claims}
        said = {name: value for name, value in said.items() if value is not None}
        head = {"alg": "RS256", "typ": "JWT", "kid": self.kid}
        text = ".".join(encoded(json.dumps(part).encode()) for part in (head, said))
        signed = subprocess.run(["openssl", "dgst", "-sha256", "-sign", str(self.key)], input=text.encode(), check=True, capture_output=True)
        return f"{text}.{encoded(signed.stdout)}"
