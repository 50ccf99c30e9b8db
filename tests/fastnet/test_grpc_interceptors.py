"""What interceptors may do with a call: look, refuse, replace, catch; and what is refused as an interceptor."""

import asyncio
import contextvars
import gc
import logging
import threading
import weakref
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import grpc
import pytest

from fastnet import App, Depends, HTTPException
from fastnet.grpc import InterceptedCall, Next
from tests.fastnet.grpc_calls import CODES, Method, call
from tests.fastnet.serving import serving
from tests.protos import greeter
from tests.server.service import until

pb, pb_grpc = greeter()

PATIENCE = 20
HELLO = Method("/greeter.Greeter/SayHello")
STREAM = Method("/greeter.Greeter/SayHelloStream", response_streaming=True)
RECORD = Method("/greeter.Greeter/RecordGreetings", request_streaming=True)
CHAT = Method("/greeter.Greeter/Chat", request_streaming=True, response_streaming=True)


class Greeter:
    async def SayHello(self, request: Any, context: Any) -> Any:
        match request.name:
            case "fail":
                raise RuntimeError("secret")
            case "refuse":
                raise HTTPException(404, "nobody")
            case "code":
                context.set_code(grpc.StatusCode.DATA_LOSS)
                return None
        return pb.HelloReply(message=request.name)

    async def SayHelloStream(self, request: Any, context: Any) -> AsyncIterator[Any]:
        for i in range(3):
            yield pb.HelloReply(message=f"{i} {request.name}")
        if request.name == "fail":
            raise RuntimeError("secret")
        if request.name == "wait":
            await asyncio.get_running_loop().create_future()

    def RecordGreetings(self, requests: Any, context: Any) -> Any:
        names = [request.name for request in requests]
        return pb.GreetingSummary(count=len(names), summary=", ".join(names))

    async def Chat(self, requests: Any, context: Any) -> AsyncIterator[Any]:
        async for message in requests:
            yield message


@contextmanager
def greeting(*interceptors: Any, servicer: Any = Greeter) -> Iterator[Any]:
    """A stub of a server with these interceptors."""
    app = App(grpc_interceptors=interceptors)
    app.grpc.add(servicer(), "greeter.Greeter")
    with serving(app) as client, grpc.insecure_channel(f"127.0.0.1:{client.port}") as channel:
        yield pb_grpc.GreeterStub(channel)


def hello(stub: Any, name: str = "Ada", **options: Any) -> str:
    return str(stub.SayHello(pb.HelloRequest(name=name), timeout=PATIENCE, **options).message)


def replies(stub: Any, name: str = "Ada") -> list[str]:
    return [reply.message for reply in stub.SayHelloStream(pb.HelloRequest(name=name), timeout=PATIENCE)]


def record(stub: Any, *names: str) -> str:
    requests = iter([pb.HelloRequest(name=name) for name in names])
    return str(stub.RecordGreetings(requests, timeout=PATIENCE).summary)


def chat(stub: Any, *texts: str) -> list[str]:
    requests = iter([pb.ChatMessage(content=text) for text in texts])
    return [message.content for message in stub.Chat(requests, timeout=PATIENCE)]


def code_of(function: Callable[..., Any], *arguments: Any) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.RpcError) as caught:
        function(*arguments)
    return caught.value.code(), caught.value.details()


# --- what an interceptor sees


def test_a_call() -> None:
    seen: list[Any] = []

    async def look(call: InterceptedCall, next: Next) -> Any:
        kinds = call.kind, call.request_streaming, call.response_streaming
        metadata = {key: value for key, value in call.metadata if key in ("a", "b-bin")}
        seen.append((call.method, *kinds, metadata, call.peer.host, call.deadline is not None, repr(call)))
        assert call.context.invocation_metadata() == call.metadata
        if call.kind == "unary_unary":
            seen.append(call.request.name)
        return await next(call)

    with greeting(look) as stub:
        assert hello(stub, metadata=(("a", "1"), ("b-bin", b"\xff"))) == "Ada"
        replies(stub)
        record(stub, "Ada")
        chat(stub, "1")
    assert seen[0] == (
        *(HELLO.path, "unary_unary", False, False),
        *({"a": "1", "b-bin": b"\xff"}, "127.0.0.1", True, f"<InterceptedCall of {HELLO.path}>"),
    )
    assert seen[1] == "Ada"
    assert [each[:4] for each in seen[2:]] == [
        (STREAM.path, "unary_stream", False, True),
        (RECORD.path, "stream_unary", True, False),
        (CHAT.path, "stream_stream", True, True),
    ]


def test_the_order_is_the_order_given() -> None:
    log: list[str] = []

    def ours(name: str) -> Any:
        async def interceptor(call: InterceptedCall, next: Next) -> Any:
            log.append(f"{name} in")
            try:
                return await next(call)
            finally:
                log.append(f"{name} out")

        return interceptor

    class Theirs(grpc.aio.ServerInterceptor):  # type: ignore[misc]
        async def intercept_service(self, continuation: Any, details: Any) -> Any:
            log.append("theirs in")
            handler = await continuation(details)

            async def behave(request: Any, context: Any) -> Any:
                log.append("wrapper in")
                try:
                    return await handler.unary_unary(request, context)
                finally:
                    log.append("wrapper out")

            return handler._replace(unary_unary=behave)

    class Sync(grpc.ServerInterceptor):  # type: ignore[misc]
        def intercept_service(self, continuation: Any, details: Any) -> Any:
            log.append("sync in")
            return continuation(details)

    with greeting(ours("1"), Theirs(), ours("2"), Sync(), Theirs(), ours("3")) as stub:
        assert hello(stub) == "Ada"
    inwards = ["1 in", "theirs in", "wrapper in", "2 in", "sync in", "theirs in", "wrapper in", "3 in"]
    outwards = ["3 out", "wrapper out", "2 out", "wrapper out", "1 out"]
    assert log == inwards + outwards


def test_one_context_for_all_of_a_call() -> None:
    who: contextvars.ContextVar[str] = contextvars.ContextVar("who", default="nobody")
    seen: list[str] = []

    async def ours(call: InterceptedCall, next: Next) -> Any:
        seen.append(who.get())
        who.set("ours")
        return await next(call)

    class Theirs(grpc.aio.ServerInterceptor):  # type: ignore[misc]
        async def intercept_service(self, continuation: Any, details: Any) -> Any:
            seen.append(who.get())
            who.set("theirs")
            return await continuation(details)

    class Servicer:
        async def SayHello(self, request: Any, context: Any) -> Any:
            return pb.HelloReply(message=who.get())

        def SayHelloStream(self, request: Any, context: Any) -> Any:
            yield pb.HelloReply(message=who.get())

    with greeting(ours, Theirs(), servicer=Servicer) as stub:
        for _ in range(3):
            # The next call starts with a context of its own, though its Task may be the same.
            assert hello(stub) == "theirs"
            assert replies(stub) == ["theirs"]
    assert seen == ["nobody", "ours"] * 6


def test_dependencies_run_behind_the_interceptors() -> None:
    log: list[str] = []

    def resource() -> Iterator[str]:
        log.append("dependency")
        yield "resource"
        log.append("clean-up")

    async def ours(call: InterceptedCall, next: Next) -> Any:
        log.append("interceptor")
        return await next(call)

    class Servicer:
        def SayHello(self, request: Any, context: Any, it: Annotated[str, Depends(resource)]) -> Any:
            log.append(threading.current_thread().name.partition("_")[0])
            return pb.HelloReply(message=it)

    with greeting(ours, servicer=Servicer) as stub:
        assert hello(stub) == "resource"
        until(lambda: "clean-up" in log, "the clean-up")
    assert log == ["interceptor", "dependency", "fastnet", "clean-up"]


# --- refusing


def test_aborting() -> None:
    async def ours(call: InterceptedCall, next: Next) -> Any:
        await call.context.abort(grpc.StatusCode.PERMISSION_DENIED, "no", (("why", "so"),))

    with greeting(ours) as stub:
        for function in (hello, replies, record, chat):
            assert code_of(function, stub) == (grpc.StatusCode.PERMISSION_DENIED, "no")


def test_exceptions_are_those_of_handlers(caplog: pytest.LogCaptureFixture) -> None:
    async def ours(call: InterceptedCall, next: Next) -> Any:
        if call.response_streaming:
            raise ValueError("secret")
        raise HTTPException(401, "who are you?")

    class Theirs(grpc.aio.ServerInterceptor):  # type: ignore[misc]
        async def intercept_service(self, continuation: Any, details: Any) -> Any:
            raise ValueError("secret")

    with greeting(ours) as stub, caplog.at_level(logging.ERROR, "fastnet.error"):
        assert code_of(hello, stub) == (grpc.StatusCode.UNAUTHENTICATED, "who are you?")
        assert code_of(record, stub, "Ada") == (grpc.StatusCode.UNAUTHENTICATED, "who are you?")
        for function in (replies, chat):
            code, details = code_of(function, stub)
            assert code == grpc.StatusCode.UNKNOWN
            assert "request " in details
            assert "secret" not in details
    with greeting(Theirs()) as stub:
        code, details = code_of(hello, stub)
        assert code == grpc.StatusCode.UNKNOWN
        assert "secret" not in details


def test_a_message_that_nobody_looks_at_is_not_parsed() -> None:
    async def refusing(call: InterceptedCall, next: Next) -> Any:
        if not dict(call.metadata).get("token"):
            await call.context.abort(grpc.StatusCode.UNAUTHENTICATED, "no")
        return await next(call)

    async def looking(call: InterceptedCall, next: Next) -> Any:
        call.request.name  # noqa: B018 - looking is what parses it
        return await next(call)

    for interceptor in (refusing, looking):
        app = App(grpc_interceptors=[interceptor])
        app.grpc.add(Greeter(), "greeter.Greeter")
        with serving(app) as client:
            for method in (HELLO, STREAM):
                assert call(client, "grpc", method, [Broken()], token="1") == (CODES["internal"], [])
                expected = CODES["unauthenticated" if interceptor is refusing else "internal"]
                assert call(client, "grpc", method, [Broken()]) == (expected, [])


class Broken:
    """What is no message."""

    def SerializeToString(self) -> bytes:
        return b"\xff\xff\xff"


# --- replacing


def test_another_request() -> None:
    async def ours(call: InterceptedCall, next: Next) -> Any:
        if call.method == CHAT.path:
            requests = call.request

            async def louder() -> AsyncIterator[Any]:
                async for message in requests:
                    yield pb.ChatMessage(content=message.content.upper())

            call.request = louder()
        elif call.request_streaming:
            requests = call.request
            call.request = (pb.HelloRequest(name=request.name.upper()) async for request in requests)
        else:
            call.request = pb.HelloRequest(name=call.request.name.upper())
        return await next(call)

    with greeting(ours) as stub:
        assert hello(stub) == "ADA"
        assert replies(stub) == ["0 ADA", "1 ADA", "2 ADA"]
        # Its handler runs in a thread.
        assert record(stub, "Ada", "Bob") == "ADA, BOB"
        assert record(stub) == ""
        assert chat(stub, "a", "b") == ["A", "B"]


def test_another_answer() -> None:
    async def ours(call: InterceptedCall, next: Next) -> Any:
        response = await next(call)
        if call.response_streaming:
            return (type(each)(**{FIELD[type(each)]: "changed"}) async for each in response)
        return type(response)(**{FIELD[type(response)]: "changed"})

    FIELD = {pb.HelloReply: "message", pb.GreetingSummary: "summary", pb.ChatMessage: "content"}
    with greeting(ours) as stub:
        assert hello(stub) == "changed"
        assert replies(stub) == ["changed"] * 3
        assert record(stub, "Ada") == "changed"
        assert chat(stub, "a", "b") == ["changed"] * 2


def test_an_answer_of_its_own() -> None:
    ran: list[str] = []

    class Servicer:
        async def SayHello(self, request: Any, context: Any) -> Any:
            ran.append("SayHello")

        async def SayHelloStream(self, request: Any, context: Any) -> AsyncIterator[Any]:
            ran.append("SayHelloStream")
            yield pb.HelloReply()

    async def ours(call: InterceptedCall, next: Next) -> Any:
        if call.response_streaming:
            await next(call)  # and what it gives is dropped: the handler never begins
            return [pb.HelloReply(message="cached"), pb.HelloReply(message="twice")]
        return pb.HelloReply(message="cached")

    with greeting(ours, servicer=Servicer) as stub:
        assert hello(stub) == "cached"
        assert replies(stub) == ["cached", "twice"]
    assert ran == []


def test_nothing_returned_is_a_mistake_and_not_an_empty_stream(caplog: pytest.LogCaptureFixture) -> None:
    async def forgetful(call: InterceptedCall, next: Next) -> Any:
        await next(call)

    with greeting(forgetful) as stub, caplog.at_level(logging.ERROR, "fastnet.error"):
        assert code_of(replies, stub)[0] == grpc.StatusCode.UNKNOWN
        assert "returned None" in caplog.text
        assert code_of(hello, stub)[0] == grpc.StatusCode.INTERNAL


def test_catching() -> None:
    caught: list[str] = []

    async def ours(call: InterceptedCall, next: Next) -> Any:
        try:
            response = await next(call)
        except (RuntimeError, HTTPException) as error:
            caught.append(type(error).__name__)
            return pb.HelloReply(message="sorry")
        return saved(response) if call.response_streaming else response

    async def saved(response: AsyncIterator[Any]) -> AsyncIterator[Any]:
        try:
            async for message in response:
                yield message
        except RuntimeError:
            caught.append("in the stream")
            yield pb.HelloReply(message="sorry")

    with greeting(ours) as stub:
        assert [hello(stub, name) for name in ("fail", "refuse", "Ada")] == ["sorry", "sorry", "Ada"]
        assert replies(stub, "fail") == ["0 fail", "1 fail", "2 fail", "sorry"]
        assert code_of(hello, stub, "code")[0] == grpc.StatusCode.DATA_LOSS
    assert caught == ["RuntimeError", "HTTPException", "in the stream"]


def test_a_caller_that_leaves_ends_interceptor_and_handler() -> None:
    ended: list[str] = []

    class Servicer:
        async def SayHelloStream(self, request: Any, context: Any) -> AsyncIterator[Any]:
            try:
                yield pb.HelloReply(message="first")
                await asyncio.get_running_loop().create_future()
            finally:
                ended.append("handler")

    async def ours(call: InterceptedCall, next: Next) -> Any:
        async def measured() -> AsyncIterator[Any]:
            try:
                async for message in response:
                    yield message
            except asyncio.CancelledError:
                ended.append("cancelled")
                raise

        response = await next(call)
        return measured()

    with greeting(ours, servicer=Servicer) as stub:
        answers = stub.SayHelloStream(pb.HelloRequest(), timeout=PATIENCE)
        assert next(answers).message == "first"
        answers.cancel()
        until(lambda: len(ended) == 2, f"both ends, not {ended}")
    assert ended == ["handler", "cancelled"]


def test_an_iterator_that_is_left_is_closed() -> None:
    ended: list[str] = []

    class Servicer:
        async def SayHelloStream(self, request: Any, context: Any) -> AsyncIterator[Any]:
            try:
                for _ in range(100):
                    yield pb.HelloReply(message="again")
            finally:
                ended.append("handler")

    async def ours(call: InterceptedCall, next: Next) -> Any:
        response = await next(call)
        kept.append(response)

        async def first() -> AsyncIterator[Any]:
            async for message in response:
                yield message
                return

        return first()

    kept: list[Any] = []
    with greeting(ours, servicer=Servicer) as stub:
        assert replies(stub) == ["again"]
        until(lambda: ended == ["handler"], "the handler's end")


# --- handlers that interceptors of grpcio's give


class Renaming(grpc.aio.ServerInterceptor):  # type: ignore[misc]
    """Calls of one method are answered by another one."""

    async def intercept_service(self, continuation: Any, details: Any) -> Any:
        return await continuation(details._replace(method=details.method.replace("/old.", "/greeter.")))


async def passing(call: InterceptedCall, next: Next) -> Any:
    return await next(call)


@pytest.mark.parametrize("behind", [[], [passing]], ids=["alone", "with ours"])
def test_another_method(behind: list[Any]) -> None:
    app = App(grpc_interceptors=[Renaming(), *behind])
    app.grpc.add(Greeter(), "greeter.Greeter")
    with serving(app) as client:
        reply = pb.HelloReply(message="Ada").SerializeToString()
        request = pb.HelloRequest(name="Ada")
        assert call(client, "grpc", Method("/old.Greeter/SayHello"), [request]) == (0, [reply])
        code, messages = call(client, "grpc", Method("/old.Greeter/RecordGreetings"), [request, request])
        assert (code, pb.GreetingSummary.FromString(messages[0]).summary) == (0, "Ada, Ada")
        assert call(client, "grpc", Method("/old.Nobody/SayHello"), [request]) == (12, [])


def kind_of_handler(kind: str, blocking: bool, answer: Any) -> Any:
    """A handler of any kind that answers with what came, in bytes."""

    async def unary_unary(request: bytes, context: Any) -> bytes:
        return bytes(answer(request))

    async def unary_stream(request: bytes, context: Any) -> AsyncIterator[bytes]:
        yield answer(request)

    async def stream_unary(requests: Any, context: Any) -> bytes:
        return bytes(answer(b"".join([request async for request in requests])))

    async def stream_stream(requests: Any, context: Any) -> AsyncIterator[bytes]:
        yield answer(b"".join([request async for request in requests]))

    def blocking_unary_unary(request: bytes, context: Any) -> bytes:
        return bytes(answer(request))

    def blocking_unary_stream(request: bytes, context: Any) -> Iterator[bytes]:
        yield answer(request)

    def blocking_stream_unary(requests: Any, context: Any) -> bytes:
        return bytes(answer(b"".join(requests)))

    def blocking_stream_stream(requests: Any, context: Any) -> Iterator[bytes]:
        yield answer(b"".join(requests))

    function = locals()[f"blocking_{kind}" if blocking else kind]
    return getattr(grpc, f"{kind}_rpc_method_handler")(function)


KINDS = ["unary_unary", "unary_stream", "stream_unary", "stream_stream"]


@pytest.mark.parametrize("in_front", [[], [passing]], ids=["alone", "behind ours"])
@pytest.mark.parametrize("blocking", [False, True], ids=["async", "threaded"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_handler_of_another_kind(kind: str, blocking: bool, in_front: list[Any]) -> None:
    """In bytes, though the method has messages."""

    class Replacing(grpc.aio.ServerInterceptor):  # type: ignore[misc]
        async def intercept_service(self, continuation: Any, details: Any) -> Any:
            assert await continuation(details) is not None
            return kind_of_handler(kind, blocking, lambda request: request)

    app = App(grpc_interceptors=[*in_front, Replacing()])
    app.grpc.add(Greeter(), "greeter.Greeter")
    with serving(app) as client:
        for method in (HELLO, STREAM, RECORD, CHAT):
            for dialect in ("grpc", "web", "connect-proto"):
                request = pb.ChatMessage(content="1") if method is CHAT else pb.HelloRequest(name="Ada")
                answer = call(client, dialect, method, [request])
                assert answer == (0, [request.SerializeToString()])


def test_a_handler_without_the_message_it_takes() -> None:
    class Replacing(grpc.aio.ServerInterceptor):  # type: ignore[misc]
        async def intercept_service(self, continuation: Any, details: Any) -> Any:
            return kind_of_handler("unary_unary", False, lambda request: request)

    app = App(grpc_interceptors=[Replacing()])
    app.grpc.add(Greeter(), "greeter.Greeter")
    with serving(app) as client:
        assert call(client, "grpc", CHAT, []) == (CODES["unimplemented"], [])


@pytest.mark.parametrize("count", [0, 2])
def test_a_handler_that_gives_more_than_one_message_or_none(count: int, caplog: pytest.LogCaptureFixture) -> None:
    class Replacing(grpc.aio.ServerInterceptor):  # type: ignore[misc]
        async def intercept_service(self, continuation: Any, details: Any) -> Any:
            async def several(request: bytes, context: Any) -> AsyncIterator[bytes]:
                for _ in range(count):
                    yield b""

            return grpc.unary_stream_rpc_method_handler(several)

    app = App(grpc_interceptors=[Replacing()])
    app.grpc.add(Greeter(), "greeter.Greeter")
    with serving(app) as client, caplog.at_level(logging.ERROR, "fastnet.error"):
        for dialect in ("grpc", "connect-proto", "connect-json"):
            assert call(client, dialect, HELLO, [pb.HelloRequest()]) == (CODES["unknown"], [])
        assert "answers with one message" in caplog.text


def test_a_handler_of_a_method_that_nobody_serves() -> None:
    class Proxy(grpc.aio.ServerInterceptor):  # type: ignore[misc]
        async def intercept_service(self, continuation: Any, details: Any) -> Any:
            handler = await continuation(details)
            seen.append(handler)
            return handler or kind_of_handler("stream_stream", False, lambda request: request)

    seen: list[Any] = []
    app = App(grpc_interceptors=[Proxy()])
    app.grpc.add(Greeter(), "greeter.Greeter")
    request = pb.HelloRequest(name="Ada")
    with serving(app) as client:
        for path, dialect in (
            ("/no.Such/Method", "grpc"),
            ("/greeter.Greeter/Other", "grpc"),
            ("/greeter.Greeter/Other", "web"),
            ("/greeter.Greeter/Other", "connect-proto"),
        ):
            answer = call(client, dialect, Method(path), [request])  # type: ignore[arg-type]
            assert answer == (0, [request.SerializeToString()])
    assert seen == [None] * 4


def test_a_wrapped_context_reaches_the_handler() -> None:
    class Wrapped:
        def __init__(self, context: Any) -> None:
            self._context = context
            self.user = "ada"

        def __getattr__(self, name: str) -> Any:
            return getattr(self._context, name)

    class Theirs(grpc.aio.ServerInterceptor):  # type: ignore[misc]
        async def intercept_service(self, continuation: Any, details: Any) -> Any:
            handler = await continuation(details)

            async def behave(request: Any, context: Any) -> Any:
                return await handler.unary_unary(request, Wrapped(context))

            return grpc.unary_unary_rpc_method_handler(
                behave, handler.request_deserializer, handler.response_serializer
            )

    class Servicer:
        async def SayHello(self, request: Any, context: Any) -> Any:
            return pb.HelloReply(message=context.user)

    for behind in ([], [passing]):
        with greeting(Theirs(), *behind, servicer=Servicer) as stub:
            assert hello(stub) == "ada"


# --- what is left behind


def test_nothing_is_left_of_a_call() -> None:
    calls: list[weakref.ref[Any]] = []

    async def ours(call: InterceptedCall, next: Next) -> Any:
        calls.append(weakref.ref(call.context.state))
        return await next(call)

    class Theirs(grpc.aio.ServerInterceptor):  # type: ignore[misc]
        async def intercept_service(self, continuation: Any, details: Any) -> Any:
            return await continuation(details)

    gc.disable()
    try:
        with greeting(ours, Theirs(), ours) as stub:
            for _ in range(3):
                hello(stub), replies(stub), record(stub, "Ada"), chat(stub, "1")
            assert len(calls) == 24
            until(lambda: not any(ref() for ref in calls), "the end of all calls, without the collector of rings")
    finally:
        gc.enable()


# --- registration


def test_the_decorator_returns_what_it_was_given() -> None:
    app = App()
    app.grpc.add(Greeter(), "greeter.Greeter")
    theirs = Renaming()
    assert app.grpc.interceptor(passing) is passing
    assert app.grpc.interceptor(theirs) is theirs

    @app.grpc.interceptor
    async def third(call: InterceptedCall, next: Next) -> Any:
        return await next(call)

    with serving(app) as client:
        assert call(client, "connect-json", HELLO, [pb.HelloRequest(name="Ada")]) == (0, [{"message": "Ada"}])
        with pytest.raises(RuntimeError):
            app.grpc.interceptor(passing)


def test_what_is_no_interceptor() -> None:
    def plain(call: Any, next: Any) -> Any: ...
    async def one(call: Any) -> Any: ...
    async def generator(call: Any, next: Any) -> AsyncIterator[Any]:
        yield

    app = App()
    for wrong, problem in (
        (plain, "is async"),
        (generator, "is async"),
        (one, "two arguments"),
        (Renaming, "an instance, not a class"),
        (3, "is no interceptor"),
    ):
        with pytest.raises(TypeError, match=problem):
            app.grpc.interceptor(wrong)
        with pytest.raises(TypeError, match=problem):
            App(grpc_interceptors=[wrong])


# --- the initial metadata goes once, in whichever dialect


@pytest.mark.parametrize("dialect", ["grpc", "web", "connect-proto", "connect-json"])
def test_initial_metadata_is_sent_once(dialect: Any) -> None:
    class Servicer:
        async def SayHello(self, request: Any, context: Any) -> Any:
            await context.send_initial_metadata((("a", "1"),))
            with pytest.raises(grpc.aio.UsageError):
                context.set_compression(grpc.Compression.Gzip)
            with pytest.raises(grpc.aio.UsageError):
                await context.send_initial_metadata((("a", "2"),))
            return pb.HelloReply()

    app = App()
    app.grpc.add(Servicer(), "greeter.Greeter")
    with serving(app) as client:
        assert call(client, dialect, HELLO, [pb.HelloRequest()]).code == 0


def test_many_calls_at_once() -> None:
    """Many calls at once through a chain of both kinds."""
    with greeting(passing, Renaming(), passing) as stub:
        futures = [stub.SayHello.future(pb.HelloRequest(name=str(i)), timeout=PATIENCE) for i in range(50)]
        assert [future.result().message for future in futures] == [str(i) for i in range(50)]
