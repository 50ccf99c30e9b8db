"""Unary gRPC calls over an exchange in memory: what is read, what is answered, and what ends a call early."""

import asyncio
import gc
import gzip
import logging
import threading
import weakref
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, cast

import grpc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastnet_ext.exchange.exchange import Route
from fastnet_ext.exchange.memory import MemoryConnection, MemoryExchange
from fastnet_ext.exchange.request import Call
from fastnet_ext.exchange.response import Response
from fastnet_ext.grpc.framing import frame
from fastnet_ext.net.loop_state import LoopState
from fastnet_ext.serve.errors import UnsupportedMediaType
from fastnet_ext.serve.grpc import GrpcEndpoint, GrpcFallback
from fastnet_ext.serve.grpc_context import ServicerContext
from fastnet_ext.serve.grpc_threads import SyncServicerContext
from fastnet_ext.serve.http import HttpEndpoint
from fastnet_ext.serve.plan import CallArgument, CallPlan, SlotArgument

HEADERS = [(b"content-type", b"application/grpc"), (b"te", b"trailers")]

# A handler of the tests: (message, context) -> message, or a coroutine of it.
Handler = Callable[[Any, Any], Any]


def render(request: Any, error: Exception) -> Response:
    assert isinstance(error, UnsupportedMediaType)
    return Response(str(error), error.status)


class DebugApp:
    debug = True


def route_of(endpoint: Any, app: Any = None) -> Route:
    return Route(endpoint, path="/t.T/Do", methods=("POST",), on_error=render, app=app)


def refusals() -> HttpEndpoint:
    return HttpEndpoint(CallPlan(lambda: None), mode="inline")


def endpoint(handler: Handler, **options: Any) -> GrpcEndpoint:
    return GrpcEndpoint(handler, refusals=refusals(), **options)


class Caller:
    """Makes calls on the running loop."""

    def __init__(self, executor: ThreadPoolExecutor) -> None:
        self.state = LoopState(asyncio.get_running_loop(), executor)
        self.extras: dict[str, Any] = {"peername": ("192.0.2.1", 5000)}
        self.secure = False

    def options(self, route: Route) -> dict[str, Any]:
        connection = MemoryConnection(self.state.local, self.extras, self.secure)
        return {"route": route, "connection": connection, "version": 20}

    def open(self, target: Any, *headers: tuple[bytes, bytes], app: Any = None) -> MemoryExchange:
        """A call whose request is still to come."""
        endpoint_ = target if isinstance(target, (GrpcEndpoint, GrpcFallback)) else endpoint(target)
        x = MemoryExchange.streaming("POST", "/t.T/Do", [*HEADERS, *headers], **self.options(route_of(endpoint_, app)))
        x.run()
        return x

    async def call(
        self, target: Any, *headers: tuple[bytes, bytes], body: bytes | None = None, app: Any = None
    ) -> MemoryExchange:
        """A whole call, to its end; ``body`` is the framed request."""
        x = self.open(target, *headers, app=app)
        x.push(frame(b"request") if body is None else body)
        x.push_end()
        await ended(x)
        return x


async def ended(x: MemoryExchange) -> None:
    await until(lambda: x.complete)


async def until(condition: Callable[[], object]) -> None:
    """Let the loop go on until something holds; ten seconds are a failure."""
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - an exchange in memory tells nobody that it is done
            await asyncio.sleep(0.001)


@asynccontextmanager
async def calling() -> AsyncIterator[Caller]:
    with ThreadPoolExecutor(2) as executor:
        caller = Caller(executor)
        yield caller
        caller.state.close()


def run(main: Callable[[Caller], Awaitable[Any]]) -> Any:
    async def started() -> Any:
        async with calling() as caller:
            return await main(caller)

    return asyncio.run(started())


def outcome(x: MemoryExchange) -> tuple[int, str]:
    trailers = dict(x.answer_trailers or [])
    return int(trailers[b"grpc-status"]), trailers.get(b"grpc-message", b"").decode()


async def echo(message: bytes, context: ServicerContext) -> bytes:
    return message


async def waiting(message: bytes, context: ServicerContext) -> bytes:
    await asyncio.get_running_loop().create_future()
    return message


# --- answers


def test_a_call() -> None:
    async def main(caller: Caller) -> None:
        x = await caller.call(echo)
        assert x.answer_status == 200
        assert x.fields == [(b"content-type", b"application/grpc")]
        assert x.content == frame(b"request")
        assert x.answer_trailers == [(b"grpc-status", b"0")]

    run(main)


@pytest.mark.parametrize("size", [0, 1, 4095, 4096, 4097, 100_000])
def test_answers_of_any_size(size: int) -> None:
    async def main(caller: Caller) -> None:
        x = await caller.call(echo, body=frame(bytes(size)))
        assert x.content == frame(bytes(size))
        assert outcome(x) == (0, "")

    run(main)


def test_the_request_may_be_whole_when_the_call_starts() -> None:
    async def main(caller: Caller) -> None:
        x = MemoryExchange("POST", "/t.T/Do", HEADERS, frame(b"all"), **caller.options(route_of(endpoint(echo))))
        x.run()
        await ended(x)
        assert x.content == frame(b"all")

    run(main)


@settings(max_examples=50, deadline=None)
@given(st.binary(max_size=200), st.lists(st.integers(1, 40), max_size=20))
def test_pieces_of_the_request_do_not_matter(message: bytes, sizes: list[int]) -> None:
    async def main(caller: Caller) -> None:
        x = caller.open(echo)
        rest = frame(message)
        for size in sizes:
            x.push(rest[:size])
            rest = rest[size:]
        x.push(rest)
        x.push_end()
        await ended(x)
        assert x.content == frame(message)

    run(main)


def test_messages_are_converted() -> None:
    async def add(message: int, context: ServicerContext) -> int:
        return message + 1

    async def main(caller: Caller) -> None:
        target = endpoint(add, deserialize=lambda raw: int(raw), serialize=lambda value: b"%d" % value)
        assert (await caller.call(target, body=frame(b"41"))).content == frame(b"42")

    run(main)


def test_plans_get_message_and_context() -> None:
    async def handler(message: bytes, context: ServicerContext, call: Call) -> bytes:
        assert call is context
        return message

    arguments = [SlotArgument("message", 0), SlotArgument("context", 1), CallArgument("call")]

    async def main(caller: Caller) -> None:
        target = endpoint(cast(Handler, handler), plan=CallPlan(handler, arguments))
        assert (await caller.call(target)).content == frame(b"request")

    run(main)


def test_def_handlers_run_in_threads() -> None:
    def handler(message: bytes, context: SyncServicerContext) -> bytes:
        assert isinstance(context, SyncServicerContext)
        assert context.is_active()
        return threading.current_thread().name.encode()

    async def main(caller: Caller) -> None:
        x = await caller.call(endpoint(handler, thread=True, sync_context=True))
        assert x.content != frame(threading.current_thread().name.encode())
        x = await caller.call(endpoint(handler, sync_context=True))
        assert x.content == frame(threading.current_thread().name.encode())

    run(main)


def test_awaitables_that_do_not_look_like_it() -> None:
    class Later:
        def __await__(self) -> Any:
            yield from asyncio.sleep(0).__await__()
            return b"later"

    async def main(caller: Caller) -> None:
        x = await caller.call(lambda message, context: Later())
        assert x.content == frame(b"later")
        x = await caller.call(endpoint(lambda message, context: echo(message, context), thread=True))
        assert x.content == frame(b"request")

    run(main)


# --- what is not gRPC


@pytest.mark.parametrize(
    "content_type", [b"application/json", b"application/grpc-web", b"application/grpcx", b"application/grpc+json", b""]
)
def test_other_media_types_are_refused(content_type: bytes) -> None:
    async def main(caller: Caller) -> None:
        for target in (endpoint(echo), GrpcFallback(refusals=refusals())):
            headers = [(b"content-type", content_type)] if content_type else []
            x = MemoryExchange("POST", "/t.T/Do", headers, b"", **caller.options(route_of(target)))
            x.run()
            assert x.answer_status == 415
            assert x.answer_trailers is None

    run(main)


@pytest.mark.parametrize(
    "content_type", [b"application/grpc+proto", b"application/grpc;x=y", b"application/grpc+proto ; x"]
)
def test_media_types_of_grpc(content_type: bytes) -> None:
    async def main(caller: Caller) -> None:
        x = MemoryExchange(
            "POST",
            "/t.T/Do",
            [(b"content-type", content_type)],
            frame(b"m"),
            **caller.options(route_of(endpoint(echo))),
        )
        x.run()
        await ended(x)
        assert outcome(x) == (0, "")

    run(main)


def test_methods_without_a_route() -> None:
    async def main(caller: Caller) -> None:
        assert outcome(await caller.call(GrpcFallback(refusals=refusals()))) == (12, "Method not found!")
        asked = []

        def find(path: str, metadata: Any) -> GrpcEndpoint:
            asked.append((path, tuple(metadata)))
            return endpoint(echo)

        x = await caller.call(GrpcFallback(refusals=refusals(), find=find), (b"a", b"b"))
        assert x.content == frame(b"request")
        assert asked == [("/t.T/Do", (("a", "b"),))]
        x = await caller.call(GrpcFallback(refusals=refusals(), find=lambda path, metadata: None))
        assert outcome(x)[0] == 12

    run(main)


def test_a_lookup_that_fails(caplog: pytest.LogCaptureFixture) -> None:
    def find(path: str, metadata: Any) -> GrpcEndpoint:
        raise ValueError("secret")

    async def main(caller: Caller) -> None:
        code, details = outcome(await caller.call(GrpcFallback(refusals=refusals(), find=find)))
        assert code == 2
        assert "secret" not in details

    run(main)
    assert "secret" in caplog.text


# --- requests that break the rules


def refused(body: bytes, *headers: tuple[bytes, bytes], **options: Any) -> MemoryExchange:
    called = []

    async def handler(message: bytes, context: ServicerContext) -> bytes:
        called.append(message)
        return message

    async def main(caller: Caller) -> MemoryExchange:
        return await caller.call(endpoint(handler, **options), *headers, body=body)

    x: MemoryExchange = run(main)
    assert not called
    assert x.content == b""
    return x


def test_a_unary_call_has_one_message() -> None:
    assert outcome(refused(b""))[0] == 12
    assert outcome(refused(frame(b"a") + frame(b"b")))[0] == 12


def test_a_message_is_whole() -> None:
    assert outcome(refused(frame(b"abc")[:-1]))[0] == 13
    assert outcome(refused(b"\x00\x00"))[0] == 13


def test_a_message_parses() -> None:
    def deserialize(raw: bytes) -> Any:
        raise ValueError("secret")

    code, details = outcome(refused(frame(b"x"), deserialize=deserialize))
    assert code == 13
    assert "secret" not in details


def test_flags_that_nobody_knows() -> None:
    assert outcome(refused(frame(b"x", 2)))[0] == 13


def test_messages_over_the_limit() -> None:
    assert outcome(refused(frame(bytes(11)), max_message=10))[0] == 8
    # Known from the prefix: the rest is not waited for.
    assert outcome(refused(frame(bytes(4 * 1024 * 1024 + 1))[:5]))[0] == 8


def test_a_timeout_that_is_none() -> None:
    assert outcome(refused(frame(b"x"), (b"grpc-timeout", b"soon")))[0] == 13
    assert outcome(refused(frame(b"x"), (b"grpc-timeout", b"0m")))[0] == 4


def test_binary_metadata_that_is_none() -> None:
    assert outcome(refused(frame(b"x"), (b"x-bin", b"!!!")))[0] == 13


# --- compression


def test_compressed_requests() -> None:
    async def main(caller: Caller) -> None:
        message = b"again and " * 1000
        for name, packed in [(b"gzip", gzip.compress(message)), (b"deflate", zlib.compress(message))]:
            x = await caller.call(echo, (b"grpc-encoding", name), body=frame(packed, 1))
            assert x.content == frame(message)
            # Each message says for itself whether it is compressed.
            x = await caller.call(echo, (b"grpc-encoding", name), body=frame(message))
            assert x.content == frame(message)

    run(main)


def test_unknown_compression() -> None:
    x = refused(frame(b"x"), (b"grpc-encoding", b"snappy"))
    assert outcome(x)[0] == 12
    assert (b"grpc-accept-encoding", b"identity,deflate,gzip") in (x.fields or [])


def test_compressed_without_saying_how() -> None:
    assert outcome(refused(frame(b"x", 1)))[0] == 13
    assert outcome(refused(frame(b"x", 1), (b"grpc-encoding", b"identity")))[0] == 13


def test_damaged_compression() -> None:
    assert outcome(refused(frame(b"no gzip", 1), (b"grpc-encoding", b"gzip")))[0] == 13
    assert outcome(refused(frame(gzip.compress(b"abc")[:-4], 1), (b"grpc-encoding", b"gzip")))[0] == 13


def test_the_limit_holds_for_what_is_unpacked() -> None:
    exact = frame(gzip.compress(bytes(1000)), 1)
    assert outcome(refused(exact, (b"grpc-encoding", b"gzip"), max_message=999))[0] == 8

    async def main(caller: Caller) -> None:
        x = await caller.call(endpoint(echo, max_message=1000), (b"grpc-encoding", b"gzip"), body=exact)
        assert outcome(x) == (0, "")

    run(main)


def test_compressed_answers() -> None:
    async def handler(message: bytes, context: ServicerContext) -> bytes:
        context.set_compression(grpc.Compression.Gzip)
        return bytes(1000)

    async def plain(message: bytes, context: ServicerContext) -> bytes:
        context.set_compression(grpc.Compression.Deflate)
        context.disable_next_message_compression()
        return bytes(1000)

    async def main(caller: Caller) -> None:
        x = await caller.call(handler, (b"grpc-accept-encoding", b"identity, gzip"))
        assert (b"grpc-encoding", b"gzip") in (x.fields or [])
        assert x.content[0] == 1
        assert gzip.decompress(x.content[5:]) == bytes(1000)
        x = await caller.call(handler)
        assert x.content == frame(bytes(1000))
        x = await caller.call(plain, (b"grpc-accept-encoding", b"deflate"))
        assert (b"grpc-encoding", b"deflate") in (x.fields or [])
        assert x.content == frame(bytes(1000))

    run(main)


# --- the context


def seen(read: Callable[[ServicerContext], Any], *headers: tuple[bytes, bytes], **connection: Any) -> Any:
    """What a handler reads from its context."""
    found = []

    async def handler(message: bytes, context: ServicerContext) -> bytes:
        found.append(read(context))
        return message

    async def main(caller: Caller) -> None:
        caller.extras.update(connection.get("extras", {}))
        caller.secure = connection.get("secure", False)
        assert outcome(await caller.call(handler, *headers)) == (0, "")

    run(main)
    return found[0]


def test_metadata() -> None:
    metadata = seen(
        lambda context: context.invocation_metadata(),
        (b"user-agent", b"grpc-python/1"),
        (b"grpc-timeout", b"10S"),
        (b"grpc-encoding", b"identity"),
        (b"grpc-accept-encoding", b"identity"),
        (b"x-one", b"1"),
        (b"x-one", b"2"),
        (b"x-data-bin", b"AP8"),
        (b"x-many-bin", b"AQ==,Ag"),
    )
    assert metadata == (
        ("user-agent", "grpc-python/1"),
        ("x-one", "1"),
        ("x-one", "2"),
        ("x-data-bin", b"\x00\xff"),
        ("x-many-bin", b"\x01"),
        ("x-many-bin", b"\x02"),
    )
    assert metadata[0].key == "user-agent"
    assert metadata[0].value == "grpc-python/1"
    assert seen(lambda context: context.invocation_metadata() is context.invocation_metadata())


@pytest.mark.parametrize(
    ("peername", "text"),
    [
        (("192.0.2.1", 5000), "ipv4:192.0.2.1:5000"),
        (("::1", 5, 0, 0), "ipv6:%5B::1%5D:5"),
        ("/run/x.sock", "unix:/run/x.sock"),
        (b"\x00abstract", "unix:\x00abstract"),
        (None, "unknown"),
    ],
)
def test_peer(peername: Any, text: str) -> None:
    assert seen(lambda context: context.peer(), extras={"peername": peername}) == text


def test_the_peer_is_an_address_as_well() -> None:
    assert seen(lambda context: (context.peer.host, context.peer.port)) == ("192.0.2.1", 5000)
    assert seen(lambda context: context.client) == ("192.0.2.1", 5000)


CERTIFICATE = {
    "subject": ((("countryName", "XX"),), (("commonName", "client"),)),
    "subjectAltName": (("DNS", "a.example"), ("URI", "spiffe://b")),
}


def test_authentication() -> None:
    def everything(context: ServicerContext) -> Any:
        return dict(context.auth_context()), context.peer_identity_key(), context.peer_identities()

    assert seen(everything) == ({}, None, None)
    context, key, names = seen(everything, secure=True, extras={"peercert": CERTIFICATE})
    assert context["transport_security_type"] == [b"ssl"]
    assert context["x509_common_name"] == [b"client"]
    assert (key, names) == ("x509_subject_alternative_name", [b"a.example", b"spiffe://b"])
    assert seen(everything, secure=True)[1:] == (None, None)


def test_time_remaining() -> None:
    assert seen(lambda context: context.time_remaining()) is None
    assert 50 < seen(lambda context: context.time_remaining(), (b"grpc-timeout", b"1M")) <= 60


def test_protocol_neutral() -> None:
    assert seen(lambda context: isinstance(context, Call))
    assert seen(lambda context: context.headers["x-a"], (b"x-a", b"b")) == "b"
    assert seen(lambda context: context.id, (b"x-request-id", b"abc")) == "abc"


def answered(act: Callable[[ServicerContext], Any]) -> MemoryExchange:
    """The answer of a handler that does something with its context, and then answers b"done"."""

    async def handler(message: bytes, context: ServicerContext) -> bytes:
        result = act(context)
        if asyncio.iscoroutine(result):
            await result
        return b"done"

    async def main(caller: Caller) -> MemoryExchange:
        return await caller.call(handler)

    x: MemoryExchange = run(main)
    return x


def test_a_status_drops_the_message() -> None:
    def act(context: ServicerContext) -> None:
        context.set_code(grpc.StatusCode.NOT_FOUND)
        context.set_details("no such thing: \u00e9\n%")
        assert context.code() is grpc.StatusCode.NOT_FOUND
        assert context.details() == "no such thing: \u00e9\n%"

    x = answered(act)
    assert x.content == b""
    assert outcome(x) == (5, "no such thing: %C3%A9%0A%25")


def test_codes() -> None:
    assert outcome(answered(lambda context: context.set_code(7))) == (7, "")
    assert outcome(answered(lambda context: context.set_details("fine"))) == (0, "fine")
    wrong: Any
    for wrong in (17, -1, "OK", None):
        with pytest.raises(ValueError, match="no status"):
            seen_error(partial(ServicerContext.set_code, code=wrong))


def seen_error(act: Callable[[ServicerContext], Any]) -> None:
    """Raise what acting on a context raises."""
    errors: list[Exception] = []

    async def guarded(context: ServicerContext) -> None:
        try:
            result = act(context)
            if asyncio.iscoroutine(result):
                await result
        except Exception as error:
            errors.append(error)

    answered(guarded)
    if errors:
        raise errors[0]


def test_trailing_metadata() -> None:
    given = (("x-text", "a b"), ("x-data-bin", b"\x00\xff"), ("grpc-status-details-bin", b"\x01"))

    def act(context: ServicerContext) -> None:
        context.set_trailing_metadata((("gone", "1"),))
        context.set_trailing_metadata(given)
        assert context.trailing_metadata() == given

    trailers = answered(act).answer_trailers
    assert trailers == [
        (b"grpc-status", b"0"),
        (b"x-text", b"a b"),
        (b"x-data-bin", b"AP8"),
        (b"grpc-status-details-bin", b"AQ"),
    ]


def test_metadata_of_grpcio() -> None:
    metadata = grpc.aio.Metadata(("x-a", "1"), ("x-a", "2"))
    trailers = answered(lambda context: context.set_trailing_metadata(metadata)).answer_trailers
    assert (trailers or [])[1:] == [(b"x-a", b"1"), (b"x-a", b"2")]


@pytest.mark.parametrize(
    ("pair", "error"),
    [
        (("Upper", "x"), ValueError),
        (("a b", "x"), ValueError),
        (("", "x"), ValueError),
        ((":path", "x"), ValueError),
        (("grpc-status", "0"), ValueError),
        (("content-type", "x"), ValueError),
        (("a", "line\nbreak"), ValueError),
        (("a", "\u00e9"), ValueError),
        (("a", 1), TypeError),
        ((1, "a"), TypeError),
        ("abc", TypeError),
    ],
)
def test_metadata_that_cannot_be_sent(pair: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        seen_error(lambda context: context.set_trailing_metadata((pair,)))
    with pytest.raises(error):
        seen_error(lambda context: context.send_initial_metadata((pair,)))


def test_initial_metadata() -> None:
    x = answered(lambda context: context.send_initial_metadata((("x-a", "b"), ("y-bin", b"\x01"))))
    assert x.fields == [(b"content-type", b"application/grpc"), (b"x-a", b"b"), (b"y-bin", b"AQ")]
    assert x.content == frame(b"done")

    async def twice(context: ServicerContext) -> None:
        await context.send_initial_metadata(())
        await context.send_initial_metadata(())

    with pytest.raises(grpc.aio.UsageError):
        seen_error(twice)


def test_unary_calls_do_not_stream() -> None:
    with pytest.raises(grpc.aio.UsageError):
        seen_error(lambda context: context.read())
    with pytest.raises(grpc.aio.UsageError):
        seen_error(lambda context: context.write(b""))


# --- abort


def test_abort(caplog: pytest.LogCaptureFixture) -> None:
    async def act(context: ServicerContext) -> None:
        await context.abort(grpc.StatusCode.ABORTED, "no", (("x-why", "so"),))

    x = answered(act)
    assert x.answer_trailers == [(b"grpc-status", b"10"), (b"grpc-message", b"no"), (b"x-why", b"so")]
    assert x.content == b""
    assert not caplog.records


def test_abort_keeps_what_was_said() -> None:
    async def act(context: ServicerContext) -> None:
        context.set_details("said")
        context.set_trailing_metadata((("a", "b"),))
        await context.abort(grpc.StatusCode.ABORTED)

    assert answered(act).answer_trailers == [(b"grpc-status", b"10"), (b"grpc-message", b"said"), (b"a", b"b")]


def test_a_suppressed_abort_still_ends_the_call() -> None:
    async def act(context: ServicerContext) -> None:
        with pytest.raises(grpc.aio.AbortError):
            await context.abort(grpc.StatusCode.ABORTED, "first")
        assert context.done()
        with pytest.raises(grpc.aio.UsageError):
            await context.abort(grpc.StatusCode.NOT_FOUND, "second")

    assert outcome(answered(act)) == (10, "first")


def test_abort_with_ok() -> None:
    with pytest.raises(ValueError, match="other than OK"):
        seen_error(lambda context: context.abort(grpc.StatusCode.OK))


def test_abort_with_status() -> None:
    class Status:
        code = grpc.StatusCode.DATA_LOSS
        details = "lost"
        trailing_metadata = (("a", "b"),)

    x = answered(lambda context: context.abort_with_status(Status))
    assert x.answer_trailers == [(b"grpc-status", b"15"), (b"grpc-message", b"lost"), (b"a", b"b")]


@pytest.mark.parametrize("thread", [True, False])
def test_def_handlers_abort(thread: bool, caplog: pytest.LogCaptureFixture) -> None:
    def handler(message: bytes, context: SyncServicerContext) -> bytes:
        context.send_initial_metadata((("x-a", "b"),))
        context.set_trailing_metadata((("x-c", "d"),))
        context.abort(grpc.StatusCode.NOT_FOUND, context.peer())

    def suppressing(message: bytes, context: SyncServicerContext) -> bytes:
        with pytest.raises(grpc.aio.AbortError):
            context.abort(grpc.StatusCode.NOT_FOUND, "still")
        return message

    async def main(caller: Caller) -> None:
        x = await caller.call(endpoint(handler, thread=thread, sync_context=True))
        assert (b"x-a", b"b") in (x.fields or [])
        assert x.answer_trailers == [
            (b"grpc-status", b"5"), (b"grpc-message", b"ipv4:192.0.2.1:5000"), (b"x-c", b"d"),
        ]  # fmt: skip
        x = await caller.call(endpoint(suppressing, thread=thread, sync_context=True))
        assert outcome(x) == (5, "still")

    run(main)
    assert not caplog.records


# --- exceptions


def test_an_exception_keeps_its_text(caplog: pytest.LogCaptureFixture) -> None:
    async def handler(message: bytes, context: ServicerContext) -> bytes:
        raise RuntimeError("secret")

    async def main(caller: Caller) -> None:
        x = await caller.call(handler, (b"x-request-id", b"abc"))
        assert outcome(x) == (2, "Unexpected failure (request abc)")
        x = await caller.call(handler, app=DebugApp)
        assert "RuntimeError: secret" in outcome(x)[1]

    with caplog.at_level(logging.ERROR, "fastnet.error"):
        run(main)
    assert "[request abc]" in caplog.text
    assert caplog.records[0].exc_info is not None


@pytest.mark.parametrize("thread", [True, False])
def test_exceptions_before_the_first_await(thread: bool) -> None:
    def handler(message: bytes, context: Any) -> bytes:
        raise RuntimeError

    async def main(caller: Caller) -> None:
        assert outcome(await caller.call(endpoint(handler, thread=thread)))[0] == 2

    run(main)


def test_what_protoc_generates_for_missing_methods(caplog: pytest.LogCaptureFixture) -> None:
    async def handler(message: bytes, context: ServicerContext) -> bytes:
        context.set_code(grpc.StatusCode.UNIMPLEMENTED)
        context.set_details("Method not implemented!")
        raise NotImplementedError("Method not implemented!")

    async def main(caller: Caller) -> None:
        assert outcome(await caller.call(handler)) == (12, "Method not implemented!")

    run(main)
    assert not caplog.records


def test_a_code_that_was_set_counts(caplog: pytest.LogCaptureFixture) -> None:
    async def handler(message: bytes, context: ServicerContext) -> bytes:
        context.set_code(grpc.StatusCode.FAILED_PRECONDITION)
        raise RuntimeError("secret")

    async def main(caller: Caller) -> None:
        code, details = outcome(await caller.call(handler))
        assert code == 9
        assert "secret" not in details

    run(main)
    assert "secret" in caplog.text


def test_errors_for_the_caller(caplog: pytest.LogCaptureFixture) -> None:
    async def handler(message: bytes, context: ServicerContext) -> bytes:
        raise KeyError("you know")

    def translate(error: BaseException) -> tuple[int, str] | None:
        return (5, str(error.args[0])) if isinstance(error, KeyError) else None

    async def main(caller: Caller) -> None:
        assert outcome(await caller.call(endpoint(handler, translate=translate))) == (5, "you know")

    run(main)
    assert not caplog.records


@pytest.mark.parametrize("value", [None, "text", 1])
def test_what_cannot_be_serialised(value: Any, caplog: pytest.LogCaptureFixture) -> None:
    async def handler(message: bytes, context: ServicerContext) -> Any:
        return value

    async def main(caller: Caller) -> None:
        x = await caller.call(handler)
        assert outcome(x)[0] == 13
        assert x.content == b""

    run(main)
    assert "bytes" in caplog.text


def test_an_exception_after_the_head() -> None:
    async def handler(message: bytes, context: ServicerContext) -> bytes:
        await context.send_initial_metadata((("a", "b"),))
        raise RuntimeError

    async def main(caller: Caller) -> None:
        x = await caller.call(handler)
        assert (b"a", b"b") in (x.fields or [])
        assert outcome(x)[0] == 2

    run(main)


def test_a_handler_that_cancels_itself() -> None:
    async def handler(message: bytes, context: ServicerContext) -> bytes:
        raise asyncio.CancelledError

    async def main(caller: Caller) -> None:
        assert outcome(await caller.call(handler))[0] == 1

    run(main)


# --- the end of a call that nobody waits for


def test_a_peer_that_leaves_cancels_the_handler() -> None:
    events: list[Any] = []

    async def handler(message: bytes, context: ServicerContext) -> bytes:
        context.add_done_callback(lambda done: events.append(("done", done is context, done.cancelled())))
        try:
            await asyncio.get_running_loop().create_future()
        except asyncio.CancelledError:
            events.append(("cancelled", context.cancelled(), context.done()))
            raise
        return message

    async def main(caller: Caller) -> None:
        x = caller.open(handler)
        x.push(frame(b""))
        x.push_end()
        await asyncio.sleep(0)
        x.disconnect()
        await until(lambda: len(events) == 2)
        assert events == [("cancelled", True, True), ("done", True, True)]
        assert x.answer_status == 0

    run(main)


def test_a_peer_that_leaves_early() -> None:
    called: list[bytes] = []

    async def handler(message: bytes, context: ServicerContext) -> bytes:
        called.append(message)
        return message

    async def main(caller: Caller) -> None:
        x = caller.open(handler, (b"grpc-timeout", b"1H"))
        x.push(frame(b"abc")[:6])
        x.disconnect()
        await asyncio.sleep(0)
        assert not called
        assert not x.complete

    run(main)


def test_the_deadline_ends_a_call() -> None:
    cancelled: list[bool] = []

    async def handler(message: bytes, context: ServicerContext) -> bytes:
        try:
            await asyncio.get_running_loop().create_future()
        except asyncio.CancelledError:
            cancelled.append(True)
            raise
        return message

    async def main(caller: Caller) -> None:
        x = await caller.call(handler, (b"grpc-timeout", b"20m"))
        assert outcome(x)[0] == 4
        await until(lambda: cancelled)

    run(main)


def test_the_deadline_counts_while_the_request_comes() -> None:
    async def main(caller: Caller) -> None:
        x = caller.open(echo, (b"grpc-timeout", b"20m"))
        await ended(x)
        assert outcome(x)[0] == 4
        # What still comes is dropped.
        x.push(frame(b"late"))
        x.push_end()
        assert x.content == b""

    run(main)


def test_the_deadline_answers_for_a_thread() -> None:
    released = threading.Event()

    def handler(message: bytes, context: SyncServicerContext) -> bytes:
        released.wait(10)
        return message

    async def main(caller: Caller) -> None:
        try:
            x = await caller.call(endpoint(handler, thread=True, sync_context=True), (b"grpc-timeout", b"20m"))
            assert outcome(x)[0] == 4
        finally:
            released.set()

    run(main)


def test_a_handler_that_shields_itself_from_the_deadline(caplog: pytest.LogCaptureFixture) -> None:
    finished: list[bool] = []

    async def handler(message: bytes, context: ServicerContext) -> bytes:
        try:
            await asyncio.get_running_loop().create_future()
        except asyncio.CancelledError:
            finished.append(context.done())
        return b"too late"

    async def main(caller: Caller) -> None:
        x = await caller.call(handler, (b"grpc-timeout", b"10m"))
        await until(lambda: finished)
        await asyncio.sleep(0)
        assert outcome(x)[0] == 4
        assert x.content == b""

    run(main)
    assert finished == [True]
    assert not caplog.records


def test_a_call_that_the_server_cancels() -> None:
    async def main(caller: Caller) -> None:
        kept: list[ServicerContext] = []

        async def handler(message: bytes, context: ServicerContext) -> bytes:
            kept.append(context)
            return await waiting(message, context)

        x = caller.open(handler)
        x.push(frame(b""))
        x.push_end()
        await until(lambda: kept)
        kept[0].cancel()
        assert outcome(x)[0] == 1
        assert kept[0].cancelled()

    run(main)


def test_done_callbacks(caplog: pytest.LogCaptureFixture) -> None:
    events: list[str] = []

    async def handler(message: bytes, context: ServicerContext) -> bytes:
        def failing(done: ServicerContext) -> None:
            raise ValueError("in a callback")

        context.add_done_callback(failing)
        context.add_done_callback(lambda done: events.append("first"))
        events.append("handler")
        return message

    async def main(caller: Caller) -> None:
        await caller.call(handler)
        assert events == ["handler", "first"]

    run(main)
    assert "in a callback" in caplog.text


def test_def_handlers_hear_of_the_end() -> None:
    events: list[Any] = []

    def handler(message: bytes, context: SyncServicerContext) -> bytes:
        assert context.add_callback(lambda: events.append(threading.current_thread()))
        return message

    async def main(caller: Caller) -> None:
        await caller.call(endpoint(handler, thread=True, sync_context=True))
        assert events == [threading.current_thread()]

    run(main)


def test_nothing_is_kept_of_a_call() -> None:
    references: list[Any] = []

    class Message:
        """A request that can be referred to weakly, as bytes cannot."""

        def __init__(self, raw: bytes) -> None:
            self.waits = raw == b"wait"

    async def handler(message: Message, context: ServicerContext) -> bytes:
        context.add_done_callback(lambda done: None)
        context.peer()
        context.state.message = message
        references.append(weakref.ref(message))
        if message.waits:
            await asyncio.get_running_loop().create_future()
        return b""

    async def main(caller: Caller) -> None:
        target = endpoint(handler, deserialize=Message)
        far = (b"grpc-timeout", b"99999999H")
        gc.collect()
        gc.disable()
        try:
            await caller.call(target)
            await caller.call(target, far)
            x = caller.open(target, far)
            x.push(frame(b"wait"))
            x.push_end()
            await until(lambda: len(references) == 3)
            x.disconnect()
            del x
            await until(lambda: not any(reference() for reference in references))
        finally:
            gc.enable()

    run(main)
