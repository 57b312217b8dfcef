"""What a kubelet makes of a pod's volumes and variables: files and strings, read from the API server."""

from __future__ import annotations

import base64
import os
from pathlib import Path

from .api import Api, Object

SA_MOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"


class Missing(Exception):
    """A ConfigMap, Secret or key that is not there (yet)."""


def write(path: Path, data: bytes) -> None:
    """In one step, as the kubelet does: a reader sees the old or the new file, never half of one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists() and path.read_bytes() == data:
        return
    beside = path.with_name(f".{path.name}.new")
    beside.write_bytes(data)
    beside.chmod(0o644)
    os.replace(beside, path)


def fill(api: Api, pod: Object, volume: Object, at: Path, fresh: bool) -> None:
    """Writes one volume. `fresh` asks for new tokens too."""
    at.mkdir(parents=True, exist_ok=True)
    if "emptyDir" in volume:
        at.chmod(0o1777)
    for source in volume.get("projected", {}).get("sources", [volume]):
        _source(api, pod, source, at, fresh)


def _source(api: Api, pod: Object, source: Object, at: Path, fresh: bool) -> None:
    namespace = pod["metadata"]["namespace"]
    if token := source.get("serviceAccountToken"):
        path = at / token["path"]
        if fresh or not path.exists():
            seconds = max(600, token.get("expirationSeconds", 3600))
            account = pod["spec"].get("serviceAccountName", "default")
            write(path, api.token_of(namespace, account, token.get("audience", ""), seconds, pod).encode())
    if config := source.get("configMap"):
        for name, data in _map(api, "ConfigMap", namespace, config).items():
            write(at / name, data)
    if secret := source.get("secret"):
        named = {**secret, "name": secret.get("name") or secret.get("secretName")}
        for name, data in _map(api, "Secret", namespace, named).items():
            write(at / name, data)
    if downward := source.get("downwardAPI"):
        for item in downward.get("items", []):
            write(at / item["path"], _downward(pod, item).encode())


def _map(api: Api, kind: str, namespace: str, source: Object) -> dict[str, bytes]:
    found = api.find("v1", kind, namespace, source["name"])
    if found is None:
        if source.get("optional"):
            return {}
        raise Missing(f"{kind} {namespace}/{source['name']}")
    data = {name: text.encode() for name, text in found.get("data", {}).items()} if kind == "ConfigMap" else {}
    coded = found.get("data" if kind == "Secret" else "binaryData", {})
    data.update({name: base64.b64decode(text) for name, text in coded.items()})
    items = source.get("items")
    if not items:
        return data
    return {item["path"]: data[item["key"]] for item in items if item["key"] in data}


def _downward(pod: Object, item: Object) -> str:
    if "fieldRef" in item:
        return field(pod, item["fieldRef"]["fieldPath"])
    return resource(pod, item["resourceFieldRef"])


def field(pod: Object, path: str) -> str:
    """The downward API's fields."""
    meta, spec, status = pod["metadata"], pod["spec"], pod.get("status", {})
    for prefix in ("labels", "annotations"):
        if path.startswith(f"metadata.{prefix}["):
            return meta.get(prefix, {}).get(path.split("'")[1], "")
    if path in ("metadata.labels", "metadata.annotations"):
        return "".join(f'{k}="{v}"\n' for k, v in sorted(meta.get(path.split(".")[1], {}).items()))
    values = {
        "metadata.name": meta["name"], "metadata.namespace": meta["namespace"], "metadata.uid": meta["uid"],
        "spec.nodeName": spec.get("nodeName", ""), "spec.serviceAccountName": spec.get("serviceAccountName", "default"),
        "status.podIP": status.get("podIP", ""), "status.podIPs": status.get("podIP", ""),
        "status.hostIP": status.get("hostIP", ""),
    }
    return values[path]


def resource(pod: Object, reference: Object) -> str:
    """Limits are whole numbers there: cores rounded up, bytes."""
    if "cpu" in reference["resource"]:
        return str(os.cpu_count() or 1)
    return str(1 << 30)


def environment(api: Api, pod: Object, container: Object) -> dict[str, str]:
    """The variables of a container, `$(NAME)` expanded."""
    namespace = pod["metadata"]["namespace"]
    env = {"KUBERNETES_SERVICE_HOST": api.host, "KUBERNETES_SERVICE_PORT": str(api.port)}
    for source in container.get("envFrom", []):
        for key, kind in (("configMapRef", "ConfigMap"), ("secretRef", "Secret")):
            if key in source:
                found = _map(api, kind, namespace, source[key])
                env.update({source.get("prefix", "") + name: data.decode() for name, data in found.items()})
    for one in container.get("env", []):
        env[one["name"]] = expand(_value(api, pod, one), env)
    return env


def _value(api: Api, pod: Object, one: Object) -> str:
    source = one.get("valueFrom")
    if source is None:
        return one.get("value", "")
    if "fieldRef" in source or "resourceFieldRef" in source:
        return _downward(pod, source)
    for key, kind in (("configMapKeyRef", "ConfigMap"), ("secretKeyRef", "Secret")):
        if key in source:
            return _map(api, kind, pod["metadata"]["namespace"], source[key]).get(source[key]["key"], b"").decode()
    raise Missing(f"valueFrom of {one['name']}")


def expand(text: str, env: dict[str, str]) -> str:
    for name, value in env.items():
        text = text.replace(f"$({name})", value)
    return text
