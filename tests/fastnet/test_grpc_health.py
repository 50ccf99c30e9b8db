"""``app.grpc.health()``, asked by grpcio's own health client, and in JSON."""

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import grpc
import pytest

from fastnet import App
from fastnet.grpc import Health
from tests.fastnet.serving import Client, serving
from tests.protos import greeter
from tests.server.service import until

pb, _ = greeter()
health_pb2 = pytest.importorskip("grpc_health.v1.health_pb2")
health_pb2_grpc = pytest.importorskip("grpc_health.v1.health_pb2_grpc")

SERVING, NOT_SERVING, SERVICE_UNKNOWN = 1, 2, 3


class Greeter:
    async def SayHello(self, request: Any, context: Any) -> Any:
        return pb.HelloReply()


@contextmanager
def stub_of(client: Client) -> Iterator[Any]:
    with grpc.insecure_channel(f"127.0.0.1:{client.port}") as channel:
        yield health_pb2_grpc.HealthStub(channel)


def application() -> tuple[App, Health]:
    app = App()
    health = app.grpc.health()
    app.grpc.service("greeter.Greeter")(Greeter)
    return app, health


def request(service: str = "") -> Any:
    return health_pb2.HealthCheckRequest(service=service)


class Watcher:
    """Reads a Watch in a thread of its own."""

    def __init__(self, stub: Any, service: str) -> None:
        self.seen: list[int] = []
        self.code: grpc.StatusCode | None = None
        self.call = stub.Watch(request(service), timeout=60)
        self.thread = threading.Thread(target=self._read, daemon=True)
        self.thread.start()

    def _read(self) -> None:
        try:
            for response in self.call:
                self.seen.append(response.status)
        except grpc.RpcError as error:
            self.code = error.code()

    def saw(self, *expected: int) -> bool:
        """Wait until it has seen so much; says what it has seen when it does not come."""
        until(lambda: tuple(self.seen) == expected, f"{expected}, not {self.seen}")
        return True


def test_check() -> None:
    app, health = application()
    with serving(app) as client, stub_of(client) as stub:

        def check(service: str = "") -> int:
            return int(stub.Check(request(service), timeout=10).status)

        assert check() == check("greeter.Greeter") == check("grpc.health.v1.Health") == SERVING
        health.set("greeter.Greeter", False)
        assert (check(), check("greeter.Greeter")) == (SERVING, NOT_SERVING)
        health.set("greeter.Greeter", True)
        health.set("database", False)
        assert (check("greeter.Greeter"), check("database")) == (SERVING, NOT_SERVING)
        app.ready = False
        assert check() == check("greeter.Greeter") == NOT_SERVING
        app.ready = True
        assert check() == SERVING
        health.set("", False)
        assert check() == check("greeter.Greeter") == NOT_SERVING
        with pytest.raises(grpc.RpcError) as caught:
            check("no.Service")
        assert caught.value.code() == grpc.StatusCode.NOT_FOUND


def test_list() -> None:
    app, health = application()
    with serving(app) as client, stub_of(client) as stub:
        if not hasattr(stub, "List"):
            pytest.skip("this grpcio-health-checking is older than List")

        def listed() -> dict[str, int]:
            answer = stub.List(health_pb2.HealthListRequest(), timeout=10)
            return {name: each.status for name, each in answer.statuses.items()}

        assert listed() == {"": SERVING, "grpc.health.v1.Health": SERVING, "greeter.Greeter": SERVING}
        health.set("database", False)
        assert listed()["database"] == NOT_SERVING
        app.ready = False
        assert set(listed().values()) == {NOT_SERVING}
        assert client.post("/grpc.health.v1.Health/List", b"{}").json["statuses"][""] == {"status": "NOT_SERVING"}


def test_watch() -> None:
    app, health = application()
    with serving(app) as client, stub_of(client) as stub:
        whole, greeting, unknown = (Watcher(stub, name) for name in ("", "greeter.Greeter", "later"))
        assert whole.saw(SERVING)
        assert greeting.saw(SERVING)
        assert unknown.saw(SERVICE_UNKNOWN)
        health.set("greeter.Greeter", False)
        assert greeting.saw(SERVING, NOT_SERVING)
        health.set("later", True)
        assert unknown.saw(SERVICE_UNKNOWN, SERVING)
        app.ready = False
        assert whole.saw(SERVING, NOT_SERVING)
        app.ready = True
        assert whole.saw(SERVING, NOT_SERVING, SERVING)
        assert tuple(greeting.seen) == (SERVING, NOT_SERVING)


def test_nobody_is_kept_who_watches_no_more() -> None:
    app, health = application()
    with serving(app) as client, stub_of(client) as stub:
        watcher = Watcher(stub, "")
        assert watcher.saw(SERVING)
        assert len(health._watchers) == 1
        watcher.call.cancel()
        until(lambda: not health._watchers)


def test_the_shutdown() -> None:
    app, health = application()
    with ExitStack() as stack:
        with serving(app) as client:
            watcher = Watcher(stack.enter_context(stub_of(client)), "greeter.Greeter")
            assert watcher.saw(SERVING)
        # The server has stopped, and did not wait for its watcher: `serving` would have failed.
        watcher.thread.join(10)
    assert watcher.seen == [SERVING, NOT_SERVING]
    assert watcher.code == grpc.StatusCode.UNAVAILABLE
    assert health.serving() is False
    assert not health._watchers


def test_in_json() -> None:
    app, _ = application()
    with serving(app) as client:
        assert client.post("/grpc.health.v1.Health/Check", b"{}").json == {"status": "SERVING"}
        answer = client.post("/grpc.health.v1.Health/Check", b'{"service": "nobody"}')
        assert (answer.status, answer.json["code"]) == (404, "not_found")


def test_it_is_registered_once() -> None:
    app, _ = application()
    with pytest.raises(ValueError, match="answered twice"):
        app.grpc.health()


def test_what_is_said_while_nobody_serves() -> None:
    app, health = application()
    health.set("greeter.Greeter", False)
    app.ready = False
    assert health.serving("greeter.Greeter") is health.serving() is False
    app.ready = True
    with serving(app) as client:
        answer = client.post("/grpc.health.v1.Health/Check", b'{"service": "greeter.Greeter"}')
        assert answer.json == {"status": "NOT_SERVING"}
    health.set("greeter.Greeter", True)
