"""The user's contract, fully annotated: mypy --strict and pyright must find nothing.

What the design shows is here as it is written there; what decorators return is what they were given,
and what handlers are handed has the types that users rely on.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Annotated, Any, Literal, assert_type

import greeter_pb2 as pb
import greeter_pb2_grpc as pb_grpc
import grpc.aio
import msgspec

from fastnet import (
    App,
    Call,
    CallNext,
    Depends,
    EventStream,
    Header,
    HTTPException,
    LastEventId,
    Request,
    Response,
    Router,
    ServerSentEvent,
    WebSocket,
)
from fastnet.compression import Compression, Compressor, Decompressor, compress, decompress
from fastnet.grpc import GrpcServer, InterceptedCall, Metadatum, Next, Peer, ServicerContext
from fastnet.ratelimit import Concurrency, RateLimit, api_key, client_ip
from fastnet.streaming import Message, Token, TokenStream, TokenStreams, Usage
from fastnet.websocket import Member

app = App()


class User(msgspec.Struct):
    name: Annotated[str, msgspec.Meta(min_length=1)]
    age: Annotated[int, msgspec.Meta(ge=0)] = 0


# --- HTTP


@app.get("/")
async def index() -> str:
    return "Hello, World!"


@app.get("/users/{id}")
async def read_user(id: int, verbose: bool = False) -> dict[str, object]:
    return {"id": id, "verbose": verbose}


@app.post("/users", status_code=201)
async def create_user(user: User, token: Annotated[str, Header("x-token")] = "") -> User:
    return user


@app.get("/report")
async def report() -> AsyncIterator[str]:
    for i in range(3):
        yield f"line {i}\n"


async def current_user(token: Annotated[str, Header("authorization")]) -> User:
    if not token:
        raise HTTPException(401)
    return User(token)


@app.get("/me")
async def me(user: Annotated[User, Depends(current_user)]) -> User:
    return user


@app.middleware
async def timing(request: Request, call_next: CallNext) -> Response:
    response = await call_next(request)
    response.headers["x-served-by"] = "fastnet"
    return response


@app.lifespan
async def lifespan(app: App) -> AsyncIterator[None]:
    app.state.ready = True
    yield
    app.state.ready = False


# --- WebSocket


@app.websocket("/echo")
async def echo(ws: WebSocket) -> None:
    async for message in ws:
        assert_type(message, str | bytes)
        await ws.send(message)


@app.websocket("/users")
async def users(ws: WebSocket[User, User], owner: Annotated[User, Depends(current_user)]) -> None:
    await ws.accept()
    async for user in ws:
        assert_type(user, User)
        await ws.send(user)
    assert_type(await ws.receive_json(list[int], timeout=5), list[int])
    assert_type(await ws.receive(timeout=0.5), User)
    assert_type(await ws.ping(), float)
    assert_type(ws.close_code, int | None)


hub = app.hub("users", queue=16, slow="close")


def on_open(ws: WebSocket, room: str, since: int = 0) -> None:
    assert_type(hub.join(ws, room, {"since": since}), Member)


def on_message(ws: WebSocket[User, User], user: User) -> None:
    assert_type(ws.send_nowait(user), bool)
    assert_type(hub.broadcast_json("lobby", user, exclude=ws), int)


def on_close(ws: WebSocket, code: int, reason: str) -> None:
    hub.leave(ws, "lobby")
    ws.close()


app.websocket(
    "/rooms/{room}", on_open=on_open, on_message=on_message, on_close=on_close, ping_interval=5, origins=["*"]
)
app.websocket("/in", on_message=on_message)
app.websocket("/out", on_open=on_open)


@hub.on_join
def joined(room: str, member: Member) -> None:
    assert_type(hub.members(room), list[Member])


# --- server-sent events


@app.sse("/ticks")
async def ticks() -> AsyncIterator[ServerSentEvent]:
    yield ServerSentEvent({"n": 1}, event="tick", id="1")


@app.sse("/rooms/{room}", methods=["GET", "POST"], heartbeat=5, retry=1000, replay=100)
async def room_events(room: str, last: LastEventId) -> AsyncIterator[User | str]:
    assert_type(last, str)
    yield User(room)
    yield "text"


@app.get("/events")
async def events() -> EventStream:
    return EventStream(ticks(), heartbeat=0)


# --- token streams


async def tokens(prompt: str) -> AsyncIterator[str | Token]:
    yield prompt
    yield Token("", count=0, finish_reason="length")


@app.get("/tokens")
async def token_text(prompt: str) -> TokenStream:
    return TokenStream(tokens(prompt), chunk_size=16, max_delay=0.05)


@app.post("/tokens")
async def token_events(prompt: str) -> EventStream:
    return EventStream(TokenStream(tokens(prompt)).events())


@app.sse("/tokens/{prompt}")
async def token_generator(prompt: str) -> AsyncIterator[ServerSentEvent]:
    async with TokenStream(tokens(prompt)) as stream:
        async for event in stream.events():
            yield event
        assert_type(stream.usage(), Usage)
        assert_type(stream.finish_reason, str | None)


class Prompt(msgspec.Struct):
    text: str


@app.websocket("/tokens")
async def token_socket(ws: WebSocket) -> None:
    def source(prompt: Prompt) -> AsyncIterator[str | Token]:
        return tokens(prompt.text)

    await TokenStreams(limit=4).serve(ws, source, Prompt)


async def token_streams() -> None:
    streams = TokenStreams(chunk_size=16)
    assert_type(streams.start("a", tokens("Hello")), TokenStream)
    assert_type(await streams.next_chunk("a"), str | None)
    streams.cancel("a")
    assert_type(await streams.end("a"), Usage)
    async for message in streams.messages():
        assert_type(message, Message)


# --- gRPC


@app.grpc.service("greeter.Greeter")
class Greeter:
    async def SayHello(self, request: pb.HelloRequest, context: ServicerContext) -> pb.HelloReply:
        if not request.name:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "a greeting needs a name")
        return pb.HelloReply(message=f"Hello, {request.name}!")

    async def SayHelloStream(self, request: pb.HelloRequest, context: ServicerContext) -> AsyncIterator[pb.HelloReply]:
        for i in range(5):
            yield pb.HelloReply(message=f"{i}: {request.name}")

    async def RecordGreetings(
        self, requests: AsyncIterator[pb.HelloRequest], context: ServicerContext
    ) -> pb.GreetingSummary:
        names = [request.name async for request in requests]
        return pb.GreetingSummary(count=len(names), summary=", ".join(names))

    async def Chat(
        self, requests: AsyncIterator[pb.ChatMessage], context: ServicerContext
    ) -> AsyncIterator[pb.ChatMessage]:
        async for message in requests:
            yield pb.ChatMessage(user="server", content=message.content)


other = App()


@other.grpc.method("/greeter.Greeter/SayHello")
async def say_hello(request: pb.HelloRequest, user: Annotated[User, Depends(current_user)]) -> pb.HelloReply:
    return pb.HelloReply(message=f"Hello, {request.name}!")


class Servicer(pb_grpc.GreeterServicer):
    """Unmodified, as it is written for grpc.aio."""

    async def SayHello(
        self, request: pb.HelloRequest, context: grpc.aio.ServicerContext[pb.HelloRequest, pb.HelloReply]
    ) -> pb.HelloReply:
        return pb.HelloReply(message=f"Hello, {request.name}!")


class AuthInterceptor(grpc.aio.ServerInterceptor):  # type: ignore[misc] # grpcio has no types for mypy
    """Unmodified, as it is written for grpc.aio."""

    async def intercept_service(
        self,
        continuation: "Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler[Any, Any] | None]]",
        handler_call_details: grpc.HandlerCallDetails,
    ) -> "grpc.RpcMethodHandler[Any, Any] | None":
        return await continuation(handler_call_details)


third = App(grpc_interceptors=[AuthInterceptor()])
assert_type(third.grpc.interceptor(AuthInterceptor()), AuthInterceptor)


@third.grpc.interceptor
async def authorized(call: InterceptedCall, next: Next) -> Any:
    assert_type(call.method, str)
    assert_type(call.kind, Literal["unary_unary", "unary_stream", "stream_unary", "stream_stream"])
    assert_type(call.metadata, tuple[Metadatum, ...])
    assert_type(call.peer, Peer)
    assert_type(call.context, ServicerContext)
    if not call.metadata:
        await call.context.abort(grpc.StatusCode.UNAUTHENTICATED, "who are you?")
    return await next(call)


pb_grpc.add_GreeterServicer_to_server(Servicer(), third.grpc)


# --- several files

router = Router()


@router.get("/items/{id}")
def read_item(id: int) -> list[User]:
    return [User("Ada", id)]


app.include(router, prefix="/api", middleware=[timing], dependencies=[Depends(current_user)])


async def main() -> None:
    # Decorators return what they were given: functions keep their parameters, and classes are the same classes.
    assert_type(await index(), str)
    assert_type(await read_user(3, verbose=True), dict[str, object])
    assert_type(await create_user(User("Ada"), token="t"), User)
    assert_type(report(), AsyncIterator[str])
    assert_type(ticks(), AsyncIterator[ServerSentEvent])
    assert_type(read_item(id=1), list[User])
    assert_type(lifespan(app), AsyncIterator[None])
    assert_type(Greeter(), Greeter)
    assert_type(app.grpc, GrpcServer)
    assert_type(await Greeter().SayHello(pb.HelloRequest(), context_of()), pb.HelloReply)
    async with app.serve(port=0) as server:
        assert_type(server.url, str)


def context_of() -> ServicerContext:
    raise NotImplementedError


def blocking() -> None:
    app.run(port=8000)


# --- rate limits

app.limit("100/second", burst=200, key=client_ip)


def user_of(call: Call) -> str | None:
    return call.headers.get("x-user")


@app.get("/search", limit=[RateLimit("10/minute", key=api_key(), cost=lambda call: 2), Concurrency(5), "1000/day"])
async def search() -> str:
    return ""


@app.websocket("/limited", limit="1/second", message_limit=RateLimit("10/second", key=user_of))
async def limited(ws: WebSocket) -> None:
    async for message in ws:
        await ws.send(message)


# --- compression

compression: Compression = app.compress(codings={"zstd": 3, "br": None, "gzip": 6}, minimum_size=2048)
app.decompress(max_size=10_000_000)
Router().compress(compression)


@app.get("/long", compress=Compression(codings=["br"]))
async def long_report() -> str:
    return ""


@app.post("/upload", compress=False, decompress=1_000_000)
async def upload(body: bytes) -> None:
    coder, reader = Compressor("gzip", level=6), Decompressor("br", max_size=None)
    parts: list[bytes] = [coder.compress(body), coder.flush(), coder.finish()]
    data: bytes = decompress(compress(b"".join(parts), "zstd", level=3), "zstd", max_size=1000)
    data += reader.decompress(data)
    reader.finish()


@app.sse("/quiet", compress=True)
async def quiet() -> AsyncIterator[str]:
    yield ""
