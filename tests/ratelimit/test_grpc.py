"""Limits of gRPC methods, in every dialect that the port speaks."""

from __future__ import annotations

from typing import Any

import pytest

from fastnet import App
from fastnet.ratelimit import RateLimit, header
from tests.fastnet.grpc_calls import DIALECTS, Dialect, Method, call
from tests.fastnet.serving import serving
from tests.protos import greeter

RESOURCE_EXHAUSTED = 8
pb, _ = greeter()

HELLO = Method("/greeter.Greeter/SayHello")
STREAM = Method("/greeter.Greeter/SayHelloStream", response_streaming=True)


class Greeter:
    async def SayHello(self, request: Any, context: Any) -> Any:
        return pb.HelloReply(message=f"Hello, {request.name}!")

    async def SayHelloStream(self, request: Any, context: Any) -> Any:
        yield pb.HelloReply(message=f"Hello, {request.name}!")


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_service_and_the_whole_app(dialect: Dialect) -> None:
    app = App()
    limit = app.limit("3/hour", key=header("x-caller"), name="app")
    app.grpc.add(Greeter(), "greeter.Greeter", limit=RateLimit("2/hour", key=header("x-caller")))
    request = [pb.HelloRequest(name="Ada")]
    with serving(app) as client:
        assert call(client, dialect, HELLO, request, x_caller="a").code == 0
        # All methods of the service count together.
        assert call(client, dialect, STREAM, request, x_caller="a").code == 0
        assert call(client, dialect, HELLO, request, x_caller="a") == (RESOURCE_EXHAUSTED, [])
        assert call(client, dialect, STREAM, request, x_caller="a") == (RESOURCE_EXHAUSTED, [])
        # What the service refused was given back to the app, which counts calls of what is not there too.
        missing = Method("/greeter.Greeter/Missing")
        assert call(client, dialect, missing, request, x_caller="a").code != RESOURCE_EXHAUSTED
        assert call(client, dialect, missing, request, x_caller="a") == (RESOURCE_EXHAUSTED, [])
        assert call(client, dialect, HELLO, request, x_caller="b").code == 0
    assert isinstance(limit, RateLimit)


def test_one_method() -> None:
    app = App()
    app.grpc.service("greeter.Greeter")(Greeter)

    @app.grpc.method("/greeter.Greeter/RecordGreetings", limit="1/hour")
    async def record(requests: Any, context: Any) -> Any:
        return pb.GreetingSummary(count=len([request async for request in requests]))

    path = Method("/greeter.Greeter/RecordGreetings", request_streaming=True)
    requests = [pb.HelloRequest(name="Ada")] * 3
    with serving(app) as client:
        assert call(client, "grpc", path, requests).code == 0
        assert call(client, "grpc", path, requests) == (RESOURCE_EXHAUSTED, [])
        assert call(client, "grpc", HELLO, requests[:1]).code == 0


def test_what_cannot_be() -> None:
    app = App()
    with pytest.raises(ValueError, match="is no rate"):
        app.grpc.method("/greeter.Greeter/SayHello", limit="often")
    with pytest.raises(ValueError, match="is no rate"):
        app.grpc.service("greeter.Greeter", limit="often")
