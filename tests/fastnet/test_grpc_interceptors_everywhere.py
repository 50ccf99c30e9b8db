"""No way into a method leads around its interceptors: every dialect, every kind of method, every kind of handler."""

import asyncio
import json
from collections.abc import Iterator
from typing import Annotated, Any

import grpc
import httpx
import pytest

from fastnet import App, Depends
from fastnet_ext.grpc.framing import frame
from tests.fastnet.grpc_calls import DIALECTS, Dialect, Method, call
from tests.fastnet.serving import Client, serving
from tests.protos import greeter, user

pb, pb_grpc = greeter()
user_pb, _ = user()

METHODS = {
    "SayHello": Method("/greeter.Greeter/SayHello"),
    "SayHelloStream": Method("/greeter.Greeter/SayHelloStream", response_streaming=True),
    "RecordGreetings": Method("/greeter.Greeter/RecordGreetings", request_streaming=True),
    "Chat": Method("/greeter.Greeter/Chat", request_streaming=True, response_streaming=True),
}
REQUESTS = {
    "SayHello": [pb.HelloRequest(name="Ada")],
    "SayHelloStream": [pb.HelloRequest(name="Ada")],
    "RecordGreetings": [pb.HelloRequest(name="Ada"), pb.HelloRequest(name="Bob")],
    "Chat": [pb.ChatMessage(content="1"), pb.ChatMessage(content="2")],
}
REPLIES = {
    "SayHello": [pb.HelloReply(message="Ada")],
    "SayHelloStream": [pb.HelloReply(message="0 Ada"), pb.HelloReply(message="1 Ada")],
    "RecordGreetings": [pb.GreetingSummary(count=2, summary="Ada, Bob")],
    "Chat": REQUESTS["Chat"],
}
TOKEN = "Bearer secret"
UNAUTHENTICATED, UNIMPLEMENTED = 16, 12

# Every handler that has run; an interceptor that refuses must leave it as it is.
ran: list[str] = []


class Async:
    async def SayHello(self, request: Any, context: Any) -> Any:
        ran.append("SayHello")
        return pb.HelloReply(message=request.name)

    async def SayHelloStream(self, request: Any, context: Any) -> Any:
        ran.append("SayHelloStream")
        for i in range(2):
            yield pb.HelloReply(message=f"{i} {request.name}")

    async def RecordGreetings(self, requests: Any, context: Any) -> Any:
        ran.append("RecordGreetings")
        names = [request.name async for request in requests]
        return pb.GreetingSummary(count=len(names), summary=", ".join(names))

    async def Chat(self, requests: Any, context: Any) -> Any:
        ran.append("Chat")
        async for message in requests:
            yield message


class Threaded:
    def SayHello(self, request: Any, context: Any) -> Any:
        ran.append("SayHello")
        return pb.HelloReply(message=request.name)

    def SayHelloStream(self, request: Any, context: Any) -> Any:
        ran.append("SayHelloStream")
        for i in range(2):
            yield pb.HelloReply(message=f"{i} {request.name}")

    def RecordGreetings(self, requests: Any, context: Any) -> Any:
        ran.append("RecordGreetings")
        names = [request.name for request in requests]
        return pb.GreetingSummary(count=len(names), summary=", ".join(names))

    def Chat(self, requests: Any, context: Any) -> Any:
        ran.append("Chat")
        yield from requests


class Writing(Async):
    """grpcio's reader and writer API."""

    async def SayHelloStream(self, request: Any, context: Any) -> Any:
        ran.append("SayHelloStream")
        for i in range(2):
            await context.write(pb.HelloReply(message=f"{i} {request.name}"))

    async def RecordGreetings(self, requests: Any, context: Any) -> Any:
        ran.append("RecordGreetings")
        names = []
        while (request := await context.read()) is not grpc.aio.EOF:
            names.append(request.name)
        return pb.GreetingSummary(count=len(names), summary=", ".join(names))

    async def Chat(self, requests: Any, context: Any) -> Any:
        ran.append("Chat")
        while (message := await context.read()) is not grpc.aio.EOF:
            await context.write(message)


def something() -> str:
    return "something"


Something = Annotated[str, Depends(something)]


class Dependent:
    """Of both kinds, with dependencies."""

    async def SayHello(self, request: Any, context: Any, it: Something) -> Any:
        ran.append("SayHello")
        return pb.HelloReply(message=request.name)

    def SayHelloStream(self, request: Any, context: Any, it: Something) -> Any:
        ran.append("SayHelloStream")
        for i in range(2):
            yield pb.HelloReply(message=f"{i} {request.name}")

    def RecordGreetings(self, requests: Any, context: Any, it: Something) -> Any:
        ran.append("RecordGreetings")
        names = [request.name for request in requests]
        return pb.GreetingSummary(count=len(names), summary=", ".join(names))

    async def Chat(self, requests: Any, context: Any, it: Something) -> Any:
        ran.append("Chat")
        async for message in requests:
            yield message


SERVICERS: dict[str, Any] = {"async": Async, "threaded": Threaded, "writing": Writing, "dependent": Dependent}


async def ours(call: Any, next: Any) -> Any:
    if dict(call.metadata).get("authorization") != TOKEN:
        await call.context.abort(grpc.StatusCode.UNAUTHENTICATED, "who are you?")
    return await next(call)


class Aio(grpc.aio.ServerInterceptor):  # type: ignore[misc]
    """As grpcio's example of authentication has it: whatever the method's kind, what refuses is unary."""

    def __init__(self) -> None:
        async def abort(request: Any, context: Any) -> None:
            await context.abort(grpc.StatusCode.UNAUTHENTICATED, "who are you?")

        self._refusal = grpc.unary_unary_rpc_method_handler(abort)

    async def intercept_service(self, continuation: Any, handler_call_details: Any) -> Any:
        if ("authorization", TOKEN) in handler_call_details.invocation_metadata:
            return await continuation(handler_call_details)
        return self._refusal


class Sync(grpc.ServerInterceptor):  # type: ignore[misc]
    """The same for grpcio's synchronous servers."""

    def __init__(self) -> None:
        def abort(request: Any, context: Any) -> None:
            context.abort(grpc.StatusCode.UNAUTHENTICATED, "who are you?")

        self._refusal = grpc.unary_unary_rpc_method_handler(abort)

    def intercept_service(self, continuation: Any, handler_call_details: Any) -> Any:
        if ("authorization", TOKEN) in handler_call_details.invocation_metadata:
            return continuation(handler_call_details)
        return self._refusal


async def passing(call: Any, next: Any) -> Any:
    return await next(call)


class Passing(grpc.aio.ServerInterceptor):  # type: ignore[misc]
    async def intercept_service(self, continuation: Any, handler_call_details: Any) -> Any:
        return await continuation(handler_call_details)


CHAINS: dict[str, list[Any]] = {
    "ours": [ours],
    "aio": [Aio()],
    "sync": [Sync()],
    "ours-behind-theirs": [Passing(), ours],
    "theirs-behind-ours": [passing, Aio(), passing],
    "aio-behind-sync": [Sync(), Passing(), passing],
}


@pytest.fixture(scope="module", params=CHAINS)
def clients(request: pytest.FixtureRequest) -> Iterator[dict[str, Client]]:
    """Servers of each kind of handler behind the same interceptors."""
    chain = CHAINS[request.param]
    contexts, clients = [], {}
    try:
        for name, servicer in SERVICERS.items():
            app = App(grpc_interceptors=chain)
            app.grpc.add(servicer(), "greeter.Greeter")
            context = serving(app)
            clients[name] = context.__enter__()
            contexts.append(context)
        yield clients
    finally:
        for context in contexts:
            context.__exit__(None, None, None)


@pytest.mark.parametrize("servicer", SERVICERS)
@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("name", METHODS)
def test_nobody_gets_in_without_the_token(
    clients: dict[str, Client], servicer: str, dialect: Dialect, name: str
) -> None:
    client = clients[servicer]
    ran.clear()
    for token in ({}, {"authorization": "Bearer guess"}):
        assert call(client, dialect, METHODS[name], REQUESTS[name], **token) == (UNAUTHENTICATED, [])
    assert ran == []
    expected = [
        json.loads(json.dumps(_json(reply))) if dialect == "connect-json" else reply.SerializeToString()
        for reply in REPLIES[name]
    ]
    assert call(client, dialect, METHODS[name], REQUESTS[name], authorization=TOKEN) == (0, expected)
    assert ran == [name]


def _json(message: Any) -> dict[str, Any]:
    return {field.json_name: value for field, value in message.ListFields()}


# --- what is no ordinary method


@pytest.fixture(scope="module", params=CHAINS)
def client(request: pytest.FixtureRequest) -> Iterator[Client]:
    """Whatever may be served beside plain methods."""
    app = App(grpc_interceptors=CHAINS[request.param])
    app.grpc.health()
    app.grpc.reflection()

    @app.grpc.method("/user.UserService/GetUser", inline=True)
    def get_user(request: Any, context: Any) -> Any:
        ran.append("GetUser")
        return user_pb.User(id=request.id)

    class Generic(grpc.GenericRpcHandler):  # type: ignore[misc]
        def service(self, details: Any) -> Any:
            if details.method not in ("/any.Service/Echo", "/user.UserService/Echo"):
                return None

            async def echo(request: bytes, context: Any) -> bytes:
                ran.append("Echo")
                return request

            return grpc.unary_unary_rpc_method_handler(echo)

    app.grpc.add_generic_rpc_handlers([Generic()])
    with serving(app) as client:
        yield client


def test_calls_by_get(client: Client) -> None:
    ran.clear()
    method, requests = Method("/user.UserService/GetUser"), [user_pb.GetUserRequest(id=7)]
    assert call(client, "connect-get", method, requests) == (UNAUTHENTICATED, [])
    assert ran == []
    assert call(client, "connect-get", method, requests, authorization=TOKEN) == (0, [{"id": "7"}])


def test_a_path_in_other_letters_is_the_same_method(client: Client) -> None:
    ran.clear()
    method, requests = Method("/user.UserService/%47etUser"), [user_pb.GetUserRequest(id=7)]
    for dialect in DIALECTS:
        assert call(client, dialect, method, requests).code in (UNAUTHENTICATED, UNIMPLEMENTED)
    assert ran == []


@pytest.mark.parametrize("dialect", DIALECTS)
def test_methods_that_nobody_serves(client: Client, dialect: Dialect) -> None:
    method, requests = Method("/user.UserService/Nothing"), [user_pb.GetUserRequest(id=7)]
    assert call(client, dialect, method, requests) == (UNAUTHENTICATED, [])
    assert call(client, dialect, method, requests, authorization=TOKEN) == (UNIMPLEMENTED, [])


# What is no gRPC finds a service by its name, which a generic handler does not tell.
GENERIC: list[tuple[Dialect, str]] = [
    ("grpc", "/any.Service/Echo"),
    ("grpc", "/user.UserService/Echo"),
    ("web", "/user.UserService/Echo"),
    ("text", "/user.UserService/Echo"),
    ("connect-proto", "/user.UserService/Echo"),
]


@pytest.mark.parametrize(("dialect", "path"), GENERIC)
def test_methods_of_generic_handlers(client: Client, dialect: Dialect, path: str) -> None:
    ran.clear()
    requests = [user_pb.GetUserRequest(id=7)]
    assert call(client, dialect, Method(path), requests) == (UNAUTHENTICATED, [])
    assert ran == []
    expected = [requests[0].SerializeToString()]
    assert call(client, dialect, Method(path), requests, authorization=TOKEN) == (0, expected)


def test_health_and_reflection(client: Client) -> None:
    empty = pb.HelloRequest()
    both = {"request_streaming": True, "response_streaming": True}
    methods = [
        Method("/grpc.health.v1.Health/Check"),
        Method("/grpc.health.v1.Health/Watch", response_streaming=True),
        Method("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", **both),
        Method("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", **both),
    ]
    for method in methods:
        for dialect in DIALECTS:
            assert call(client, dialect, method, [empty]) == (UNAUTHENTICATED, [])
    assert call(client, "grpc", methods[0], [empty], authorization=TOKEN) == (0, [b"\x08\x01"])
    code, messages = call(client, "grpc", methods[2], [empty], authorization=TOKEN)
    assert (code, len(messages)) == (0, 1)


@pytest.mark.parametrize("chain", CHAINS)
def test_calls_that_come_by_another_server(chain: str) -> None:
    """As an ASGI application: Connect and gRPC-Web reach the methods there too."""
    app = App(grpc_interceptors=CHAINS[chain])
    app.grpc.add(Threaded(), "greeter.Greeter")
    bodies = {
        "application/json": b'{"name": "Ada"}',
        "application/proto": REQUESTS["SayHello"][0].SerializeToString(),
        "application/grpc-web": frame(REQUESTS["SayHello"][0].SerializeToString()),
    }

    async def statuses(**headers: str) -> list[tuple[str, int, bytes]]:
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            answers = []
            for kind, body in bodies.items():
                answer = await client.post(
                    METHODS["SayHello"].path, content=body, headers={"content-type": kind, **headers}
                )
                answers.append((kind, answer.status_code, answer.content))
            return answers

    ran.clear()
    refused = asyncio.run(statuses())
    assert ran == []
    assert [(kind, status) for kind, status, _ in refused if "web" not in kind] == [
        ("application/json", 401),
        ("application/proto", 401),
    ]
    assert asyncio.run(statuses(authorization=TOKEN))[0][1:] == (200, b'{"message": "Ada"}')
    assert ran[0] == "SayHello"
