"""The Kubernetes API, as JSON over HTTPS: what kubectl would do, without kubectl."""

from __future__ import annotations

import http.client
import json
import ssl
import threading
import time
import urllib.parse
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

Object = dict[str, Any]

MERGE = "application/merge-patch+json"
APPLY = "application/apply-patch+yaml"
TIMEOUT = 120.0


class ApiError(Exception):
    """An answer of 400 or above, with the server's own words."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"{status}: {message}")
        self.status = status
        self.message = message


class Api:
    """One user's view of the API server. Safe to use from several threads."""

    def __init__(self, host: str, port: int, ca: Path, token: str) -> None:
        self.host, self.port, self.token, self.ca = host, port, token, ca
        self._local = threading.local()
        self._kinds: dict[tuple[str, str], tuple[str, bool]] = {}

    def as_user(self, token: str) -> Api:
        """The same server, somebody else's token."""
        return Api(self.host, self.port, self.ca, token)

    # -- requests

    def _connection(self) -> http.client.HTTPSConnection:
        known = getattr(self._local, "connection", None)
        if known is None:
            context = ssl.create_default_context(cafile=str(self.ca))
            known = http.client.HTTPSConnection(self.host, self.port, context=context, timeout=TIMEOUT)
            self._local.connection = known
        return known

    def request(self, method: str, path: str, body: Any = None, content: str = "application/json", **query: str) -> Object:
        """One request; a connection that the server has closed meanwhile is opened again once."""
        if query:
            path = f"{path}?{urllib.parse.urlencode(query)}"
        headers = {"Authorization": f"Bearer {self.token}", "Accept": "application/json"}
        data = None
        if body is not None:
            data = json.dumps(body)
            headers["Content-Type"] = content
        for attempt in (1, 2):
            connection = self._connection()
            fresh = connection.sock is None
            try:
                connection.request(method, path, data, headers)
                answer = connection.getresponse()
                text = answer.read()
                break
            except (OSError, http.client.HTTPException):
                connection.close()
                if fresh or attempt == 2:
                    raise
        try:
            value = json.loads(text) if text else {}
        except json.JSONDecodeError:
            value = {"message": text.decode(errors="replace")}
        if answer.status >= 400:
            raise ApiError(answer.status, value.get("message", "") if isinstance(value, dict) else str(value))
        return value

    # -- where things are

    def path(self, api_version: str, kind: str, namespace: str | None = None, name: str | None = None) -> str:
        """The path of a kind's collection or of one object."""
        plural, namespaced = self._kind(api_version, kind)
        path = f"/api/{api_version}" if "/" not in api_version else f"/apis/{api_version}"
        if namespaced and namespace is not None:
            path += f"/namespaces/{namespace}"
        return f"{path}/{plural}" + (f"/{name}" if name else "")

    def _kind(self, api_version: str, kind: str) -> tuple[str, bool]:
        if (api_version, kind) not in self._kinds:
            path = f"/api/{api_version}" if "/" not in api_version else f"/apis/{api_version}"
            for one in self.request("GET", path)["resources"]:
                if "/" not in one["name"]:
                    self._kinds[api_version, one["kind"]] = (one["name"], one["namespaced"])
        if (api_version, kind) not in self._kinds:
            raise ApiError(404, f"the server has no kind {kind} in {api_version}")
        return self._kinds[api_version, kind]

    # -- objects

    def get(self, api_version: str, kind: str, namespace: str | None, name: str) -> Object:
        return self.request("GET", self.path(api_version, kind, namespace, name))

    def find(self, api_version: str, kind: str, namespace: str | None, name: str) -> Object | None:
        """The object, or None where there is none."""
        try:
            return self.get(api_version, kind, namespace, name)
        except ApiError as error:
            if error.status == 404:
                return None
            raise

    def list(self, api_version: str, kind: str, namespace: str | None = None, **query: str) -> list[Object]:
        """All objects, of one namespace or of all; from the server's cache."""
        query.setdefault("resourceVersion", "0")
        found = self.request("GET", self.path(api_version, kind, namespace), **query)["items"]
        for one in found:
            one.setdefault("apiVersion", api_version)
            one.setdefault("kind", kind)
        return found

    def create(self, one: Object) -> Object:
        meta = one["metadata"]
        return self.request("POST", self.path(one["apiVersion"], one["kind"], meta.get("namespace")), one)

    def apply(self, one: Object, manager: str = "lab", subresource: str = "") -> Object:
        """Server-side apply, as `kubectl apply --server-side --force-conflicts`."""
        meta = one["metadata"]
        path = self.path(one["apiVersion"], one["kind"], meta.get("namespace"), meta["name"]) + subresource
        return self.request("PATCH", path, one, APPLY, fieldManager=manager, force="true")

    def patch(self, one: Object, change: Object, subresource: str = "") -> Object:
        """A merge patch."""
        meta = one["metadata"]
        path = self.path(one["apiVersion"], one["kind"], meta.get("namespace"), meta["name"]) + subresource
        return self.request("PATCH", path, change, MERGE)

    def delete(self, one: Object, grace: int | None = None) -> None:
        """Deletes; what is gone already is fine."""
        meta = one["metadata"]
        query = {} if grace is None else {"gracePeriodSeconds": str(grace)}
        try:
            path = self.path(one["apiVersion"], one["kind"], meta.get("namespace"), meta["name"])
            self.request("DELETE", path, **query)
        except ApiError as error:
            if error.status != 404:
                raise

    def token_of(self, namespace: str, account: str, audience: str, seconds: int = 3600, pod: Object | None = None) -> str:
        """A ServiceAccount's token by TokenRequest; bound to a pod, as the kubelet's are, if one is given."""
        spec: Object = {"audiences": [audience] if audience else [], "expirationSeconds": seconds}
        if pod is not None:
            meta = pod["metadata"]
            spec["boundObjectRef"] = {"apiVersion": "v1", "kind": "Pod", "name": meta["name"], "uid": meta["uid"]}
        request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec}
        path = self.path("v1", "ServiceAccount", namespace, account) + "/token"
        return self.request("POST", path, request)["status"]["token"]


# How many times as long as on a machine of its own something may take, and seconds that anything may.
PATIENT, AT_LEAST = 6, 90.0


def eventually(what: str, seconds: float, ask: Callable[[], Any], pause: float = 0.1) -> Any:
    """Asks until the answer is true; says what never came true, and the last error.

    `seconds` are what it takes at most on a machine of its own. Tests share one with whoever: they wait longer.
    """
    seconds = max(PATIENT * seconds, AT_LEAST)
    end = time.monotonic() + seconds
    last: Exception | None = None
    while True:
        try:
            answer = ask()
            last = None
            if answer:
                return answer
        except (ApiError, OSError, http.client.HTTPException, AssertionError, LookupError, StopIteration) as error:
            last = error
        if time.monotonic() > end:
            raise AssertionError(f"not within {seconds:g} s: {what}" + (f" (last: {last!r})" if last else ""))
        time.sleep(pause)


def two_seconds(api: Api) -> float:
    """What two seconds of a quiet machine are on this one now, by what a request to the API server takes that takes 5 ms there."""
    took = []
    for _ in range(20):
        began = time.monotonic()
        api.get("v1", "Namespace", None, "default")
        took.append(time.monotonic() - began)
    return max(2.0, 400 * sorted(took)[len(took) // 2])


def selected(labels: Object | None, selector: Object | None) -> bool:
    """Whether labels satisfy `matchLabels`; an empty selector selects nothing here."""
    return bool(selector) and all((labels or {}).get(key) == value for key, value in selector.items())


def of_kind(objects: Iterable[Object], *kinds: str) -> Iterator[Object]:
    return (one for one in objects if one.get("kind") in kinds)


def ready(pod: Object) -> bool:
    conditions = pod.get("status", {}).get("conditions") or []
    return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)


def condition(one: Object, kind: str) -> Object | None:
    """A condition of an object's status by its type."""
    return next((c for c in (one.get("status") or {}).get("conditions") or [] if c["type"] == kind), None)
