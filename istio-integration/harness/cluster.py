"""etcd, kube-apiserver and istiod: started, stopped, and given what an installation would give them."""

from __future__ import annotations

import http.client
import json
import os
import subprocess
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from .api import Api, ApiError, Object, eventually
from .net import API, ISTIOD, SERVICES

ADMIN_TOKEN = "lab-admin"
ISSUER = "https://kubernetes.default.svc"
# Not applied: what needs a container runtime, and webhooks of an istiod that is no pod.
LEFT_OUT = {
    "Deployment", "DaemonSet", "HorizontalPodAutoscaler", "PodDisruptionBudget", "NetworkPolicy",
    "MutatingWebhookConfiguration", "ValidatingWebhookConfiguration", "CustomResourceDefinition",
}
# In this order, then everything else.
FIRST = ("Namespace", "CustomResourceDefinition", "ServiceAccount", "ClusterRole", "Role")


@dataclass
class Binaries:
    """Built from the module in `control-plane/`, or given (`PILOT`)."""

    etcd: Path
    apiserver: Path
    pilot: Path
    kit: Path


class Cluster:
    """The control plane. Each part can be stopped and started again; etcd keeps what was stored."""

    def __init__(self, binaries: Binaries, folder: Path, logs: Path) -> None:
        self.binaries, self.folder, self.logs = binaries, folder, logs
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        # From when to when an API server started; seconds since the epoch.
        self.outages: list[tuple[float, float]] = []
        self.pki = folder / "pki"
        self.pki.mkdir(parents=True)
        self._keys()

    def _keys(self) -> None:
        key = self.pki / "sa.key"
        subprocess.run(["openssl", "genrsa", "-out", str(key), "2048"], check=True, capture_output=True)
        subprocess.run(["openssl", "rsa", "-in", str(key), "-pubout", "-out", str(self.pki / "sa.pub")], check=True, capture_output=True)
        (self.pki / "tokens.csv").write_text(f'{ADMIN_TOKEN},admin,admin,"system:masters"\n')

    def _start(self, name: str, command: list[str], env: dict[str, str] | None = None) -> None:
        at = self.folder / name
        at.mkdir(exist_ok=True)
        out = (self.logs / f"{name}.log").open("ab")
        # Each in an empty folder: istiod reads files relative to where it is.
        self.processes[name] = subprocess.Popen(command, cwd=at, env=env, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT)
        out.close()

    def kill(self, name: str) -> None:
        """Ends one part as a crash would."""
        process = self.processes.pop(name)
        process.kill()
        process.wait()

    def stop(self) -> None:
        for name in list(self.processes):
            self.kill(name)

    # -- the parts

    def start_etcd(self) -> None:
        self._start("etcd", [
            str(self.binaries.etcd), "--data-dir=data", "--listen-client-urls=http://127.0.0.1:2379", "--advertise-client-urls=http://127.0.0.1:2379",
            "--listen-peer-urls=http://127.0.0.1:2380", "--initial-advertise-peer-urls=http://127.0.0.1:2380", "--initial-cluster=default=http://127.0.0.1:2380",
            "--unsafe-no-fsync", "--log-level=warn",
        ])
        eventually("etcd answers", 30, lambda: _status("127.0.0.1", 2379, "/health") == 200)

    def start_apiserver(self) -> Api:
        pki, began = self.pki, time.time()
        self._start("kube-apiserver", [
            str(self.binaries.apiserver), "--etcd-servers=http://127.0.0.1:2379", f"--bind-address={API}", f"--advertise-address={API}", "--secure-port=443",
            f"--cert-dir={pki}", f"--token-auth-file={pki}/tokens.csv", "--authorization-mode=RBAC", f"--service-account-issuer={ISSUER}",
            f"--service-account-key-file={pki}/sa.pub", f"--service-account-signing-key-file={pki}/sa.key",
            # Without istio-ca: a token for the wrong audience has to be refused by istiod.
            f"--api-audiences={ISSUER}", f"--service-cluster-ip-range={SERVICES}", "--allow-privileged=true", "--endpoint-reconciler-type=none",
            # Pods name what they mount themselves; the kubelet's part adds the token.
            "--disable-admission-plugins=ServiceAccount,DefaultStorageClass", "--enable-priority-and-fairness=false", "--enable-aggregator-routing=true",
        ])
        certificate = pki / "apiserver.crt"
        eventually("kube-apiserver has a certificate", 30, certificate.exists)
        api = Api(API, 443, certificate, ADMIN_TOKEN)
        eventually("kube-apiserver is ready", 60, lambda: _ready(api))
        self.outages.append((began, time.time()))
        return api

    def start_istiod(self, api: Api) -> None:
        config = self.folder / "istiod.kubeconfig"
        token = api.token_of("istio-system", "istiod", "", 86400)
        config.write_text(json.dumps({
            "apiVersion": "v1", "kind": "Config", "current-context": "lab",
            "clusters": [{"name": "lab", "cluster": {"server": f"https://{API}:443", "certificate-authority": str(api.ca)}}],
            "users": [{"name": "lab", "user": {"token": token}}],
            "contexts": [{"name": "lab", "context": {"cluster": "lab", "user": "lab"}}],
        }))
        env = {
            "PILOT_ENABLE_AGENTGATEWAY": "true", "PILOT_ENABLE_AMBIENT": "true", "POD_NAME": "istiod", "POD_NAMESPACE": "istio-system",
            "SERVICE_ACCOUNT": "istiod", "REVISION": "default", "CLUSTER_ID": "Kubernetes", "PILOT_CERT_PROVIDER": "istiod",
            "CA_TRUSTED_NODE_ACCOUNTS": "istio-system/ztunnel", "PATH": os.environ.get("PATH", ""),
        }
        self._start("istiod", [
            str(self.binaries.pilot), "discovery", "--kubeconfig", str(config), "--domain", "cluster.local", "--httpAddr", f"{ISTIOD}:8080",
            "--httpsAddr", f"{ISTIOD}:15017", "--grpcAddr", f"{ISTIOD}:15010", "--secureGRPCAddr", f"{ISTIOD}:15012",
            "--monitoringAddr", f"{ISTIOD}:15014", "--ctrlz_address", "127.0.0.1", "--ctrlz_port", "9876",
        ], env)
        eventually("istiod is ready", 60, lambda: _status(ISTIOD, 8080, "/ready") == 200)

    # -- what is installed

    def kit(self, *args: str) -> str:
        """One command of `control-plane/cmd/kit`."""
        return self.kit_of(self.binaries)(*args)

    @staticmethod
    def kit_of(binaries: Binaries) -> Callable[..., str]:
        def kit(*args: str) -> str:
            done = subprocess.run([str(binaries.kit), *args], capture_output=True, text=True, check=False)
            if done.returncode:
                raise RuntimeError(f"kit {' '.join(args)}: {done.stderr.strip()}")
            return done.stdout

        return kit

    def install(self, api: Api, objects: list[Object]) -> None:
        """`kubectl apply --server-side`: namespaces and CRDs first and in force, then the rest."""
        def rank(one: Object) -> int:
            return FIRST.index(one["kind"]) if one["kind"] in FIRST else len(FIRST)

        for order in sorted({rank(one) for one in objects}):
            group = [one for one in objects if rank(one) == order]
            with ThreadPoolExecutor(8) as pool:
                list(pool.map(lambda one: _apply(api, one), group))
            for one in group:
                if one["kind"] == "CustomResourceDefinition":
                    eventually(f"{one['metadata']['name']} is established", 30, lambda one=one: _established(api, one))

    def install_istio(self, api: Api) -> None:
        self.install(api, [{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "istio-system"}}])
        self.install(api, json.loads(self.kit("crds")))
        self.install(api, [one for one in json.loads(self.kit("istio")) if one["kind"] not in LEFT_OUT])


def _apply(api: Api, one: Object) -> None:
    try:
        api.apply(one)
    except ApiError as error:
        meta = one["metadata"]
        raise AssertionError(f"{one['kind']} {meta.get('namespace', '')}/{meta['name']}: {error}") from error


def _established(api: Api, crd: Object) -> bool:
    found = api.get(crd["apiVersion"], crd["kind"], None, crd["metadata"]["name"])
    return any(c["type"] == "Established" and c["status"] == "True" for c in (found.get("status") or {}).get("conditions") or [])


def _ready(api: Api) -> bool:
    try:
        api.request("GET", "/readyz")
    except ApiError:
        return False
    except OSError:
        time.sleep(0.1)
        return False
    # The namespaces that it makes itself, and the first address of the Service range.
    return api.find("v1", "Namespace", None, "default") is not None and api.find("v1", "Service", "default", "kubernetes") is not None


def _status(host: str, port: int, path: str) -> int:
    connection = http.client.HTTPConnection(host, port, timeout=2)
    try:
        connection.request("GET", path)
        return connection.getresponse().status
    finally:
        connection.close()
