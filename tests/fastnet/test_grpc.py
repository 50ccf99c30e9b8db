"""Registration of gRPC services: where methods, types and handlers come from, and what is refused."""

import asyncio
import functools
import logging
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Annotated, Any, ClassVar

import grpc
import pytest

from fastnet import App, Call, Depends, Header, HTTPException
from fastnet.grpc import GrpcServer, ServicerContext, SyncServicerContext
from fastnet.grpc.errors import status_of
from fastnet.signatures import HandlerError
from fastnet_ext.exchange.errors import BodyConsumed, PayloadTooLarge
from fastnet_ext.exchange.exchange import Route
from fastnet_ext.exchange.memory import MemoryConnection, MemoryExchange
from fastnet_ext.grpc.framing import frame
from fastnet_ext.net.loop_state import LoopState
from fastnet_ext.routing.table import RoutingTable
from fastnet_ext.serve.errors import RequestValidationError
from tests.protos import greeter

pb, pb_grpc = greeter()

SAY_HELLO = "/greeter.Greeter/SayHello"
HEADERS = [(b"content-type", b"application/grpc"), (b"te", b"trailers")]

# Code, details, and the reply's text when there is one.
Outcome = tuple[int, str, str | None]


def route_for(server: GrpcServer, path: str) -> Route:
    found = {each: route for _, each, route in server.entries()}
    if path in found:
        return found[path]
    return found[path.rpartition("/")[0] + "/{method}"]


def call(server: GrpcServer, name: str = "you", path: str = SAY_HELLO, **headers: str) -> Outcome:
    """Call a method of a server on a loop of its own."""
    fields = [*HEADERS, *((key.replace("_", "-").encode(), value.encode()) for key, value in headers.items())]

    async def main() -> MemoryExchange:
        with ThreadPoolExecutor(1, "handlers") as executor:
            state = LoopState(asyncio.get_running_loop(), executor)
            x = MemoryExchange.streaming(
                "POST",
                path,
                fields,
                route=route_for(server, path),
                connection=MemoryConnection(state.local),
                version=20,
            )
            x.run()
            x.push(frame(pb.HelloRequest(name=name).SerializeToString()))
            x.push_end()
            async with asyncio.timeout(10):
                while not x.complete:  # noqa: ASYNC110 - an exchange in memory tells nobody that it is done
                    await asyncio.sleep(0.001)
            state.close()
            return x

    x = asyncio.run(main())
    trailers = dict(x.answer_trailers or [])
    reply = pb.HelloReply.FromString(x.content[5:]).message if x.content else None
    return int(trailers[b"grpc-status"]), trailers.get(b"grpc-message", b"").decode(), reply


@pytest.fixture
def app() -> App:
    return App()


@pytest.fixture
def server(app: App) -> GrpcServer:
    return GrpcServer(app)


class Greeter:
    async def SayHello(self, request: Any, context: ServicerContext) -> Any:
        return pb.HelloReply(message=f"Hello, {request.name}!")


# --- the ways to register


def test_a_class(server: GrpcServer) -> None:
    made = []

    class Counting(Greeter):
        def __init__(self) -> None:
            made.append(self)

    assert server.service("greeter.Greeter")(Counting) is Counting
    assert not made
    assert call(server) == (0, "", "Hello, you!")
    assert len(made) == 1


def test_an_instance(server: GrpcServer) -> None:
    server.add(Greeter(), "greeter.Greeter")
    assert call(server) == (0, "", "Hello, you!")


def test_an_instance_whose_class_names_its_service(server: GrpcServer) -> None:
    class Named(Greeter):
        service_name: ClassVar[str] = "greeter.Greeter"

    server.add(Named())
    assert call(server) == (0, "", "Hello, you!")


def generated_servicer() -> Any:
    class Servicer(pb_grpc.GreeterServicer):  # type: ignore[misc, name-defined]
        async def SayHello(self, request: Any, context: ServicerContext) -> Any:
            return pb.HelloReply(message=f"Hello, {request.name}!")

    return Servicer()


def test_an_instance_of_a_generated_servicer(server: GrpcServer) -> None:
    server.add(generated_servicer())
    assert call(server) == (0, "", "Hello, you!")


def test_generated_code(server: GrpcServer) -> None:
    pb_grpc.add_GreeterServicer_to_server(generated_servicer(), server)
    assert call(server) == (0, "", "Hello, you!")
    assert server.methods == tuple(
        f"/greeter.Greeter/{name}" for name in ("SayHello", "SayHelloStream", "RecordGreetings", "Chat")
    )


def test_older_generated_code(server: GrpcServer) -> None:
    handlers = {
        "SayHello": grpc.unary_unary_rpc_method_handler(
            generated_servicer().SayHello,
            request_deserializer=pb.HelloRequest.FromString,
            response_serializer=pb.HelloReply.SerializeToString,
        )
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("greeter.Greeter", handlers),))
    assert call(server) == (0, "", "Hello, you!")


def test_a_function(server: GrpcServer) -> None:
    @server.method(SAY_HELLO)
    async def say_hello(request: Any, context: ServicerContext) -> Any:
        return pb.HelloReply(message=request.name)

    assert call(server) == (0, "", "you")
    assert asyncio.iscoroutinefunction(say_hello)


def test_def_handlers(server: GrpcServer) -> None:
    @server.method(SAY_HELLO)
    def say_hello(request: Any, context: SyncServicerContext) -> Any:
        assert context.is_active()
        return pb.HelloReply(message=threading.current_thread().name)

    assert (call(server)[2] or "").startswith("handlers")


def test_quick_def_handlers(server: GrpcServer) -> None:
    @server.method(SAY_HELLO, inline=True)
    def say_hello(request: Any, context: SyncServicerContext) -> Any:
        return pb.HelloReply(message=threading.current_thread().name)

    assert call(server)[2] == threading.current_thread().name


def test_a_generic_handler_that_lists_nothing(server: GrpcServer) -> None:
    class Generic(grpc.GenericRpcHandler):  # type: ignore[misc]
        def service(self, handler_call_details: Any) -> Any:
            if not handler_call_details.method.endswith("/Other"):
                return None
            assert dict(handler_call_details.invocation_metadata)["x-a"] == "b"
            return grpc.unary_unary_rpc_method_handler(self.answer)

        async def answer(self, request: bytes, context: ServicerContext) -> bytes:
            return request

    server.add_generic_rpc_handlers((Generic(),))
    server.add(Greeter(), "greeter.Greeter")
    assert call(server, path="/greeter.Greeter/Other", x_a="b") == (0, "", "you")
    assert call(server, path="/greeter.Greeter/None", x_a="b") == (12, "Method not found!", None)


def test_it_is_a_server_of_grpcio(server: GrpcServer) -> None:
    assert isinstance(server, grpc.aio.Server)
    with pytest.raises(RuntimeError, match="port of its application"):
        server.add_insecure_port("localhost:0")
    with pytest.raises(RuntimeError, match="port of its application"):
        asyncio.run(server.start())


def test_wrapped_handlers_of_generated_code(app: App, server: GrpcServer) -> None:
    """Interceptors and tracers wrap handlers in functions without parameters of their own."""
    servicer = generated_servicer()
    inner = servicer.SayHello

    @functools.wraps(inner)
    async def wrapper(*arguments: Any, **options: Any) -> Any:
        return await inner(*arguments, **options)

    servicer.SayHello = wrapper
    pb_grpc.add_GreeterServicer_to_server(servicer, server)
    assert call(server) == (0, "", "Hello, you!")


# --- methods that are not there


def test_unknown_methods(server: GrpcServer) -> None:
    server.add(Greeter(), "greeter.Greeter")
    for path in ("/greeter.Greeter/Nothing", "/greeter.Greeter/Chat"):
        assert call(server, path=path) == (12, "Method not found!", None)


def test_what_a_generated_servicer_lacks(server: GrpcServer) -> None:
    pb_grpc.add_GreeterServicer_to_server(pb_grpc.GreeterServicer(), server)
    assert call(server) == (12, "Method not implemented!", None)


def test_the_routes_fit_into_a_table(server: GrpcServer) -> None:
    pb_grpc.add_GreeterServicer_to_server(generated_servicer(), server)
    table = RoutingTable(server.entries())
    assert "POST" in table.allowed(SAY_HELLO.encode())


# --- what is refused


def test_services_that_protobuf_does_not_know(server: GrpcServer) -> None:
    with pytest.raises(LookupError, match="_pb2 module"):
        server.service("greeter.Nobody")(Greeter)
    with pytest.raises(LookupError, match="_pb2 module"):
        server.method("/nobody.Knows/It")(Greeter().SayHello)
    with pytest.raises(LookupError, match="no method 'SayBye', only SayHello"):
        server.method("/greeter.Greeter/SayBye")(Greeter().SayHello)


@pytest.mark.parametrize("path", ["greeter.Greeter/SayHello", "/SayHello", "//SayHello", "/a/b/c", "/a/", ""])
def test_paths_that_are_none(server: GrpcServer, path: str) -> None:
    with pytest.raises(ValueError, match=r"/package\.Service/Method"):
        server.method(path)


def test_a_method_that_is_there_already(server: GrpcServer) -> None:
    server.service("greeter.Greeter")(Greeter)
    with pytest.raises(ValueError, match=r"answered twice: by .*test_grpc.py:\d+.* and by .*test_grpc.py:\d+"):
        server.add(Greeter(), "greeter.Greeter")
    with pytest.raises(ValueError, match="answered twice"):
        pb_grpc.add_GreeterServicer_to_server(generated_servicer(), server)


def test_classes_that_cannot_be_called(server: GrpcServer) -> None:
    class Wanting(Greeter):
        def __init__(self, database: str) -> None: ...

    with pytest.raises(TypeError, match=r"app\.grpc\.add takes an instance"):
        server.service("greeter.Greeter")(Wanting)
    with pytest.raises(TypeError, match="decorates a class"):
        server.service("greeter.Greeter")(Greeter())  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="add takes an instance"):
        server.add(Greeter)
    with pytest.raises(TypeError, match="must be said"):
        server.add(Greeter())


def test_classes_without_a_method(server: GrpcServer) -> None:
    class Empty: ...

    with pytest.raises(TypeError, match=r"none of the methods of greeter\.Greeter: SayHello, "):
        server.service("greeter.Greeter")(Empty)


def test_handlers_that_cannot_be_called(server: GrpcServer) -> None:
    async def yields(request: Any, context: Any) -> Any:
        yield request

    async def one(request: Any) -> Any: ...

    async def body(request: Any, context: Any, more: dict[str, int]) -> Any: ...

    wrong: list[tuple[Callable[..., Any], str]] = [(yields, "one message"), (one, "first two"), (body, "body")]
    for handler, message in wrong:
        with pytest.raises(HandlerError, match=message):
            server.method(SAY_HELLO)(handler)

    class Class:
        async def SayHello(self, request: Any) -> Any: ...

    with pytest.raises(HandlerError, match="first two"):
        server.service("greeter.Greeter")(Class)
    assert server.methods == ()


def test_handlers_of_a_foreign_kind(server: GrpcServer) -> None:
    with pytest.raises(TypeError, match="GenericRpcHandler"):
        server.add_generic_rpc_handlers((object(),))
    with pytest.raises(TypeError, match="no handler"):
        server.add_registered_method_handlers("a.B", {"C": grpc_handler_of_nothing()})


def grpc_handler_of_nothing() -> Any:
    return grpc.unary_unary_rpc_method_handler(None)


def test_nothing_is_registered_while_serving(app: App, server: GrpcServer) -> None:
    app.build()
    with pytest.raises(RuntimeError):
        server.add(Greeter(), "greeter.Greeter")
    assert server.methods == ()


def test_without_grpcio(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "grpc.aio", None)
    with pytest.raises(ImportError, match=r"pip install fastnet-server\[grpc\]"):
        GrpcServer(app)


# --- dependencies


async def user_of(token: Annotated[str, Header("authorization")]) -> str:
    if token != "secret":
        raise HTTPException(401, "who are you?")
    return "Ada"


def test_handlers_take_what_others_take(server: GrpcServer) -> None:
    @server.method(SAY_HELLO)
    async def say_hello(
        request: Any, context: ServicerContext, user: Annotated[str, Depends(user_of)], call: Call
    ) -> Any:
        assert call is context
        return pb.HelloReply(message=f"{request.name} and {user}")

    assert call(server, authorization="secret") == (0, "", "you and Ada")
    assert call(server, authorization="guess") == (16, "who are you?", None)
    code, details, _ = call(server)
    assert code == 3
    assert "authorization" in details


def test_def_handlers_take_what_others_take(server: GrpcServer) -> None:
    @server.method(SAY_HELLO)
    def say_hello(request: Any, context: SyncServicerContext, authorization: Annotated[str, Header()]) -> Any:
        assert isinstance(context, SyncServicerContext)
        return pb.HelloReply(message=f"{authorization} in {threading.current_thread().name}")

    assert (call(server, authorization="x")[2] or "").startswith("x in handlers")


@pytest.mark.parametrize("generated", [True, False])
def test_dependencies_of_the_app(generated: bool) -> None:
    app = App(dependencies=[Depends(user_of)])
    server = GrpcServer(app)
    if generated:
        pb_grpc.add_GreeterServicer_to_server(generated_servicer(), server)
    else:
        server.add(Greeter(), "greeter.Greeter")
    assert call(server, authorization="secret") == (0, "", "Hello, you!")
    assert call(server, authorization="guess") == (16, "who are you?", None)


def test_overridden_dependencies(app: App, server: GrpcServer) -> None:
    @server.method(SAY_HELLO)
    async def say_hello(request: Any, context: ServicerContext, user: Annotated[str, Depends(user_of)]) -> Any:
        return pb.HelloReply(message=user)

    app.dependency_overrides[user_of] = lambda: "Grace"
    assert call(server) == (0, "", "Grace")


# --- errors


def test_statuses_of_errors() -> None:
    assert status_of(HTTPException(404)) == (5, "Not Found")
    assert status_of(HTTPException(418, "tea")) == (2, "tea")
    assert status_of(PayloadTooLarge(10)) == (8, str(PayloadTooLarge(10)))
    assert status_of(RequestValidationError([{"loc": ["query", "a"], "msg": "wanted", "type": "x"}])) == (
        3,
        "query.a: wanted",
    )
    # A mistake of ours is nobody's business.
    assert status_of(BodyConsumed("twice")) is None
    assert status_of(ValueError("secret")) is None


def test_debug_tells(caplog: pytest.LogCaptureFixture) -> None:
    for debug in (False, True):
        server = GrpcServer(App(debug=debug))

        @server.method(SAY_HELLO)
        async def say_hello(request: Any, context: ServicerContext) -> Any:
            raise ValueError("secret")

        with caplog.at_level(logging.CRITICAL, "fastnet.error"):
            code, details, _ = call(server)
        assert code == 2
        assert ("ValueError: secret" in details) is debug
