"""Event streams under another server: each event in a message of its own, heartbeats, and the client's end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from fastnet import App, EventStream, ServerSentEvent
from fastnet.streaming import TokenStream
from tests.loops import run
from tests.net.asgi_host import END, GONE, Call, http_scope


def make_app(said: list[str]) -> App:
    app = App(settings={"timeout_idle": 0.4})

    @app.sse("/events", heartbeat=0.2)
    async def events() -> AsyncIterator[Any]:
        try:
            yield ServerSentEvent("one", id="1")
            await asyncio.sleep(0)
            yield {"n": 2}
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            said.append("closed")

    @app.sse("/short")
    def short() -> Any:
        yield "only"

    return app


def test_events_heartbeats_and_the_end() -> None:
    async def main() -> None:
        said: list[str] = []
        call = Call(make_app(said), http_scope(path="/events"), END)
        await call.until(lambda: b":\n\n:\n\n" in call.body)
        assert call.status == 200
        assert (b"content-type", b"text/event-stream") in call.fields
        assert (b"cache-control", b"no-store") in call.fields
        bodies = [message["body"] for message in call.sent if message["type"] == "http.response.body"]
        assert bodies[:2] == [b"id: 1\ndata: one\n\n", b'data: {"n":2}\n\n']
        call.bring(GONE)
        await call.end()
        assert said == ["closed"]

    run(main())


def test_a_token_stream_ends_with_its_client() -> None:
    async def main() -> None:
        said: list[str] = []
        app = App()

        async def tokens() -> AsyncIterator[str]:
            try:
                yield "one"
                await asyncio.Event().wait()
            finally:
                await asyncio.sleep(0)
                said.append("closed")

        @app.get("/tokens")
        async def stream() -> EventStream:
            return EventStream(TokenStream(tokens()).events())

        call = Call(app, http_scope(path="/tokens"), END)
        await call.until(lambda: b'"text":"one"' in call.body)
        call.bring(GONE)
        await call.end()
        assert said == ["closed"]

    run(main())


def test_a_stream_that_ends() -> None:
    async def main() -> None:
        call = await Call(make_app([]), http_scope(path="/short"), END).end()
        assert call.body == b"data: only\n\n"
        assert not call.sent[-1].get("more_body", False)

    run(main())


def test_a_slow_client_is_waited_for() -> None:
    async def main() -> None:
        app, sent = App(), list[int]()

        @app.sse("/flood")
        async def flood() -> AsyncIterator[str]:
            while True:
                sent.append(1)
                yield "x" * 1000

        call = Call(app, http_scope(path="/flood"), END, slow=True)
        before = -1
        while len(sent) != before:
            before = len(sent)
            await asyncio.sleep(0.05)
        assert 0 < before < 2_000
        call.release()
        await call.until(lambda: len(sent) > before + 1000)
        call.bring(GONE)
        await call.end()

    run(main())
