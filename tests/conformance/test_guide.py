"""Servicers of the route guide's kind, unmodified: async and sync, on ``app.grpc`` and on grpcio's own servers.

They keep state between calls and between the messages of one, answer while they read, and end early. grpcio's client
asks the same of each.
"""

import asyncio
import threading
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import grpc
import pytest

from fastnet import App
from tests.fastnet.serving import serving
from tests.protos import compiled

pb, pb_grpc = compiled(Path(__file__).with_name("guide.proto"))

PATIENCE = 20
PLACES = {(x, y): f"place {x}/{y}" for x in range(-5, 6) for y in range(-5, 6) if (x + y) % 3 == 0}


def place(point: Any) -> Any:
    return pb.Place(name=PLACES.get((point.x, point.y), ""), at=point)


def inside(area: Any) -> Iterator[Any]:
    for x, y in PLACES:
        if area.low.x <= x <= area.high.x and area.low.y <= y <= area.high.y:
            yield place(pb.Point(x=x, y=y))


class Walker:
    """Sums a walk up, point by point."""

    def __init__(self) -> None:
        self.walk, self.last = pb.Walk(), None

    def step(self, point: Any) -> None:
        self.walk.points += 1
        self.walk.places += (point.x, point.y) in PLACES
        if self.last is not None:
            self.walk.length += abs(point.x - self.last.x) + abs(point.y - self.last.y)
        self.last = point


class Guide(pb_grpc.GuideServicer):  # type: ignore[misc, name-defined]
    def __init__(self) -> None:
        self.notes: dict[tuple[int, int], list[Any]] = defaultdict(list)

    async def GetPlace(self, request: Any, context: Any) -> Any:
        if not -5 <= request.x <= 5:
            await context.abort(grpc.StatusCode.OUT_OF_RANGE, "off the map")
        return place(request)

    async def ListPlaces(self, request: Any, context: Any) -> AsyncIterator[Any]:
        for found in inside(request):
            yield found

    async def RecordWalk(self, request_iterator: AsyncIterator[Any], context: Any) -> Any:
        walker = Walker()
        async for point in request_iterator:
            walker.step(point)
        return walker.walk

    async def Talk(self, request_iterator: AsyncIterator[Any], context: Any) -> AsyncIterator[Any]:
        async for note in request_iterator:
            known = self.notes[note.at.x, note.at.y]
            for earlier in list(known):
                yield earlier
            known.append(note)


class BlockingGuide(pb_grpc.GuideServicer):  # type: ignore[misc, name-defined]
    def __init__(self) -> None:
        self.notes: dict[tuple[int, int], list[Any]] = defaultdict(list)
        self.lock = threading.Lock()

    def GetPlace(self, request: Any, context: Any) -> Any:
        if not -5 <= request.x <= 5:
            context.abort(grpc.StatusCode.OUT_OF_RANGE, "off the map")
        return place(request)

    def ListPlaces(self, request: Any, context: Any) -> Iterator[Any]:
        yield from inside(request)

    def RecordWalk(self, request_iterator: Iterable[Any], context: Any) -> Any:
        walker = Walker()
        for point in request_iterator:
            walker.step(point)
        return walker.walk

    def Talk(self, request_iterator: Iterable[Any], context: Any) -> Iterator[Any]:
        for note in request_iterator:
            with self.lock:
                known = self.notes[note.at.x, note.at.y]
                earlier = list(known)
                known.append(note)
            yield from earlier


@contextmanager
def fastnet_serving(servicer: Any) -> Iterator[int]:
    app = App()
    pb_grpc.add_GuideServicer_to_server(servicer, app.grpc)
    with serving(app) as client:
        yield client.port


@contextmanager
def grpcio_serving(servicer: Any) -> Iterator[int]:
    """grpcio's server in threads: what its sync servicers run on."""
    server = grpc.server(ThreadPoolExecutor(4))
    pb_grpc.add_GuideServicer_to_server(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield port
    finally:
        server.stop(None).wait()


@contextmanager
def grpcio_aio_serving(servicer: Any) -> Iterator[int]:
    """grpcio's asynchronous server, on a loop in a thread."""
    told: SimpleQueue[tuple[int, Callable[[], Any]]] = SimpleQueue()

    async def main() -> None:
        server, stop, loop = grpc.aio.server(), asyncio.Event(), asyncio.get_running_loop()
        pb_grpc.add_GuideServicer_to_server(servicer, server)
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        told.put((port, lambda: loop.call_soon_threadsafe(stop.set)))
        await stop.wait()
        await server.stop(None)

    thread = threading.Thread(target=lambda: asyncio.run(main()), daemon=True)
    thread.start()
    port, stop = told.get(timeout=PATIENCE)
    try:
        yield port
    finally:
        stop()
        thread.join(PATIENCE)


SERVERS = {
    "fastnet, async": (fastnet_serving, Guide),
    "fastnet, sync": (fastnet_serving, BlockingGuide),
    "grpcio, async": (grpcio_aio_serving, Guide),
    "grpcio, sync": (grpcio_serving, BlockingGuide),
}


@pytest.fixture(params=SERVERS)
def stub(request: pytest.FixtureRequest) -> Iterator[Any]:
    serve, servicer = SERVERS[request.param]
    with serve(servicer()) as port, grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield pb_grpc.GuideStub(channel)


def test_a_place(stub: Any) -> None:
    assert stub.GetPlace(pb.Point(x=-3, y=3), timeout=PATIENCE).name == "place -3/3"
    assert stub.GetPlace(pb.Point(x=1), timeout=PATIENCE) == pb.Place(at=pb.Point(x=1))
    with pytest.raises(grpc.RpcError) as caught:
        stub.GetPlace(pb.Point(x=6), timeout=PATIENCE)
    assert (caught.value.code(), caught.value.details()) == (grpc.StatusCode.OUT_OF_RANGE, "off the map")


def test_places_of_an_area(stub: Any) -> None:
    area = pb.Area(low=pb.Point(x=-5, y=-5), high=pb.Point(x=5, y=5))
    assert [found.name for found in stub.ListPlaces(area, timeout=PATIENCE)] == list(PLACES.values())
    assert list(stub.ListPlaces(pb.Area(low=pb.Point(x=9)), timeout=PATIENCE)) == []
    # Who has seen enough leaves.
    call = stub.ListPlaces(area, timeout=PATIENCE)
    assert next(call).name == next(iter(PLACES.values()))
    call.cancel()


def test_a_walk(stub: Any) -> None:
    points = [pb.Point(x=x, y=0) for x in range(-3, 4)]
    walk = stub.RecordWalk(iter(points), timeout=PATIENCE)
    assert walk == pb.Walk(points=7, places=3, length=6)
    assert stub.RecordWalk(iter([]), timeout=PATIENCE) == pb.Walk()
    long = stub.RecordWalk((pb.Point(y=n % 2) for n in range(3000)), timeout=PATIENCE)
    assert (long.points, long.length) == (3000, 2999)


def test_a_talk(stub: Any) -> None:
    """Each note is answered by those before it at its place, before the next one is written."""
    notes: SimpleQueue[Any] = SimpleQueue()
    answers = stub.Talk(iter(notes.get, None), timeout=PATIENCE)
    here, there = pb.Point(x=1, y=2), pb.Point(x=2, y=1)
    notes.put(pb.Note(at=here, text="first"))
    notes.put(pb.Note(at=there, text="elsewhere"))
    notes.put(pb.Note(at=here, text="second"))
    assert next(answers).text == "first"
    notes.put(pb.Note(at=here, text="third"))
    assert [next(answers).text, next(answers).text] == ["first", "second"]
    notes.put(None)
    assert list(answers) == []
    # Another call finds what the first one left.
    assert [note.text for note in stub.Talk(iter([pb.Note(at=there)]), timeout=PATIENCE)] == ["elsewhere"]
