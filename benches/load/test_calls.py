"""What the harness says of gRPC and HTTP/2: right answers pass, wrong ones are found, whatever their length."""

import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from benches.load import client, h2load, machine, peers, protocols, routes, runner, versions
from benches.load.scenarios import BY_NAME, GRPC, VERSIONS, framed, text_field
from benches.load.servers import catalog
from benches.load.swarm import Http2Swarm

NO_PINNING = machine.Cores(None, None)
PLAN = runner.Plan(repetitions=1, seconds=1, warm_up=1, cores=NO_PINNING)


def missing() -> str:
    try:
        for tool in ("h2load", "nghttp"):
            peers.require_command(tool)
        peers.generated()
    except peers.NotAvailable as error:
        return str(error)
    return ""


pytestmark = pytest.mark.skipif(missing() != "", reason=missing())

TOLD = """
[  0.005] \x1b[1;36mrecv \x1b[0m(stream_id=13) \x1b[1;34m:status\x1b[0m: 200
[  0.005] recv (stream_id=13) content-type: application/grpc
[  0.005] recv HEADERS frame <length=80, flags=0x04, stream_id=13>
[  0.005] recv DATA frame <length=18, flags=0x00, stream_id=13>
[  0.005] recv (stream_id=13) grpc-status: 0
[  0.005] recv HEADERS frame <length=12, flags=0x05, stream_id=13>
"""


def test_fields_and_trailers_are_told_apart() -> None:
    assert h2load.fields(TOLD) == ({":status": "200", "content-type": "application/grpc"}, {"grpc-status": "0"})


def test_messages_are_what_protobuf_writes() -> None:
    sys.path.insert(0, str(peers.generated()))
    try:
        import greeter_pb2 as pb
    finally:
        sys.path.pop(0)
    for text in ("Ada", "", "999: Grace Hopper"):
        message = pb.HelloReply(message=text).SerializeToString()
        assert framed(text_field(text))[5:] == message or not text
        assert pb.HelloReply.FromString(text_field(text)).message == text


@pytest.mark.parametrize("name", [scenario.name for scenario in GRPC])
def test_fastnet_is_measured(name: str) -> None:
    (result,) = runner.run_scenario(BY_NAME[name], [catalog.FASTNET], PLAN)
    assert result.fault == ""
    assert result.samples[0].requests > BY_NAME[name].connections


WRONG = """
import sys
from typing import Any
import greeter_pb2 as pb
import grpc
from fastnet import App, Request, Response

app = App()
count = 0

{body}
"""
SERVICE = """
@app.grpc.service("greeter.Greeter")
class Greeter:
    async def SayHello(self, request: pb.HelloRequest, context: Any) -> pb.HelloReply:
        global count
        count += 1
        {wrong}
        return pb.HelloReply(message=f"Hello, {{request.name}}!")
"""
PLAIN = """
@app.post("/greeter.Greeter/SayHello")
async def say_hello(request: Request) -> Response:
    return Response(bytes(4) + bytes([13, 10, 11]) + b"Hello, Ada!", media_type="application/grpc")
"""


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (SERVICE.format(wrong='request.name = "Ava"'), ("Hello, Ava!",)),
        (SERVICE.format(wrong='request.name = "Ada"'), ("Grace",)),
        (SERVICE.format(wrong='request.name = "Ada" if count < 500 else "Ava"'), ("Grace",)),
        (SERVICE.format(wrong='request.name = "Ava" if count > 500 else request.name'), ("after the load", "Ava")),
        (SERVICE.format(wrong="context.set_code(grpc.StatusCode.NOT_FOUND)"), ("trailers", "'5'")),
        (SERVICE.format(wrong="if count > 500: context.set_code(grpc.StatusCode.NOT_FOUND)"), ("on average",)),
        (PLAIN, ("trailers {} instead of grpc-status 0",)),
    ],
)
def test_wrong_calls_are_found(body: str, words: tuple[str, ...], tmp_path: Path) -> None:
    (tmp_path / "wrong.py").write_text(WRONG.format(body=body))
    paths = f"{machine.ROOT}:{peers.generated()}"
    argv = ["env", f"PYTHONPATH={paths}", sys.executable, "-m", "fastnet", "run", "wrong:app", "--port"]
    server = catalog.Server(
        "wrong", "wrong", lambda launch: [*argv, str(launch.port)], frozenset({"grpc-8x1"}), cwd=tmp_path
    )
    (result,) = runner.run_scenario(BY_NAME["grpc-8x1"], [server], PLAN)
    assert result.fault.startswith("disqualified: ")
    for word in words:
        assert word in result.fault
    assert result.samples == []


def test_the_last_of_many_methods_is_asked() -> None:
    for count in (routes.METHODS.counts[0], routes.METHODS.counts[-1]):
        (scenario,) = routes.METHODS.asked(count).values()
        with ExitStack() as stack:
            runner.start(stack, catalog.FASTNET, scenario, NO_PINNING, routes=count)
        with ExitStack() as stack, pytest.raises(client.WrongAnswer, match="'12'"):
            runner.start(stack, catalog.FASTNET, scenario, NO_PINNING, routes=count - 1)


def test_both_versions_ask_for_the_same() -> None:
    for first, second in VERSIONS:
        assert (first.request, first.expected, first.probes) == (second.request, second.expected, second.probes)
        assert first.connections * first.depth == second.connections * second.depth
        assert first.name in versions.LIMITS
        with ExitStack() as stack:
            up = runner.start(stack, catalog.FASTNET, first, NO_PINNING)
            size = protocols.BY_NAME[second.protocol].check(up.port, second, True, 1)
            assert size == len(first.expected.body or b"")


def test_connections_of_http2_are_compared_and_must_stay() -> None:
    with ExitStack() as stack:
        up = runner.start(stack, catalog.FASTNET, BY_NAME["h2c"], NO_PINNING)
        with Http2Swarm(up.port, BY_NAME["h2c"].request, 3) as swarm:
            swarm.ask_all(3)
            swarm.require_open()
            swarm._body = b"Hello, Moon!!"
            with pytest.raises(client.WrongAnswer, match="Moon"):
                swarm.ask_all(1)
            up.process.stop()
            with pytest.raises(client.WrongAnswer):
                swarm.require_open()
