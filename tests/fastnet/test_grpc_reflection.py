"""``app.grpc.reflection()``, asked by grpcio's own reflection client, by its stubs, and by grpcurl."""

import json
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf import descriptor_pb2
from google.protobuf.descriptor_pool import DescriptorPool

from fastnet import App
from fastnet.grpc.pools import message_class
from tests.fastnet.serving import serving
from tests.protos import greeter, user

pb, _ = greeter()
user_pb, _ = user()
reflection_pb2 = pytest.importorskip("grpc_reflection.v1alpha.reflection_pb2")

SERVICES = [
    "greeter.Greeter",
    "grpc.health.v1.Health",
    "grpc.reflection.v1.ServerReflection",
    "grpc.reflection.v1alpha.ServerReflection",
    "user.UserService",
]
PACKAGES = ("grpc.reflection.v1", "grpc.reflection.v1alpha")


class Greeter:
    async def SayHello(self, request: Any, context: Any) -> Any:
        return pb.HelloReply(message=f"Hello, {request.name}!")


class Users:
    async def GetUser(self, request: Any, context: Any) -> Any:
        return user_pb.User(id=request.id)


def application() -> App:
    app = App()
    app.grpc.reflection()
    app.grpc.health()
    app.grpc.service("greeter.Greeter")(Greeter)
    app.grpc.service("user.UserService")(Users)
    return app


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with serving(application()) as client:
        yield client.port


@contextmanager
def channel_to(port: int) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield channel


def test_grpcios_client(port: int) -> None:
    database_class = import_module("grpc_reflection.v1alpha.proto_reflection_descriptor_database")
    with channel_to(port) as channel:
        database = database_class.ProtoReflectionDescriptorDatabase(channel)
        assert sorted(database.get_services()) == SERVICES
        pool = DescriptorPool(database)
        service = pool.FindServiceByName("user.UserService")
        assert [method.name for method in service.methods][:2] == ["GetUser", "CreateUser"]
        created = pool.FindMessageTypeByName("user.User").fields_by_name["created_at"]
        assert created.message_type is not None
        assert created.message_type.full_name == "google.protobuf.Timestamp"
        assert pool.FindServiceByName("grpc.health.v1.Health").methods_by_name["Watch"].server_streaming


def ask(port: int, package: str, *questions: dict[str, Any]) -> list[Any]:
    """The answers to several questions in one call."""
    request_class = message_class(f"{package}.ServerReflectionRequest")
    with channel_to(port) as channel:
        call = channel.stream_stream(
            f"/{package}.ServerReflection/ServerReflectionInfo",
            request_serializer=request_class.SerializeToString,
            response_deserializer=message_class(f"{package}.ServerReflectionResponse").FromString,
        )
        return list(call(iter([request_class(**question) for question in questions]), timeout=20))


@pytest.mark.parametrize("package", PACKAGES)
def test_each_question(port: int, package: str) -> None:
    services, by_name, symbol, method, numbers = ask(
        port,
        package,
        {"list_services": "", "host": "here"},
        {"file_by_filename": "user.proto"},
        {"file_containing_symbol": "greeter.HelloRequest"},
        {"file_containing_symbol": "user.UserService.GetUser"},
        {"all_extension_numbers_of_type": "google.protobuf.MethodOptions"},
    )
    assert [each.name for each in services.list_services_response.service] == SERVICES
    assert services.valid_host == services.original_request.host == "here"

    def files(response: Any) -> list[str]:
        raw = response.file_descriptor_response.file_descriptor_proto
        return [descriptor_pb2.FileDescriptorProto.FromString(each).name for each in raw]

    assert files(by_name)[0] == files(method)[0] == "user.proto"
    assert sorted(files(by_name)[1:]) == ["google/protobuf/field_mask.proto", "google/protobuf/timestamp.proto"]
    assert files(symbol) == ["greeter.proto"]
    assert numbers.all_extension_numbers_response.base_type_name == "google.protobuf.MethodOptions"


@pytest.mark.parametrize("package", PACKAGES)
def test_what_is_not_there_is_an_answer_and_the_call_goes_on(port: int, package: str) -> None:
    answers = ask(
        port,
        package,
        {"file_by_filename": "nowhere.proto"},
        {"file_containing_symbol": "no.Symbol"},
        {"file_containing_extension": {"containing_type": "no.Type", "extension_number": 1}},
        {"file_containing_extension": {"containing_type": "greeter.HelloRequest", "extension_number": 9}},
        {"all_extension_numbers_of_type": "no.Type"},
        {},
        {"list_services": ""},
    )
    codes = [answer.error_response.error_code for answer in answers]
    assert codes == [5, 5, 5, 5, 5, 3, 0]
    assert "no.Symbol" in answers[1].error_response.error_message


def test_the_messages_are_those_of_grpcio(port: int) -> None:
    raw = reflection_pb2.DESCRIPTOR.serialized_pb
    theirs = descriptor_pb2.FileDescriptorProto.FromString(raw)
    for name in ("ServerReflectionRequest", "ServerReflectionResponse", "ExtensionRequest", "ErrorResponse"):
        ours = message_class(f"grpc.reflection.v1alpha.{name}").DESCRIPTOR
        (other,) = [message for message in theirs.message_type if message.name == name]
        fields = [(field.name, field.number, field.type, field.label) for field in other.field]
        mine = descriptor_pb2.DescriptorProto()
        ours.CopyToProto(mine)
        assert [(field.name, field.number, field.type, field.label) for field in mine.field] == fields


@pytest.fixture(scope="module")
def grpcurl(tmp_path_factory: pytest.TempPathFactory) -> str:
    """grpcurl, from the path or made by ``go install``."""
    found = shutil.which("grpcurl") or shutil.which("grpcurl", path=str(Path.home() / "go" / "bin"))
    if found is not None:
        return found
    go = shutil.which("go") or shutil.which("go", path="/usr/local/go/bin")
    if go is None:
        pytest.skip("neither grpcurl nor Go is installed")
    done = subprocess.run(
        [go, "install", "github.com/fullstorydev/grpcurl/cmd/grpcurl@v1.9.3"],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        pytest.skip(f"grpcurl cannot be had: {done.stderr[-200:]}")
    return str(Path.home() / "go" / "bin" / "grpcurl")


def test_grpcurl(port: int, grpcurl: str) -> None:
    def run(*arguments: str) -> str:
        done = subprocess.run(
            [grpcurl, "-plaintext", *arguments], capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    address = f"127.0.0.1:{port}"
    assert run(address, "list").split() == SERVICES
    assert "rpc SayHello ( .greeter.HelloRequest ) returns ( .greeter.HelloReply );" in run(
        address, "describe", "greeter.Greeter"
    )
    answer = run("-d", '{"name": "Ada"}', address, "greeter.Greeter/SayHello")
    assert json.loads(answer) == {"message": "Hello, Ada!"}
    assert json.loads(run(address, "grpc.health.v1.Health/Check")) == {"status": "SERVING"}
