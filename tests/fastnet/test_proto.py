"""``fastnet proto compile``: what it writes, what it refuses, and that its types hold."""

import subprocess
import sys
from pathlib import Path

import pytest

from fastnet.cli.flags import UsageError
from fastnet.cli.main import main
from fastnet.cli.proto import compile_protos
from tests.architecture.sources import ROOT

pytest.importorskip("grpc_tools.protoc")

NAMES = ("chat", "greeter", "user")
ENDS = ("_pb2.py", "_pb2.pyi", "_pb2_grpc.py", "_pb2_grpc.pyi")


def test_the_projects_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["proto", "compile", str(ROOT / "proto"), "--out", str(tmp_path)]) == 0
    expected = [f"{name}{end}" for name in NAMES for end in ENDS]
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(expected)
    assert [Path(line).name for line in capsys.readouterr().out.splitlines()] == expected
    program = (
        f"import {', '.join(f'{name}_pb2_grpc' for name in NAMES)}; print(greeter_pb2_grpc.GreeterServicer.__name__)"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout == "GreeterServicer\n"


def test_the_types_of_services(tmp_path: Path) -> None:
    compile_protos([ROOT / "proto" / "greeter.proto"], tmp_path)
    text = (tmp_path / "greeter_pb2_grpc.pyi").read_text()
    request, reply, context = "greeter_pb2.HelloRequest", "greeter_pb2.HelloReply", "context: Any, /"
    assert "class GreeterStub:\n    def __init__(self, channel: grpc.Channel | grpc.aio.Channel) -> None: ...\n" in text
    assert f"    def SayHello(self, request: {request}, {context}) -> Awaitable[{reply}] | {reply}: ...\n" in text
    assert f"requests: AsyncIterator[{request}], {context}) -> Awaitable[greeter_pb2.GreetingSummary]" in text
    assert "def add_GreeterServicer_to_server(servicer: GreeterServicer, server: Any) -> None: ...\n" in text


SERVICERS = """
from collections.abc import AsyncIterator
from typing import Any
import greeter_pb2 as pb
import greeter_pb2_grpc as pb_grpc
from fastnet.grpc import ServicerContext

class Greeter:
    async def SayHello(self, request: pb.HelloRequest, context: ServicerContext) -> pb.HelloReply:
        return pb.HelloReply(message=request.name)
    async def SayHelloStream(self, request: pb.HelloRequest, context: Any) -> AsyncIterator[pb.HelloReply]:
        yield pb.HelloReply()
    async def RecordGreetings(self, stream: AsyncIterator[pb.HelloRequest], context: Any) -> pb.GreetingSummary:
        return pb.GreetingSummary(count=len([each async for each in stream]))
    async def Chat(self, posts: AsyncIterator[pb.ChatMessage], context: Any) -> AsyncIterator[pb.ChatMessage]:
        async for each in posts:
            yield each

class Derived(pb_grpc.GreeterServicer):
    async def SayHello(self, request: pb.HelloRequest, context: ServicerContext) -> pb.HelloReply:
        return pb.HelloReply(message=request.name)

class Wrong(Greeter):
    async def SayHello(self, request: pb.ChatMessage, context: Any) -> pb.HelloReply:  # type: ignore[override]
        return pb.HelloReply()

one: pb_grpc.GreeterServicer = Greeter()
two: pb_grpc.GreeterServicer = Derived()
three: pb_grpc.GreeterServicer = Wrong()
"""


def test_mypy_checks_servicers_against_the_types(tmp_path: Path) -> None:
    pytest.importorskip("mypy")
    compile_protos([ROOT / "proto"], tmp_path)
    (tmp_path / "service.py").write_text(SERVICERS)
    command = [sys.executable, "-m", "mypy", "--strict", "--no-error-summary", "--no-pretty", "service.py"]
    ignored = "\n".join(["[mypy]", "mypy_path = " + str(ROOT), "[mypy-grpc.*]", "ignore_missing_imports = true"])
    (tmp_path / "mypy.ini").write_text(ignored)
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    errors = [line for line in done.stdout.splitlines() if ": error:" in line]
    assert len(errors) == 1, done.stdout
    (error,) = errors
    line = SERVICERS.splitlines().index("three: pb_grpc.GreeterServicer = Wrong()") + 1
    assert error.startswith(f'service.py:{line}: error: Incompatible types in assignment (expression has type "Wrong"')


def test_packages_imports_and_nested_messages(tmp_path: Path) -> None:
    source = tmp_path / "source"
    (source / "shop" / "v1").mkdir(parents=True)
    (source / "shop" / "types.proto").write_text(
        'syntax = "proto3"; package shop; message Outer { message Inner { int32 a = 1; } }'
    )
    (source / "shop" / "v1" / "order.proto").write_text(
        'syntax = "proto3"; package shop.v1; import "shop/types.proto"; import "google/protobuf/empty.proto";'
        "service Orders { rpc Put (shop.Outer.Inner) returns (google.protobuf.Empty); } service None {}"
    )
    out = tmp_path / "out"
    out.mkdir()
    written = [path.relative_to(out).as_posix() for path in compile_protos([source], out)]
    types, order = [f"shop/types{end}" for end in ENDS[:3]], [f"shop/v1/order{end}" for end in ENDS]
    assert sorted(written) == sorted(types + order)
    assert sorted(path.relative_to(out).as_posix() for path in out.rglob("*.py*")) == sorted(types + order)
    text = (out / "shop" / "v1" / "order_pb2_grpc.pyi").read_text()
    assert "import google.protobuf.empty_pb2\nimport grpc\nimport grpc.aio\nimport shop.types_pb2\n" in text
    assert "request: shop.types_pb2.Outer.Inner, context" in text
    assert "class NoneServicer(Protocol): ...\n" in text


def test_imports_from_elsewhere(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "a.proto").write_text('syntax = "proto3"; message A {}')
    mine = tmp_path / "b.proto"
    mine.write_text('syntax = "proto3"; import "a.proto"; message B { A a = 1; }')
    written = compile_protos([mine], tmp_path, [elsewhere])
    assert [path.name for path in written] == ["b_pb2.py", "b_pb2.pyi", "b_pb2_grpc.py"]


@pytest.mark.parametrize(
    ("paths", "out", "words"),
    [
        (["nowhere"], ".", "neither a folder nor a .proto file"),
        (["."], ".", "no .proto files below"),
        (["broken.proto"], "nowhere", "--out"),
        (["broken.proto"], ".", "protoc refuses"),
    ],
)
def test_what_is_refused(
    paths: list[str], out: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    if paths != ["."]:
        Path("broken.proto").write_text('syntax = "proto3"; message {}')
    with pytest.raises(UsageError, match=words):
        compile_protos(map(Path, paths), Path(out))


def test_without_the_extra(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setitem(sys.modules, "grpc_tools.protoc", None)
    assert main(["proto", "compile", str(ROOT / "proto")]) == 2
    assert capsys.readouterr().err == (
        "fastnet: proto compile needs grpcio-tools: pip install 'fastnet-server[proto]'\n"
    )


@pytest.mark.parametrize("arguments", [["proto"], ["proto", "compile"], ["proto", "compile", "x.proto", "--oot", "y"]])
def test_command_lines_that_cannot_be_used(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    assert capsys.readouterr().err.startswith("fastnet: ")
