"""sse-starlette on our engine: events, pings, clients that leave, a server that stops."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
from sse_starlette import EventSourceResponse, ServerSentEvent
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tests.asgi.both import Way, served, uvicorn_serves
from tests.asgi.starlette_app import Notes
from tests.wire.h2peer import H2Peer
from tests.wire.live import Live, Peer, until

WAYS = (Way("plain"), Way("behind-middleware", wrapped=True))


def make(notes: Notes) -> Starlette:
    async def few(request: Request) -> Response:
        async def events() -> AsyncIterator[Any]:
            yield {"data": "one", "event": "first", "id": "1"}
            yield ServerSentEvent("two\nlines", retry=3000)
            yield "three"

        return EventSourceResponse(events(), sep="\n")

    async def endless(request: Request) -> Response:
        async def events() -> AsyncIterator[dict[str, str]]:
            try:
                yield {"data": "begin"}
                await asyncio.Event().wait()
            finally:
                notes.add("generator ended")

        async def left(message: Any) -> None:
            notes.add(message["type"])

        return EventSourceResponse(events(), ping=0.05, sep="\n", client_close_handler_callable=left)

    return Starlette(routes=[Route("/few", few), Route("/endless", endless)])


@contextmanager
def noted(way: Way, **settings: Any) -> Iterator[tuple[Live, Notes]]:
    notes = Notes()
    with served(make(notes), way, **settings) as server:
        yield server, notes


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.name)
def test_events_are_those_of_uvicorn(way: Way) -> None:
    with noted(way) as (server, _), uvicorn_serves(make(Notes())) as their_port:
        ours, theirs = (
            httpx.get(f"http://127.0.0.1:{port}/few", trust_env=False) for port in (server.port, their_port)
        )
    assert ours.text == theirs.text
    assert ours.text.replace("\r", "").startswith(
        "id: 1\nevent: first\ndata: one\n\ndata: two\ndata: lines\nretry: 3000\n\n"
    )
    for name in ("content-type", "cache-control", "x-accel-buffering"):
        assert ours.headers[name] == theirs.headers[name]


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.name)
def test_pings_while_nothing_happens_and_a_client_that_leaves(way: Way) -> None:
    with noted(way) as (server, notes):
        with Peer(server.port) as peer:
            peer.get("/endless").until(b"data: begin\n\n")
            for _ in range(3):
                assert re.search(rb": ping - [^\n]+\n\n", peer.until(b"\n\n") + peer.until(b"\n\n"))
            assert notes.seen == []
        until(lambda: "generator ended" in notes.seen and "http.disconnect" in notes.seen)


def test_over_http2_each_stream_for_itself() -> None:
    with noted(WAYS[0]) as (server, notes), H2Peer(server.port) as peer:
        first, second = peer.request("GET", "/endless"), peer.request("GET", "/endless")
        for stream in (first, second):
            assert b"begin" in peer.take(stream)
        peer.machine.reset_stream(first, 8)
        peer.flush()
        until(lambda: "generator ended" in notes.seen)
        assert b"ping" in peer.take(second)
        assert notes.seen.count("generator ended") == 1


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.name)
def test_a_server_that_stops_ends_the_generator(way: Way) -> None:
    # It asks uvicorn itself whether that stops; with us the stream ends when `timeout_drain` is over.
    with noted(way, timeout_drain=0.2) as (server, notes):
        peer = server.peer().get("/endless")
        peer.until(b"data: begin\n\n")
    peer.sock.close()
    assert "generator ended" in notes.seen
