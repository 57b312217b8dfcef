"""One session in each binding and version through the waypoint, as its owner and as another; raw requests beside."""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import grpc
import httpx
from a2a.client import ClientConfig, ClientFactory
from a2a.client.client import ClientCallContext
from a2a.compat.v0_3 import a2a_v0_3_pb2 as pb03
from a2a.types import a2a_pb2 as pb
from a2a.utils.signing import create_signature_verifier
from google.protobuf.json_format import ParseDict
from jwt import PyJWK

from driver.mesh import NAMESPACE, Mesh, service
from driver.report import Report
from driver.tap import Tap

HERE = Path(__file__).resolve().parent
CALLER, OTHER, SUPERVISOR = "agents/caller", "agents/other", "agents/supervisor"
HOOK = "https://hooks.example.com/done"
BINDINGS = [(binding, version) for binding in ("JSONRPC", "HTTP+JSON", "GRPC") for version in ("1.0", "0.3")]
# What the 0.3 clients of the SDK have no call for.
ABSENT = {
    ("JSONRPC", "0.3"): {"list"},
    ("HTTP+JSON", "0.3"): {"list", "list configs", "delete config"},
    ("GRPC", "0.3"): {"list"},
}

POLICY = f"""\
apiVersion: agent-waypoint.dev/v1alpha1
kind: AgentPolicy
metadata: {{name: agent, namespace: {NAMESPACE}}}
spec:
  targetRefs: [{{kind: Service, name: agent}}, {{kind: Service, name: agent-grpc}}]
  protocol: A2A
  a2a:
    ownership: Enforce
    coOwners: [{{owners: ["{CALLER}"], serviceAccounts: ["{SUPERVISOR}"]}}]
    push: {{hosts: [hooks.example.com]}}
  deny:
  - name: no-cards-for-others
    from: [{{serviceAccounts: ["{OTHER}"]}}]
    to: [{{operations: [GetExtendedAgentCard]}}]
  allow:
  - from: [{{serviceAccounts: ["{CALLER}", "{OTHER}", "{SUPERVISOR}"]}}]
"""


def message(text: str, **members: Any) -> pb.SendMessageRequest:
    made = pb.Message(message_id=uuid.uuid4().hex, role=pb.ROLE_USER, parts=[pb.Part(text=text)], **members)
    return pb.SendMessageRequest(message=made)


def client(binding: str, version: str, address: tuple[str, int], streaming: bool) -> Any:
    url = f"{address[0]}:{address[1]}" if binding == "GRPC" else f"http://{address[0]}:{address[1]}"
    card = pb.AgentCard(
        name="agent", capabilities=pb.AgentCapabilities(streaming=True, push_notifications=True, extended_agent_card=True)
    )
    card.supported_interfaces.add(url=url, protocol_binding=binding, protocol_version=version)
    config = ClientConfig(
        streaming=streaming,
        httpx_client=httpx.AsyncClient(timeout=90, trust_env=False),
        grpc_channel_factory=lambda url: grpc.aio.insecure_channel(url, [("grpc.enable_http_proxy", 0)]),
        supported_protocol_bindings=[binding],
    )
    return ClientFactory(config).create(card)


async def events(stream: Any, stop: Callable[[pb.StreamResponse], bool] = lambda _: False) -> list[pb.StreamResponse]:
    found = []
    async for event in stream:
        found.append(event)
        if stop(event):
            break
    return found


def task_of(found: list[pb.StreamResponse]) -> pb.Task:
    return next(event.task for event in found if event.HasField("task"))


class Session:
    """Steps against one agent in one binding, each a check."""

    def __init__(self, report: Report, tap: Tap, binding: str, version: str, ends: dict[str, tuple[str, int]]) -> None:
        self.report, self.tap = report, tap
        self.binding, self.version, self.ends = binding, version, ends
        self.name = f"{binding} {version}"

    def client(self, who: str, streaming: bool = False) -> Any:
        return client(self.binding, self.version, self.ends[who], streaming)

    async def allowed(self, step: str, call: Callable[[], Awaitable[Any]], holds: Callable[[Any], bool]) -> Any:
        if step in ABSENT.get((self.binding, self.version), ()):
            return None
        try:
            result = await asyncio.wait_for(call(), 120)
            fault = None if holds(result) else f"unexpected: {result!r}"
        except Exception as error:  # whatever the SDK raises is the fault
            result, fault = None, f"{type(error).__name__}: {error}"
        self.report.check(f"{self.name}: {step}", fault)
        return result

    async def refused(self, step: str, call: Callable[[], Awaitable[Any]], words: str) -> None:
        if step in ABSENT.get((self.binding, self.version), ()):
            return
        before = self.tap.settled()
        try:
            fault = f"not refused: {await asyncio.wait_for(call(), 120)!r}"
        except Exception as error:
            said = f"{type(error).__name__}: {error}"
            fault = None if words.lower() in said.lower() else said
        arrived = self.tap.settled() - before
        # HTTP/2 has frames of its own on a connection that is open; a call is hundreds of bytes.
        if arrived > 64:
            fault = f"{arrived} bytes reached the agent; {fault}"
        self.report.check(f"{self.name}: refused: {step}", fault)

    async def run(self) -> None:
        mine, streaming, other = self.client(CALLER), self.client(CALLER, True), self.client(OTHER)
        sent = await self.allowed("send", lambda: events(mine.send_message(message("hello"))), lambda r: bool(task_of(r).id))
        task = task_of(sent)
        await self.allowed(
            "stream",
            lambda: events(streaming.send_message(message("hello", context_id=task.context_id))),
            lambda r: any(event.HasField("artifact_update") for event in r) and len(r) > 2,
        )
        await self.allowed("get", lambda: mine.get_task(pb.GetTaskRequest(id=task.id)), lambda r: r.id == task.id)
        listing = pb.ListTasksRequest(context_id=task.context_id)
        await self.allowed("list", lambda: mine.list_tasks(listing), lambda r: len(r.tasks) == 2)
        await self.allowed("extended card", lambda: mine.get_extended_agent_card(pb.GetExtendedAgentCardRequest()), lambda r: "extended" in r.name)

        started = await self.allowed(
            "stream that waits",
            lambda: events(streaming.send_message(message("wait")), lambda event: event.HasField("task")),
            lambda r: bool(task_of(r).id),
        )
        waiting = task_of(started).id
        await self.allowed(
            "subscribe",
            lambda: events(streaming.subscribe(pb.SubscribeToTaskRequest(id=waiting)), lambda _: True),
            lambda r: len(r) == 1,
        )
        config = pb.TaskPushNotificationConfig(task_id=waiting, id="c1", url=HOOK, token="t")
        await self.allowed("create config", lambda: mine.create_task_push_notification_config(config), lambda r: r.url == HOOK)
        one = pb.GetTaskPushNotificationConfigRequest(task_id=waiting, id="c1")
        await self.allowed("get config", lambda: mine.get_task_push_notification_config(one), lambda r: r.url == HOOK)
        many = pb.ListTaskPushNotificationConfigsRequest(task_id=waiting)
        await self.allowed("list configs", lambda: mine.list_task_push_notification_configs(many), lambda r: len(r.configs) == 1)

        await self.refuse(mine, other, task, waiting)

        gone = pb.DeleteTaskPushNotificationConfigRequest(task_id=waiting, id="c1")
        await self.allowed("delete config", lambda: mine.delete_task_push_notification_config(gone), lambda _: True)
        ended = pb.TASK_STATE_CANCELED
        await self.allowed("cancel", lambda: mine.cancel_task(pb.CancelTaskRequest(id=waiting)), lambda r: r.status.state == ended)
        for done in (mine, streaming, other):
            await done.close()

    async def refuse(self, mine: Any, other: Any, task: pb.Task, waiting: str) -> None:
        """Another caller finds nothing; nobody is called back where no policy says."""
        foreign = "not found"
        await self.refused("another's task", lambda: other.get_task(pb.GetTaskRequest(id=task.id)), foreign)
        await self.refused("cancel another's task", lambda: other.cancel_task(pb.CancelTaskRequest(id=waiting)), foreign)
        listener = self.client(OTHER, True)
        await self.refused("subscribe to another's", lambda: events(listener.subscribe(pb.SubscribeToTaskRequest(id=waiting))), foreign)
        await listener.close()
        await self.refused("another's context", lambda: events(other.send_message(message("x", context_id=task.context_id))), foreign)
        await self.refused("another's task continued", lambda: events(other.send_message(message("x", task_id=waiting))), foreign)
        await self.refused("list", lambda: other.list_tasks(pb.ListTasksRequest()), foreign)
        hook = pb.TaskPushNotificationConfig(task_id=waiting, id="c2", url=HOOK)
        await self.refused("a hook on another's task", lambda: other.create_task_push_notification_config(hook), foreign)
        denied = "403" if self.binding == "HTTP+JSON" else "denied_by_rule"
        await self.refused("the card", lambda: other.get_extended_agent_card(pb.GetExtendedAgentCardRequest()), denied)
        denied = "403" if self.binding == "HTTP+JSON" else "push_url"
        for url in ("http://127.0.0.1:9/x", "https://[::ffff:169.254.169.254]/", "https://hooks.example.com@evil.example/", "https://hooks.example.com#@evil.example/"):
            bad = pb.TaskPushNotificationConfig(task_id=waiting, id="c3", url=url)
            await self.refused(f"a hook at {url}", lambda bad=bad: mine.create_task_push_notification_config(bad), denied)
        inline = message("x")
        inline.configuration.task_push_notification_config.url = "http://169.254.169.254/latest"
        await self.refused("a hook inside of a message", lambda: events(mine.send_message(inline)), denied)
        agent = message("x")
        agent.message.role = pb.ROLE_AGENT
        await self.refused("a message in the agent's role", lambda: events(mine.send_message(agent)), "")
        after = pb.GetTaskRequest(id=task.id)
        await self.allowed("get after refusals", lambda: mine.get_task(after), lambda r: r.id == task.id)


def rpc(method: str, params: Any, **members: Any) -> bytes:
    return json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params, **members}).encode()


def raw_rows() -> list[tuple[str, str, str, dict[str, str] | list[tuple[str, str]], bytes]]:
    """Ways round that this SDK's server takes, directly: NAME VERB TARGET FIELDS BODY."""
    json_ = {"Content-Type": "application/json", "A2A-Version": "1.0"}
    get = rpc("GetTask", {"id": "t"})
    text = get.decode()
    hello = {"messageId": "m", "role": "ROLE_USER", "parts": [{"text": "x"}]}
    return [
        ("no content type", "POST", "/", {"A2A-Version": "1.0"}, get),
        ("text/plain", "POST", "/", {**json_, "Content-Type": "text/plain"}, get),
        ("UTF-16", "POST", "/", json_, text.encode("utf-16")),
        ("byte order mark", "POST", "/", json_, text.encode("utf-8-sig")),
        ("duplicate method", "POST", "/", json_, text.replace('"method": "GetTask"', '"method": "GetTask", "method": "CancelTask"').encode()),
        ("duplicate nested id", "POST", "/", json_, text.replace('{"id": "t"}', '{"id": "t", "id": "u"}').encode()),
        ("both spellings", "POST", "/", json_, rpc("SendMessage", {"message": {**hello, "contextId": "a", "context_id": "b"}})),
        ("both spellings, HTTP", "POST", "/message:send", json_, json.dumps({"message": {**hello, "contextId": "a", "context_id": "b"}}).encode()),
        ("two members of a part", "POST", "/", json_, rpc("SendMessage", {"message": {**hello, "parts": [{"text": "a", "data": {}}]}})),
        ("notification", "POST", "/", json_, text.replace('"id": 1, ', "").encode()),
        ("batch", "POST", "/", json_, b"[" + get + b"]"),
        ("old name under the new version", "POST", "/", json_, text.replace("GetTask", "tasks/get").encode()),
        ("snake case in the query", "GET", "/tasks?context_id=c", {"A2A-Version": "1.0"}, b""),
        ("query key twice", "GET", "/tasks?contextId=a&contextId=b", {"A2A-Version": "1.0"}, b""),
        ("two tenants", "POST", "/acme/message:send", json_, json.dumps({"tenant": "other", "message": hello}).encode()),
        ("two ids", "POST", "/tasks/t:cancel", json_, b'{"id": "u"}'),
        ("another operation's path for JSON-RPC", "POST", "/a/b/c/tasks/t:cancel", json_, get),
        ("percent-encoded slash", "GET", "/tasks/a%2Fb", {"A2A-Version": "1.0"}, b""),
        ("gzip", "POST", "/", {**json_, "Content-Encoding": "gzip"}, get),
        ("no content type, HTTP", "POST", "/message:send", {"A2A-Version": "1.0"}, json.dumps({"message": hello}).encode()),
        ("UTF-16, HTTP", "POST", "/message:send", json_, json.dumps({"message": hello}).encode("utf-16")),
        ("byte order mark, HTTP", "POST", "/message:send", json_, json.dumps({"message": hello}).encode("utf-8-sig")),
        ("duplicate nested key, HTTP", "POST", "/message:send", json_, json.dumps({"message": hello}).replace('"messageId"', '"messageId": "n", "messageId"').encode()),
        ("duplicate params", "POST", "/", json_, text.replace('"params"', '"params": {"id": "u"}, "params"').encode()),
        ("another's task by an escaped method", "POST", "/", json_, text.replace("GetTask", "Get\\u0054ask").encode()),
        ("another's task by an escaped key", "POST", "/", json_, text.replace('"method"', '"met\\u0068od"').encode()),
        ("another's context in snake case", "POST", "/", json_, rpc("SendMessage", {"message": {"message_id": "m", "role": 1, "parts": [{"text": "x"}], "context_id": "c"}})),
        ("a hook in snake case", "POST", "/", json_, rpc("SendMessage", {"message": hello, "configuration": {"task_push_notification_config": {"url": "http://127.0.0.1/"}}})),
        ("a hook in snake case, HTTP", "POST", "/message:send", json_, json.dumps({"message": hello, "configuration": {"task_push_notification_config": {"url": "http://127.0.0.1/"}}}).encode()),
        ("another's task at a percent-encoded path", "GET", "/%74asks/t", {"A2A-Version": "1.0"}, b""),
        ("another's task with a percent-encoded id", "GET", "/tasks/%74", {"A2A-Version": "1.0"}, b""),
        ("another's task cancelled behind %3A", "POST", "/tasks/t%3Acancel", json_, b""),
        ("encoded twice", "GET", "/tasks/%2574", {"A2A-Version": "1.0"}, b""),
        ("a NUL in a path", "GET", "/tasks/t%00", {"A2A-Version": "1.0"}, b""),
        ("two slashes", "GET", "//tasks/t", {"A2A-Version": "1.0"}, b""),
        ("dots", "GET", "/x/../tasks/t", {"A2A-Version": "1.0"}, b""),
        ("another case", "GET", "/Tasks/t", {"A2A-Version": "1.0"}, b""),
        ("a slash behind", "GET", "/tasks/t/", {"A2A-Version": "1.0"}, b""),
        ("two ids of a hook", "POST", "/tasks/t/pushNotificationConfigs", json_, json.dumps({"taskId": "u", "url": HOOK}).encode()),
        ("another's task subscribed by GET", "GET", "/tasks/t:subscribe", {"A2A-Version": "1.0"}, b""),
        ("another's task subscribed by POST", "POST", "/tasks/t:subscribe", json_, b""),
        ("NaN", "POST", "/", json_, text.replace('{"id": "t"}', '{"id": "t", "historyLength": NaN}').encode()),
        ("another method's case", "POST", "/", json_, text.replace("GetTask", "getTask").encode()),
        ("a space behind a method", "POST", "/", json_, text.replace("GetTask", "GetTask ").encode()),
        ("JSON-RPC at another path", "POST", "/a2a/x", json_, get),
        ("gzip, HTTP", "POST", "/message:send", {**json_, "Content-Encoding": "gzip"}, json.dumps({"message": hello}).encode()),
        ("the version in the query", "POST", "/?A2A-Version=1.0", {"Content-Type": "application/json"}, get),
        ("an unknown version", "POST", "/", {**json_, "A2A-Version": "9.9"}, get),
        ("the agent's role, HTTP", "POST", "/message:send", json_, json.dumps({"message": {**hello, "role": "ROLE_AGENT"}}).encode()),
        ("the agent's role by number", "POST", "/", json_, rpc("SendMessage", {"message": {**hello, "role": 2}})),
        ("version 1.7", "POST", "/", {**json_, "A2A-Version": "1.7"}, get),
        ("another's task by its name of 0.3", "POST", "/", {"Content-Type": "application/json"}, rpc("tasks/get", {"id": "t"})),
        ("another's task at its path of 0.3", "GET", "/v1/tasks/t", {}, b""),
        ("two versions", "POST", "/", [("Content-Type", "application/json"), ("A2A-Version", "1.0"), ("A2A-Version", "0.3")], get),
        ("text/plain, HTTP", "POST", "/message:send", {**json_, "Content-Type": "text/plain"}, json.dumps({"message": hello}).encode()),
        ("two members of a part, HTTP", "POST", "/message:send", json_, json.dumps({"message": {**hello, "parts": [{"text": "a", "url": "http://127.0.0.1/"}]}}).encode()),
        ("NaN, HTTP", "POST", "/message:send", json_, json.dumps({"message": hello, "metadata": {"x": float("nan")}}).encode()),
        ("the agent's role by number, HTTP", "POST", "/message:send", json_, json.dumps({"message": {**hello, "role": 2}}).encode()),
        ("another's context by an escaped key, HTTP", "POST", "/message:send", json_, json.dumps({"message": {**hello, "contextId": "c"}}).replace("contextId", "context\\u0049d").encode()),
        ("another's task referred to", "POST", "/", json_, rpc("SendMessage", {"message": {**hello, "referenceTaskIds": ["t"]}})),
        ("another's task referred to, HTTP", "POST", "/message:send", json_, json.dumps({"message": {**hello, "reference_task_ids": ["t"]}}).encode()),
        ("another protocol", "GET", "/", {"Connection": "Upgrade", "Upgrade": "websocket"}, b""),
        ("health check", "GET", "/healthz", {}, b""),
    ]


async def raw(report: Report, tap: Tap, end: tuple[str, int]) -> None:
    async with httpx.AsyncClient(base_url=f"http://{end[0]}:{end[1]}", trust_env=False) as http:
        for name, verb, target, fields, body in raw_rows():
            before = tap.settled()
            # As written: an URL would be put in order first.
            request = http.build_request(verb, "/", headers=fields, content=body, extensions={"target": target.encode()})
            answer = await http.send(request)
            fault = None
            if answer.status_code == 200 and "error" not in answer.text:
                fault = f"{answer.status_code} {answer.text}"
            if arrived := tap.settled() - before:
                fault = f"{arrived} bytes reached the agent: {answer.status_code} {answer.text}"
            report.check(f"ways round: {name}", fault)
        answer = await http.get("/.well-known/agent-card.json")
        report.check("public card", None if answer.status_code == 200 and answer.json()["name"] == "agent" else answer.text)


def trusting(jwks: str) -> str:
    return f"""\
apiVersion: agent-waypoint.dev/v1alpha1
kind: AgentPolicy
metadata: {{name: signed, namespace: {NAMESPACE}}}
spec:
  targetRefs: [{{kind: Service, name: signed}}, {{kind: Service, name: signed-grpc}}]
  protocol: A2A
  a2a: {{cardTrust: {{jwks: '{jwks}'}}}}
  allow: [{{}}]
"""


async def cards(report: Report, jwks: str, end: tuple[str, int], grpc_end: tuple[str, int], direct: int) -> None:
    """A signed card comes as it was, to the SDK's own verifier; others do not come."""
    [key] = json.loads(jwks)["keys"]
    verify = create_signature_verifier(lambda _kid, _jku: PyJWK(key), ["ES256"])
    async with httpx.AsyncClient(base_url=f"http://{end[0]}:{end[1]}", trust_env=False) as http:
        for name, path in (("signed", "/signed"), ("signed, with empty and odd members,", "/odd")):
            answer = await http.get(f"{path}/.well-known/agent-card.json")
            try:
                verify(ParseDict(answer.json(), pb.AgentCard(), ignore_unknown_fields=True))
                fault = None
            except Exception as error:
                fault = f"{type(error).__name__}: {error}: {answer.status_code} {answer.text}"
            report.check(f"cards: one that is {name} is verified by the SDK behind the waypoint", fault)
        # Of both shapes: the SDK signs that of 1.0 alone, and so verifies one in which the URL of 0.3 was changed.
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{direct}", trust_env=False) as agent:
            dual = (await agent.get("/dual/.well-known/agent-card.json")).json()
        try:
            fault = None if dual["url"] and dual["supportedInterfaces"] else f"not of both shapes: {dual}"
            verify(ParseDict({**dual, "url": "https://elsewhere.example/"}, pb.AgentCard(), ignore_unknown_fields=True))
        except Exception as error:
            fault = f"the signature covers the URL of 0.3: {type(error).__name__}: {error}"
        report.check("cards: members of 0.3 are covered by no signature of the SDK", fault)
        for name, path in (("spoilt", "/spoilt"), ("of both shapes", "/dual"), ("unsigned", "")):
            answer = await http.get(f"{path}/.well-known/agent-card.json")
            fault = None if answer.status_code == 502 and "says" not in answer.text else answer.text
            report.check(f"cards: one that is {name} is not passed on", fault)
    for binding, version, come in (("GRPC", "1.0", True), ("GRPC", "0.3", False)):
        asking = client(binding, version, grpc_end, False)
        try:
            card = await asking.get_extended_agent_card(pb.GetExtendedAgentCardRequest())
            verify(card)
            fault = None if come else f"it came: {card}"
        except Exception as error:
            fault = f"{type(error).__name__}: {error}" if come else None
        await asking.close()
        report.check(f"cards: the extended one over {binding} {version} {'is verified' if come else 'is not passed on'}", fault)


async def compressed(report: Report, tap: Tap, end: tuple[str, int], how: grpc.Compression) -> None:
    before = tap.settled()
    async with grpc.aio.insecure_channel(f"{end[0]}:{end[1]}", [("grpc.enable_http_proxy", 0)], compression=how) as channel:
        call = channel.unary_unary("/lf.a2a.v1.A2AService/SendMessage", pb.SendMessageRequest.SerializeToString, pb.SendMessageResponse.FromString)
        try:
            fault = f"answered: {await call(message('x' * 2000))}"
        except grpc.aio.AioRpcError as error:
            fault = None if error.code() == grpc.StatusCode.UNIMPLEMENTED else str(error)
    if (arrived := tap.settled() - before) > 64:
        fault = f"{arrived} bytes reached the agent; {fault}"
    report.check(f"ways round: a gRPC message in {how.name}", fault)


def proto_rows() -> list[tuple[str, str, bytes, grpc.StatusCode]]:
    """Messages that protobuf takes and merges: NAME METHOD BYTES STATUS."""
    refused, missing = grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND
    hello = message("x", context_id="decoy").SerializeToString()
    victim = pb.SendMessageRequest(message=pb.Message(context_id="victim")).SerializeToString()
    part = pb.Part(text="x").SerializeToString() + pb.Part(url="http://127.0.0.1/").SerializeToString()
    inner = pb.Message(message_id="m", role=pb.ROLE_USER).SerializeToString() + bytes([5 << 3 | 2, len(part)]) + part
    agent = message("x")
    agent.message.role = pb.ROLE_AGENT
    hook = message("x")
    hook.configuration.task_push_notification_config.url = "http://169.254.169.254/"
    get = pb.GetTaskRequest(id="t").SerializeToString()
    old = pb03.SendMessageRequest(request=pb03.Message(message_id="m", role=pb03.ROLE_USER, content=[pb03.Part(text="x")]))
    return [
        ("an id twice", "GetTask", get + pb.GetTaskRequest(id="u").SerializeToString(), refused),
        ("a message twice", "SendMessage", hello + victim, refused),
        ("two members of a part", "SendMessage", bytes([1 << 3 | 2, len(inner)]) + inner, refused),
        ("0.3's numbers under 1.0", "SendMessage", old.SerializeToString(), refused),
        ("no protobuf", "GetTask", b"\xff\xff\xff", refused),
        ("the agent's role", "SendMessage", agent.SerializeToString(), refused),
        ("a hook inside of a message", "SendMessage", hook.SerializeToString(), grpc.StatusCode.PERMISSION_DENIED),
        ("another's task referred to", "SendMessage", message("x", reference_task_ids=["t"]).SerializeToString(), missing),
        ("another's task, with a field that nobody knows", "GetTask", get + bytes([15 << 3 | 0, 1]), missing),
    ]


async def raw_proto(report: Report, tap: Tap, end: tuple[str, int]) -> None:
    async with grpc.aio.insecure_channel(f"{end[0]}:{end[1]}", [("grpc.enable_http_proxy", 0)]) as channel:
        for metadata in ((), (("a2a-version", "9.9"),)):
            for name, method, body, status in proto_rows():
                if metadata:
                    name, status = f"{name}, version 9.9", grpc.StatusCode.FAILED_PRECONDITION
                before = tap.settled()
                call = channel.unary_unary(f"/lf.a2a.v1.A2AService/{method}", bytes, bytes)
                try:
                    fault = f"answered: {await call(body, metadata=metadata)!r}"
                except grpc.aio.AioRpcError as error:
                    fault = None if error.code() == status else str(error)
                if (arrived := tap.settled() - before) > 64:
                    fault = f"{arrived} bytes reached the agent; {fault}"
                report.check(f"ways round, gRPC: {name}", fault)


async def soon(ask: Callable[[], Awaitable[Any]]) -> Any:
    """Its answer once it is one, for at most a minute: here only the second replica dials, and the first does not wait for it
    for more than half a second."""
    for _ in range(300):
        try:
            return await ask()
        except Exception:  # noqa: BLE001 (the SDK has a class for each binding)
            await asyncio.sleep(0.2)
    return await ask()


async def replicas(report: Report, taps: dict[str, Tap], binary: Path, directory: Path, documents: dict[str, str]) -> None:
    """Two waypoints of one identity: what one learnt the other knows, and kill -9 makes neither forget."""
    home = directory / "home"
    with Mesh(binary, directory / "one", documents, home, ["--state-dir", str(directory / "kept-one")]) as one:
        more = ["--state-dir", str(directory / "kept-two"), "--replicas", one.hbone]
        with Mesh(binary, directory / "two", documents, home, more) as two:
            for binding, version in BINDINGS:
                kind = "grpc" if binding == "GRPC" else "http"
                name = "agent-grpc" if kind == "grpc" else "agent"
                ends = [{who: mesh.connect(who, name) for who in (CALLER, OTHER, SUPERVISOR)} for mesh in (one, two)]
                at = [Session(report, taps[kind], f"{binding} at replica {n}", version, end) for n, end in enumerate(ends)]
                clients = [{who: client(binding, version, end[who], False) for who in end} for end in ends]
                sent = await at[0].allowed("send", lambda: events(clients[0][CALLER].send_message(message("hello"))), lambda r: bool(task_of(r).id))
                get = pb.GetTaskRequest(id=task_of(sent).id)

                async def known(what: str, replica: int) -> None:
                    of = clients[replica]
                    await at[replica].allowed(f"get, {what}", lambda: soon(lambda: of[CALLER].get_task(get)), lambda r: r.id == get.id)
                    await at[replica].allowed(f"a co-owner's get, {what}", lambda: of[SUPERVISOR].get_task(get), lambda r: r.id == get.id)
                    await at[replica].refused(f"another's get, {what}", lambda: of[OTHER].get_task(get), "not found")

                await known("learnt by the other replica", 1)
                two.restart()
                await known("after its kill -9", 1)
                one.restart()
                await known("after its kill -9", 0)
                for done in clients:
                    for one_client in done.values():
                        await one_client.close()


async def main(binary: Path, keep: bool) -> int:
    report = Report()
    directory = Path(tempfile.mkdtemp(prefix="agent-waypoint-a2a-"))
    log = (directory / "agent.log").open("wb")
    agent = subprocess.Popen([sys.executable, str(HERE / "agent.py")], stdout=subprocess.PIPE, stderr=log)
    try:
        ports = json.loads(agent.stdout.readline())
        taps = {kind: Tap(("127.0.0.1", ports[kind])) for kind in ("http", "grpc")}
        documents = {
            "http": service("agent", "127.0.66.1", taps["http"].address, "agent-waypoint.dev/a2a"),
            "grpc": service("agent-grpc", "127.0.66.2", taps["grpc"].address, "agent-waypoint.dev/a2a"),
            "signed": service("signed", "127.0.66.3", taps["http"].address, "agent-waypoint.dev/a2a"),
            "signed-grpc": service("signed-grpc", "127.0.66.4", taps["grpc"].address, "agent-waypoint.dev/a2a"),
            "policy": POLICY,
            "trusting": trusting(ports["jwks"]),
        }
        with Mesh(binary / "agent-waypoint", directory / "mesh", documents) as mesh:
            for binding, version in BINDINGS:
                kind = "grpc" if binding == "GRPC" else "http"
                name = "agent-grpc" if kind == "grpc" else "agent"
                ends = {who: mesh.connect(who, name) for who in (CALLER, OTHER)}
                with report.section(f"{binding} {version}"):
                    await Session(report, taps[kind], binding, version, ends).run()
            with report.section("cards"):
                await cards(report, ports["jwks"], mesh.connect(CALLER, "signed"), mesh.connect(CALLER, "signed-grpc"), ports["http"])
            with report.section("ways round"):
                await raw(report, taps["http"], mesh.connect(CALLER, "agent"))
                for how in (grpc.Compression.Gzip, grpc.Compression.Deflate):
                    await compressed(report, taps["grpc"], mesh.connect(CALLER, "agent-grpc"), how)
                await raw_proto(report, taps["grpc"], mesh.connect(CALLER, "agent-grpc"))
            text = mesh.log()
            report.check("no hook stands in the log", text[-2000:] if "hooks.example.com" in text else None)
        with report.section("replicas"):
            await replicas(report, taps, binary / "agent-waypoint", directory, documents)
    finally:
        agent.terminate()
        agent.wait(timeout=60)
    if report.failed or keep:
        print(f"documents and logs: {directory}")
    return report.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="e2e/a2a/run")
    parser.add_argument("--bin", type=Path, required=True)
    parser.add_argument("--keep", action="store_true")
    arguments = parser.parse_args()
    sys.exit(asyncio.run(main(arguments.bin, arguments.keep)))
