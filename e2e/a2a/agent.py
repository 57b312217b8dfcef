"""An agent on the official SDK: JSON-RPC and HTTP+JSON on one port, gRPC on another, 1.0 and 0.3 on both.

A message whose text begins with `wait` leaves a task that works until it is cancelled; any other is done at once.
Below /signed it has a card of 1.0 that is signed, below /spoilt the same with another text in it, below /odd one with what
canonical forms differ about, below /dual one that the SDK gives members of 0.3 beside what it signed.
Prints {"http": PORT, "grpc": PORT, "jwks": KEYS}, then one JSON line for each message that its executor ran.
"""

import asyncio
import json
import sys

import grpc
import httpx
import uvicorn
from a2a.compat.v0_3 import a2a_v0_3_pb2_grpc
from a2a.compat.v0_3.grpc_handler import CompatGrpcHandler

from a2a.server.agent_execution import AgentExecutor
from a2a.server.request_handlers import DefaultRequestHandler
from a2a.server.request_handlers.grpc_handler import GrpcHandler
from a2a.server.routes import create_agent_card_routes, create_jsonrpc_routes
from a2a.server.routes.rest_routes import create_rest_routes
from a2a.server.tasks import (
    BasePushNotificationSender,
    InMemoryPushNotificationConfigStore,
    InMemoryTaskStore,
    TaskUpdater,
)
from a2a.types import a2a_pb2, a2a_pb2_grpc
from a2a.utils.signing import create_agent_card_signer
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from jwt.algorithms import ECAlgorithm
from starlette.applications import Starlette

class Executor(AgentExecutor):
    async def execute(self, context, event_queue):
        print(json.dumps({"ran": context.get_user_input()}), flush=True)
        if not context.current_task:
            task = a2a_pb2.Task(
                id=context.task_id,
                context_id=context.context_id,
                status=a2a_pb2.TaskStatus(state=a2a_pb2.TASK_STATE_SUBMITTED),
                history=[context.message],
            )
            await event_queue.enqueue_event(task)
        updater = TaskUpdater(event_queue, context.task_id, context.context_id)
        await updater.start_work()
        if context.get_user_input().startswith("wait"):
            await asyncio.sleep(1200)
        await updater.add_artifact([a2a_pb2.Part(text="done")])
        await updater.complete()

    async def cancel(self, context, event_queue):
        await TaskUpdater(event_queue, context.task_id, context.context_id).cancel()

def card(name: str) -> a2a_pb2.AgentCard:
    card = a2a_pb2.AgentCard(
        name=name,
        description="says done",
        version="1",
        capabilities=a2a_pb2.AgentCapabilities(streaming=True, push_notifications=True, extended_agent_card=True),
        default_input_modes=["text/plain"],
        default_output_modes=["text/plain"],
        skills=[a2a_pb2.AgentSkill(id="say", name="say", description="says done", tags=["x"])],
    )
    for binding in ("JSONRPC", "HTTP+JSON", "GRPC"):
        for version in ("1.0", "0.3"):
            url = "127.0.66.2:8080" if binding == "GRPC" else "http://127.0.66.1:8080"
            card.supported_interfaces.add(url=url, protocol_binding=binding, protocol_version=version)
    return card

def signed() -> tuple[dict[str, a2a_pb2.AgentCard], a2a_pb2.AgentCard, str]:
    """Cards by their places, a signed extended card, and the key as a JWK set."""
    made = card("agent \u20ac, signed")
    del made.supported_interfaces[:]
    made.supported_interfaces.add(url="http://127.0.66.3:8080", protocol_binding="JSONRPC", protocol_version="1.0")
    key = ec.generate_private_key(ec.SECP256R1())
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    header = {"kid": "k1", "alg": "ES256", "typ": "JOSE", "jku": "https://elsewhere.example/keys"}
    sign = create_agent_card_signer(pem, header)
    odd = a2a_pb2.AgentCard()
    odd.CopyFrom(made)
    odd.skills[0].tags.extend(["", "y"])
    odd.capabilities.extensions.add(uri="urn:odd", params={"empty": {}, "list": [{}, [], "", 1, None], "n": [1e21, 1e-7, 0.1, -0.0, 5], "\u20ac\U0001f600\ufb33": "\x7f\u2028"})
    made, odd, extended, dual = sign(made), sign(odd), sign(card("agent, extended")), sign(card("agent, dual"))
    spoilt = a2a_pb2.AgentCard()
    spoilt.CopyFrom(made)
    spoilt.description = "says whatever"
    jwk = {**json.loads(ECAlgorithm.to_jwk(key.public_key())), "kid": "k1", "alg": "ES256"}
    return {"signed": made, "spoilt": spoilt, "odd": odd, "dual": dual}, extended, json.dumps({"keys": [jwk]})

async def main() -> None:
    cards, extended, jwks = signed()
    configs = InMemoryPushNotificationConfigStore()
    handler = DefaultRequestHandler(
        agent_executor=Executor(),
        task_store=InMemoryTaskStore(),
        agent_card=card("agent"),
        extended_agent_card=extended,
        push_config_store=configs,
        push_sender=BasePushNotificationSender(httpx.AsyncClient(), configs),
    )
    routes = [
        *create_agent_card_routes(card("agent")),
        *(route for at, one in cards.items() for route in create_agent_card_routes(one, card_url=f"/{at}/.well-known/agent-card.json")),
        *create_rest_routes(handler, enable_v0_3_compat=True),
        *create_jsonrpc_routes(handler, "/", enable_v0_3_compat=True),
    ]
    http = uvicorn.Server(uvicorn.Config(Starlette(routes=routes), host="127.0.0.1", port=0, log_level="warning"))
    server = grpc.aio.server()
    a2a_pb2_grpc.add_A2AServiceServicer_to_server(GrpcHandler(handler), server)
    a2a_v0_3_pb2_grpc.add_A2AServiceServicer_to_server(CompatGrpcHandler(handler), server)
    grpc_port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    serving = asyncio.create_task(http.serve())
    while not http.started:
        await asyncio.sleep(0.02)
    port = http.servers[0].sockets[0].getsockname()[1]
    print(json.dumps({"http": port, "grpc": grpc_port, "jwks": jwks}), flush=True)
    await serving

if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
