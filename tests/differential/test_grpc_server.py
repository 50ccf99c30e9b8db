"""The same servicer behind grpcio's own asynchronous server and behind ours: a client must not tell them apart.

What differs on purpose is left out of the comparison: the text of exceptions, which ours keeps to itself.
"""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import grpc
import pytest

from fastnet import App
from tests.fastnet.serving import serving
from tests.protos import greeter

pb, pb_grpc = greeter()

PATIENCE = 20


class Servicer(pb_grpc.GreeterServicer):  # type: ignore[misc, name-defined]
    """Each request names what is done with the context."""

    async def SayHello(self, request: Any, context: Any) -> Any:
        await getattr(self, request.name)(context)
        return pb.HelloReply(message=request.name)

    async def nothing(self, context: Any) -> None: ...

    async def code(self, context: Any) -> None:
        context.set_code(grpc.StatusCode.NOT_FOUND)

    async def code_and_details(self, context: Any) -> None:
        context.set_code(grpc.StatusCode.DATA_LOSS)
        context.set_details("lost: 100 % \u20ac\r\n\t~")

    async def details_only(self, context: Any) -> None:
        context.set_details("fine")

    async def trailing(self, context: Any) -> None:
        context.set_trailing_metadata((("a", "1"), ("a", "2"), ("b-bin", b"\x00\x01\xff"), ("c", "x  y")))

    async def initial(self, context: Any) -> None:
        await context.send_initial_metadata((("a", "1"), ("b-bin", bytes(300))))

    async def abort(self, context: Any) -> None:
        await context.abort(grpc.StatusCode.ABORTED, "no", (("why", "so"),))

    async def abort_after_details(self, context: Any) -> None:
        context.set_details("before")
        context.set_trailing_metadata((("a", "b"),))
        await context.abort(grpc.StatusCode.ABORTED)

    async def suppressed_abort(self, context: Any) -> None:
        try:
            await context.abort(grpc.StatusCode.ABORTED, "first")
        except grpc.aio.AbortError:
            context.set_code(grpc.StatusCode.OK)

    async def abort_after_initial(self, context: Any) -> None:
        await context.send_initial_metadata((("a", "1"),))
        await context.abort(grpc.StatusCode.NOT_FOUND, "gone")

    async def exception(self, context: Any) -> None:
        raise ValueError("secret")

    async def exception_after_code(self, context: Any) -> None:
        context.set_code(grpc.StatusCode.PERMISSION_DENIED)
        raise ValueError("secret")

    async def exception_with_trailing(self, context: Any) -> None:
        context.set_trailing_metadata((("a", "b"),))
        raise ValueError("secret")

    async def second_initial(self, context: Any) -> None:
        await context.send_initial_metadata(())
        await context.send_initial_metadata(())

    async def metadata(self, context: Any) -> None:
        seen = [(key, value) for key, value in context.invocation_metadata() if key != "user-agent"]
        context.set_trailing_metadata(tuple(sorted(seen)))

    async def times(self, context: Any) -> None:
        assert 0 < context.time_remaining() < PATIENCE + 5

    async def peers(self, context: Any) -> None:
        assert context.peer().startswith("ipv4:127.0.0.1:")
        assert context.peer_identities() is None


ACTIONS = [name for name in vars(Servicer) if not name.startswith("_") and name != "SayHello"]
# Texts of exceptions are grpcio's own.
HIDDEN = {"exception", "exception_after_code", "exception_with_trailing", "second_initial"}


@contextmanager
def grpcio_serving(servicer: Any) -> Iterator[str]:
    """grpcio's asynchronous server on a loop in a thread."""
    ready = threading.Event()
    state: dict[str, Any] = {}

    async def main() -> None:
        server = grpc.aio.server()
        pb_grpc.add_GreeterServicer_to_server(servicer, server)
        state["port"] = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        state["stop"] = lambda: loop.call_soon_threadsafe(stop.set)
        ready.set()
        await stop.wait()
        await server.stop(None)

    thread = threading.Thread(target=lambda: asyncio.run(main()), daemon=True)
    thread.start()
    assert ready.wait(PATIENCE)
    try:
        yield f"127.0.0.1:{state['port']}"
    finally:
        state["stop"]()
        thread.join(PATIENCE)


@pytest.fixture(scope="module")
def stubs() -> Iterator[tuple[Any, Any]]:
    app = App()
    pb_grpc.add_GreeterServicer_to_server(Servicer(), app.grpc)
    with (
        grpcio_serving(Servicer()) as theirs,
        serving(app) as client,
        grpc.insecure_channel(theirs) as one,
        grpc.insecure_channel(f"127.0.0.1:{client.port}") as other,
    ):
        yield pb_grpc.GreeterStub(one), pb_grpc.GreeterStub(other)


def outcome(method: Any, request: Any, **options: Any) -> dict[str, Any]:
    """All that a client sees of a call. ``date`` is HTTP's, and of ours alone."""
    call = method.future(request, timeout=PATIENCE, **options)
    try:
        reply = call.result().message
    except grpc.RpcError:
        reply = None
    return {
        "reply": reply,
        "code": call.code(),
        "details": call.details(),
        "initial": [pair for pair in call.initial_metadata() if pair[0] != "date"],
        "trailing": list(call.trailing_metadata()),
    }


@pytest.mark.parametrize("action", ACTIONS)
def test_the_same_for_a_client(stubs: tuple[Any, Any], action: str) -> None:
    metadata = (("x-a", "b c"), ("x-a", "d"), ("x-bin", b"\x00\xff"), ("authorization", "Bearer x"))
    theirs, ours = (outcome(stub.SayHello, pb.HelloRequest(name=action), metadata=metadata) for stub in stubs)
    if action in HIDDEN:
        assert "secret" not in ours.pop("details")
        theirs.pop("details")
    assert ours == theirs


def test_methods_that_nobody_wrote(stubs: tuple[Any, Any]) -> None:
    codes = []
    for stub in stubs:
        with pytest.raises(grpc.RpcError) as caught:
            list(stub.SayHelloStream(pb.HelloRequest(), timeout=PATIENCE))
        codes.append(caught.value.code())
    assert codes == [grpc.StatusCode.UNIMPLEMENTED] * 2
