"""Who may run as a waypoint, and who may touch a guard: the admission policies of `manifests/admission`."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import contextmanager
from typing import Any, Iterator

from harness.api import Api, ApiError, Object, eventually
from harness.lab import Lab
from harness.tests import refused, test

GATEWAY = "gateway.networking.k8s.io/gateway-name"
MANAGED = {"app.kubernetes.io/managed-by": "agent-waypoint-guard"}
ADMISSION = "admissionregistration.k8s.io/v1"
TEMPLATES = ("Deployment", "ReplicaSet", "StatefulSet", "DaemonSet", "Job", "CronJob", "ReplicationController", "PodTemplate")


def tenant(lab: Lab, namespace: str) -> Api:
    """Somebody who may do everything with workloads, Secrets and policies in his namespace."""
    rbac = "rbac.authorization.k8s.io"
    groups = ["", "apps", "batch", "security.istio.io"]
    lab.api.apply({"apiVersion": f"{rbac}/v1", "kind": "ClusterRole", "metadata": {"name": "lab-tenant"},
                   "rules": [{"apiGroups": groups, "resources": ["*"], "verbs": ["*"]}]})
    lab.api.apply({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "tenant", "namespace": namespace}})
    lab.api.apply({"apiVersion": f"{rbac}/v1", "kind": "RoleBinding", "metadata": {"name": "tenant", "namespace": namespace},
                   "roleRef": {"apiGroup": rbac, "kind": "ClusterRole", "name": "lab-tenant"},
                   "subjects": [{"kind": "ServiceAccount", "name": "tenant", "namespace": namespace}]})
    return lab.api.as_user(lab.api.token_of(namespace, "tenant", ""))


def waypoint(lab: Lab) -> str:
    """A namespace with a waypoint `waypoint`, as the controller marks it, and a guard."""
    namespace = lab.namespace("guarded")
    lab.api.apply({"apiVersion": "v1", "kind": "ConfigMap", "data": {"waypoint": "waypoint"},
                   "metadata": {"name": "agent-waypoint-waypoints", "namespace": namespace, "labels": MANAGED}})
    for account in ("waypoint", "app"):
        lab.api.apply({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": account, "namespace": namespace}})
    # By its name alone: one with our label that no Service wants the controller would clear away.
    lab.api.apply(guard(namespace, "agent-waypoint-guard-0123456789", {}))
    # The API server learns of ConfigMaps that policies go by a moment later.
    user = tenant(lab, namespace)

    def known() -> bool:
        try:
            lab.api.delete(user.create(pod(namespace, "probe", "waypoint")), grace=0)
        except ApiError as error:
            return "identity of waypoint" in error.message
        return False
    eventually("the admission policy knows the waypoint", 20, known)
    return namespace


def spec(account: str) -> Object:
    return {"serviceAccountName": account, "containers": [{"name": "main", "image": "none"}]}


def pod(namespace: str, name: str, account: str, labels: dict[str, str] | None = None) -> Object:
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": namespace, "labels": labels or {}}, "spec": spec(account)}


def guard(namespace: str, name: str, labels: dict[str, str] | None = MANAGED) -> Object:
    return {"apiVersion": "security.istio.io/v1", "kind": "AuthorizationPolicy", "metadata": {"name": name, "namespace": namespace, "labels": labels or {}},
            "spec": {"selector": {"matchLabels": {"app": "nothing"}}, "action": "DENY", "rules": [{"from": [{"source": {"notPrincipals": ["a/ns/b/sa/c"]}}]}]}}


def templated(kind: str, namespace: str, name: str, account: str, labels: dict[str, str] | None = None) -> Object:
    template: Object = {"metadata": {"labels": {"app": "none", **(labels or {})}}, "spec": spec(account)}
    if kind in ("Job", "CronJob"):
        template["spec"]["restartPolicy"] = "Never"
    selector = {"matchLabels": {"app": "none"}}
    version = {"Job": "batch/v1", "CronJob": "batch/v1", "ReplicationController": "v1", "PodTemplate": "v1"}.get(kind, "apps/v1")
    one: Object = {"apiVersion": version, "kind": kind, "metadata": {"name": name, "namespace": namespace}}
    if kind == "PodTemplate":
        return {**one, "template": template}
    shapes: dict[str, Object] = {
        "Job": {"template": template}, "CronJob": {"schedule": "0 0 1 1 *", "jobTemplate": {"spec": {"template": template}}},
        "ReplicationController": {"replicas": 0, "selector": {"app": "none"}, "template": template},
        "DaemonSet": {"selector": selector, "template": template},
        "StatefulSet": {"replicas": 0, "serviceName": "none", "selector": selector, "template": template},
    }
    return {**one, "spec": shapes.get(kind, {"replicas": 0, "selector": selector, "template": template})}


def token(user: Api, namespace: str, account: str) -> Callable[[], Any]:
    return lambda: user.token_of(namespace, account, "istio-ca")


@contextmanager
def without(lab: Lab, *policies: str) -> Iterator[None]:
    """The bindings of these policies taken away for a while."""
    taken = [lab.api.get(ADMISSION, "ValidatingAdmissionPolicyBinding", None, name) for name in policies]
    for one in taken:
        lab.api.delete(one)
    try:
        yield
    finally:
        for one in taken:
            one["metadata"] = {"name": one["metadata"]["name"]}
            lab.api.apply(one)


def allowed_soon(what: str, ask: Callable[[], Any]) -> None:
    def works() -> bool:
        try:
            ask()
        except ApiError as error:
            assert error.status in (403, 404), error
            return False
        return True
    eventually(what, 20, works)


@test
def tenant_cannot_run_as_the_waypoint(lab: Lab) -> None:
    """Not as a pod, not by a template of any kind, not by the Gateway's label; without the policy it would work."""
    namespace = waypoint(lab)
    user = tenant(lab, namespace)
    refused(403, lambda: user.create(pod(namespace, "a", "waypoint")), "identity of waypoint waypoint", "another ServiceAccount")
    refused(403, lambda: user.create(pod(namespace, "a", "app", {GATEWAY: "waypoint"})), "makes the pod one of that waypoint")
    user.create(pod(namespace, "own", "app", {GATEWAY: "other"}))
    refused(403, lambda: user.patch(pod(namespace, "own", "app"), {"metadata": {"labels": {GATEWAY: "waypoint"}}}), "one of that waypoint")
    refused(403, lambda: user.patch(pod(namespace, "own", "app"), {"metadata": {"labels": {GATEWAY: "waypoint"}}}, "/status"), "one of that waypoint")
    # What does not change the labels is anybody's who may write statuses.
    user.patch(pod(namespace, "own", "app"), {"status": {"message": "well"}}, "/status")
    revision = {"apiVersion": "apps/v1", "kind": "ControllerRevision", "metadata": {"name": "a", "namespace": namespace}, "revision": 1,
                "data": {"spec": {"template": {"spec": spec("waypoint")}}}}
    refused(403, lambda: user.create(revision), "pods are made from revisions")
    for kind in TEMPLATES:
        refused(403, lambda kind=kind: user.create(templated(kind, namespace, "a", "waypoint")), "identity of waypoint")
        refused(403, lambda kind=kind: user.create(templated(kind, namespace, "a", "app", {GATEWAY: "waypoint"})), "one of that waypoint")
        user.create(templated(kind, namespace, "own", "app"))
    change = {"spec": {"template": {"spec": {"serviceAccountName": "waypoint"}}}}
    refused(403, lambda: user.patch(templated("Deployment", namespace, "own", "app"), change), "identity of waypoint")
    with without(lab, "agent-waypoint-run-as"):
        allowed_soon("a tenant runs as the waypoint", lambda: user.create(pod(namespace, "a", "waypoint")))


@test
def tenant_gets_no_token_of_the_waypoint(lab: Lab) -> None:
    """Neither by TokenRequest nor by a Secret, nor a way into its pods; without the policy it would work."""
    namespace = waypoint(lab)
    user = tenant(lab, namespace)
    refused(403, token(user, namespace, "waypoint"), "for its own pods only")
    token(user, namespace, "app")()
    secret = {"apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/service-account-token",
              "metadata": {"name": "a", "namespace": namespace, "annotations": {"kubernetes.io/service-account.name": "waypoint"}}}
    refused(403, lambda: user.create(secret), "for its own pods only")
    lab.api.create(pod(namespace, "waypoint-0", "waypoint"))
    path = user.path("v1", "Pod", namespace, "waypoint-0")
    refused(403, lambda: user.request("POST", f"{path}/exec", command="sh", stdout="true"), "named as a pod of a waypoint")
    # What listens on the pod's loopback is for its operators.
    refused(403, lambda: user.request("POST", f"{path}/portforward", ports="15000"), "named as a pod of a waypoint")
    # A Deployment cuts long names.
    long = "w" * 60
    lab.api.patch({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "agent-waypoint-waypoints", "namespace": namespace}}, {"data": {long: long}})
    lab.api.create(pod(namespace, f"{long[:58]}abcde", long))
    cut = user.path("v1", "Pod", namespace, f"{long[:58]}abcde")

    def is_refused() -> bool:
        try:
            user.request("POST", f"{cut}/exec", command="sh", stdout="true")
        except ApiError as error:
            return "named as a pod of a waypoint" in error.message
        return False
    eventually("the admission policy knows the other waypoint", 20, is_refused)
    debug = {"spec": {"ephemeralContainers": [{"name": "debug", "image": "none"}]}}
    refused(403, lambda: user.request("PATCH", f"{path}/ephemeralcontainers", debug, "application/strategic-merge-patch+json"), "identity of waypoint")
    with without(lab, "agent-waypoint-tokens"):
        allowed_soon("a tenant gets the waypoint's token", token(user, namespace, "waypoint"))


@test
def tenant_makes_no_account_for_a_waypoint_to_be(lab: Lab) -> None:
    """Whoever was quicker than the controller would have tokens of it from before anybody knew whose it is."""
    namespace = lab.namespace("soon")
    user = tenant(lab, namespace)
    labels = {"app.kubernetes.io/managed-by": "agent-waypoint", GATEWAY: "waypoint"}
    marked = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "waypoint", "namespace": namespace, "labels": labels}}
    plain = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "plain", "namespace": namespace, "labels": {"app": "a"}}}
    refused(403, lambda: user.create(marked), "only its controller makes one")
    user.create(plain)
    user.patch(plain, {"metadata": {"labels": {"app": "b"}}})
    refused(403, lambda: user.patch(plain, {"metadata": {"labels": labels}}), "only its controller makes one")
    # One that the controller made may be changed by whoever may: it is his no less.
    lab.api.create(marked)
    user.patch(marked, {"metadata": {"annotations": {"a": "b"}}})
    lab.api.delete(marked)
    with without(lab, "agent-waypoint-accounts"):
        allowed_soon("a tenant makes an account that the controller takes for its own", lambda: user.create(marked))


@test
def tenant_cannot_touch_a_guard(lab: Lab) -> None:
    """Not delete it, not change it, not take its name first; without the policy it would work."""
    namespace = waypoint(lab)
    user = tenant(lab, namespace)
    name = "agent-waypoint-guard-0123456789"
    own = guard(namespace, "own", {})
    user.create(own)
    for version in ("security.istio.io/v1", "security.istio.io/v1beta1"):
        refused(403, lambda version=version: user.delete({**guard(namespace, name), "apiVersion": version}), "only the controller writes it")
    refused(403, lambda: user.request("DELETE", user.path("security.istio.io/v1", "AuthorizationPolicy", namespace)), "only the controller writes it")
    refused(403, lambda: user.patch(guard(namespace, name), {"metadata": {"labels": None}}), "only the controller writes it")
    refused(403, lambda: user.create(guard(namespace, "agent-waypoint-guard-fedcba9876", {})), "only the controller writes it")
    refused(403, lambda: user.create(guard(namespace, "another")), "only the controller writes it")
    listed = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "agent-waypoint-waypoints", "namespace": namespace}}
    refused(403, lambda: user.delete(listed), "only the controller writes it")
    refused(403, lambda: user.patch(listed, {"data": None}), "only the controller writes it")
    assert lab.api.find("security.istio.io/v1", "AuthorizationPolicy", namespace, name)
    with without(lab, "agent-waypoint-guard-objects"):
        allowed_soon("a tenant deletes a guard", lambda: user.request("DELETE", user.path("security.istio.io/v1", "AuthorizationPolicy", namespace, name)))
