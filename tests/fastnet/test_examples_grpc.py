"""The examples with gRPC, as real processes: users over TLS, and one logic behind three protocols."""

import json
import os
import ssl
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
import trustme
from websockets.sync.client import connect

from tests.protos import PROTO, compiled
from tests.server.service import ROOT, Service, running, until

user_pb, user_grpc = compiled(PROTO / "user.proto")
chat_pb, chat_grpc = compiled(PROTO / "chat.proto")

from examples.users.client import connected  # noqa: E402 - needs what was compiled

TOKEN = "a-token-of-the-tests"


@pytest.fixture(scope="module")
def users(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Service, bytes]]:
    """The user service with TLS, and the root of its certificate."""
    folder = tmp_path_factory.mktemp("users")
    authority = trustme.CA()
    certificate = authority.issue_cert("localhost")
    certificate.private_key_pem.write_to_path(folder / "key.pem")
    for i, blob in enumerate(certificate.cert_chain_pems):
        blob.write_to_path(folder / "cert.pem", append=i > 0)
    variables = {"USERS_TOKEN": TOKEN, "USERS_DATABASE": str(folder / "users.db"), "PYTHONPATH": generated()}
    flags = ("--tls-cert", str(folder / "cert.pem"), "--tls-key", str(folder / "key.pem"))
    with running(folder, "", *flags, app="examples.users.service:app", environment=variables) as service:
        yield service, authority.cert_pem.bytes()


def generated() -> str:
    """Where the modules are that protoc made for the tests; the service finds them there."""
    folders = [Path(str(module.__file__)).parent for module in (user_pb, chat_pb)]
    return os.pathsep.join(map(str, (ROOT, *folders)))


@pytest.fixture
def stub(users: tuple[Service, bytes]) -> Iterator[Any]:
    service, root = users
    with connected(f"localhost:{service.port}", TOKEN, root) as stub:
        yield stub


def code_of(call: Any, request: Any) -> grpc.StatusCode:
    with pytest.raises(grpc.RpcError) as caught:
        call(request, timeout=20)
    return caught.value.code()


def test_users(stub: Any) -> None:
    ada = stub.CreateUser(user_pb.CreateUserRequest(name="Ada", email="ada@example.com"))
    assert (ada.name, ada.version) == ("Ada", 1)
    assert stub.GetUser(user_pb.GetUserRequest(id=ada.id)) == ada
    changed = user_pb.UpdateUserRequest(user=user_pb.User(id=ada.id, name="Ada L.", version=1))
    changed.update_mask.paths.append("name")
    updated = stub.UpdateUser(changed)
    assert (updated.name, updated.email, updated.version) == ("Ada L.", "ada@example.com", 2)
    requests = [user_pb.CreateUserRequest(name=f"Many {i}", email=f"many{i}@example.com") for i in range(250)]
    ids = stub.CreateUsers(iter(requests)).ids
    assert len(ids) == 250
    assert [user.id for user in stub.ListUsers(user_pb.ListUsersRequest(name_prefix="Many"))] == list(ids)
    limited = stub.ListUsers(user_pb.ListUsersRequest(name_prefix="Many", limit=120))
    assert [user.id for user in limited] == list(ids)[:120]
    stub.DeleteUser(user_pb.DeleteUserRequest(id=ada.id))
    assert code_of(stub.GetUser, user_pb.GetUserRequest(id=ada.id)) == grpc.StatusCode.NOT_FOUND


def test_each_failure_has_its_status(stub: Any) -> None:
    def create(name: str, email: str) -> Any:
        return user_pb.CreateUserRequest(name=name, email=email)

    bob = stub.CreateUser(create("Bob", "bob@example.com"))
    eve = stub.CreateUser(create("Eve", "eve@example.com"))
    status = grpc.StatusCode
    assert code_of(stub.CreateUser, create("", "x@example.com")) == status.INVALID_ARGUMENT
    assert code_of(stub.CreateUser, create("X", "nowhere")) == status.INVALID_ARGUMENT
    assert code_of(stub.CreateUser, create("X", "BOB@example.com")) == status.ALREADY_EXISTS
    assert code_of(stub.DeleteUser, user_pb.DeleteUserRequest(id=10**6)) == status.NOT_FOUND

    def update(**fields: Any) -> Any:
        return user_pb.UpdateUserRequest(user=user_pb.User(**fields))

    assert code_of(stub.UpdateUser, update(id=10**6, name="X", email="x@example.com")) == status.NOT_FOUND
    assert code_of(stub.UpdateUser, update(id=eve.id, name="Eve", email=bob.email)) == status.ALREADY_EXISTS
    assert code_of(stub.UpdateUser, update(id=eve.id, name="E", email=eve.email, version=9)) == status.ABORTED
    masked = update(id=eve.id)
    masked.update_mask.paths.append("version")
    assert code_of(stub.UpdateUser, masked) == status.INVALID_ARGUMENT
    with pytest.raises(grpc.RpcError) as caught:
        list(stub.ListUsers(user_pb.ListUsersRequest(limit=-1)))
    assert caught.value.code() == status.INVALID_ARGUMENT
    before = len(list(stub.ListUsers(user_pb.ListUsersRequest())))
    assert code_of(stub.CreateUsers, iter([create("New", "new@example.com"), create("X", bob.email)])) == (
        status.ALREADY_EXISTS
    )
    # All of them or none.
    assert len(list(stub.ListUsers(user_pb.ListUsersRequest()))) == before


def test_nobody_calls_without_the_token(users: tuple[Service, bytes]) -> None:
    service, root = users
    with connected(f"localhost:{service.port}", "wrong", root) as stub:
        assert code_of(stub.GetUser, user_pb.GetUserRequest(id=1)) == grpc.StatusCode.UNAUTHENTICATED
        assert code_of(stub.CreateUsers, iter([])) == grpc.StatusCode.UNAUTHENTICATED
        with pytest.raises(grpc.RpcError) as caught:
            list(stub.ListUsers(user_pb.ListUsersRequest()))
        assert caught.value.code() == grpc.StatusCode.UNAUTHENTICATED
    address = f"localhost:{service.port}"
    with grpc.secure_channel(address, grpc.ssl_channel_credentials(root)) as channel:
        # Load balancers have no token; all others need one, whatever they ask for.
        check = channel.unary_unary("/grpc.health.v1.Health/Check")
        assert check(b"", timeout=20) == b"\x08\x01"
        for path in ("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", "/user.UserService/Nothing"):
            calls = channel.stream_stream(path)(iter([b""]), timeout=20)
            with pytest.raises(grpc.RpcError):
                next(calls)
            assert calls.code() == grpc.StatusCode.UNAUTHENTICATED
    context = ssl.create_default_context(cadata=root.decode())
    url = f"https://{address}/user.UserService/GetUser"
    assert httpx.post(url, json={"id": 1}, verify=context).status_code == 401
    bearer = {"authorization": f"Bearer {TOKEN}"}
    assert httpx.post(url, json={"id": 10**6}, headers=bearer, verify=context).status_code == 404


class Flaky(user_grpc.UserServiceServicer):  # type: ignore[misc, name-defined]
    """UNAVAILABLE, until the third call."""

    def __init__(self) -> None:
        self.calls = 0

    def GetUser(self, request: Any, context: grpc.ServicerContext) -> Any:
        self.calls += 1
        if self.calls < 3:
            context.abort(grpc.StatusCode.UNAVAILABLE, "not now")
        return user_pb.User(id=request.id)

    CreateUser = GetUser


def test_the_client_tries_again_what_may_be_repeated() -> None:
    authority = trustme.CA()
    certificate = authority.issue_cert("localhost")
    key, chain = certificate.private_key_pem.bytes(), certificate.cert_chain_pems[0].bytes()
    flaky = Flaky()
    server = grpc.server(ThreadPoolExecutor(1))
    user_grpc.add_UserServiceServicer_to_server(flaky, server)
    port = server.add_secure_port("localhost:0", grpc.ssl_server_credentials([(key, chain)]))
    server.start()
    try:
        with connected(f"localhost:{port}", TOKEN, authority.cert_pem.bytes()) as stub:
            assert stub.GetUser(user_pb.GetUserRequest(id=7)).id == 7
            assert flaky.calls == 3
            flaky.calls = 0
            assert code_of(stub.CreateUser, user_pb.CreateUserRequest()) == grpc.StatusCode.UNAVAILABLE
            assert flaky.calls == 1
    finally:
        server.stop(None)


# --- one logic


@pytest.fixture(scope="module")
def chat(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("chat")
    with running(folder, "", app="examples.one_logic.service:app", environment={"PYTHONPATH": generated()}) as service:
        yield service


def test_what_is_said_by_one_protocol_is_heard_by_all(chat: Service) -> None:
    address = f"127.0.0.1:{chat.port}"
    heard: list[tuple[str, str]] = []
    with (
        httpx.Client(base_url=f"http://{address}", trust_env=False) as client,
        connect(f"ws://{address}/rooms/hall/live?user=web", proxy=None) as ws,
        grpc.insecure_channel(address) as channel,
    ):
        done = threading.Event()

        def posts() -> Iterator[Any]:
            yield chat_pb.Post(room="hall", user="rpc", text="by gRPC")
            done.wait(20)

        call = chat_grpc.ChatStub(channel).Join(posts(), timeout=30)

        def listen() -> None:
            try:
                heard.extend((message.user, message.text) for message in call)
            except grpc.RpcError as error:
                assert error.code() == grpc.StatusCode.CANCELLED  # noqa: PT017 - in a thread

        thread = threading.Thread(target=listen, daemon=True)
        thread.start()
        assert json.loads(ws.recv(timeout=20))["text"] == "by gRPC"
        ws.send("by WebSocket")
        answer = client.post("/rooms/hall", json={"user": "rest", "text": "by REST"})
        assert answer.status_code == 201
        expected = [("rpc", "by gRPC"), ("web", "by WebSocket"), ("rest", "by REST")]
        until(lambda: sorted(heard) == sorted(expected), "what all three said")
        assert {json.loads(ws.recv(timeout=20))["text"] for _ in range(2)} == {"by WebSocket", "by REST"}
        assert len(client.get("/rooms/hall").json()) == 3
        kept = chat_grpc.ChatStub(channel).History(chat_pb.HistoryRequest(room="hall", limit=1), timeout=20)
        assert len(kept.messages) == 1
        # The same method as plain HTTP.
        path = "/chat.Chat/History"
        answer = client.get(path, params={"encoding": "json", "message": '{"room": "hall"}'})
        assert len(answer.json()["messages"]) == 3
        done.set()
        call.cancel()
        thread.join(20)


def test_what_cannot_be_said_is_refused_by_each(chat: Service) -> None:
    address = f"127.0.0.1:{chat.port}"
    with httpx.Client(base_url=f"http://{address}", trust_env=False) as client:
        assert client.post("/rooms/hall", json={"user": "", "text": "x"}).status_code == 422
    with connect(f"ws://{address}/rooms/hall/live?user=web", proxy=None) as ws:
        ws.send("x" * 2000)
        until(lambda: ws.close_code or _closed(ws), "the close")
        assert ws.close_code == 1008
    with grpc.insecure_channel(address) as channel:
        for posts in ([], [chat_pb.Post(room="hall", user="rpc", text="x" * 2000)]):
            with pytest.raises(grpc.RpcError) as caught:
                list(chat_grpc.ChatStub(channel).Join(iter(posts), timeout=20))
            assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT


def _closed(ws: Any) -> bool:
    try:
        ws.recv(timeout=0.1)
    except TimeoutError:
        return False
    except Exception:
        return True
    return False
