"""The three faces: ``fastnet run examples.one_logic.service:app``.

* REST: ``POST /rooms/{room}`` with ``{"user": …, "text": …}``, ``GET /rooms/{room}?limit=``
* WebSocket: ``/rooms/{room}/live?user=``: texts go in, messages come out as JSON
* gRPC: chat.Chat of ``proto/chat.proto``, so gRPC-Web and Connect as well
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import chat_pb2 as pb  # protoc's output, found by examples/__init__.py
import grpc
import msgspec

from examples.one_logic.rooms import ChatError, Rooms, Said
from fastnet import App, HTTPException, WebSocket
from fastnet.grpc import ServicerContext

app = App(title="chat")
rooms = Rooms()


# --- REST


class NewMessage(msgspec.Struct):
    """What is said, as a client of REST sends it."""

    user: str
    text: str


@app.post("/rooms/{room}", status_code=201)
async def say(room: str, message: NewMessage) -> Said:
    """Say something in a room."""
    try:
        return rooms.say(room, message.user, message.text)
    except ChatError as error:
        raise HTTPException(422, str(error)) from None


@app.get("/rooms/{room}")
async def history(room: str, limit: int = 0) -> list[Said]:
    """The latest messages of a room."""
    return rooms.history(room, limit)


# --- WebSocket


@app.websocket("/rooms/{room}/live")
async def live(ws: WebSocket, room: str, user: str) -> None:
    """Texts go in, messages come out."""

    async def tell(messages: AsyncIterator[Said]) -> None:
        async for said in messages:
            await ws.send(msgspec.json.encode(said).decode())

    with rooms.listening(room) as messages:
        telling = asyncio.create_task(tell(messages))
        try:
            async for text in ws:
                try:
                    rooms.say(room, user, str(text))
                except ChatError as error:
                    await ws.close(1008, str(error))
        finally:
            telling.cancel()


# --- gRPC


def as_message(said: Said) -> pb.Message:
    """A message as gRPC sends it."""
    message = pb.Message(room=said.room, user=said.user, text=said.text)
    message.sent_at.FromNanoseconds(int(said.at * 1e9))
    return message


@app.grpc.service("chat.Chat")
class Chat:
    """chat.Chat."""

    async def Join(self, posts: AsyncIterator[pb.Post], context: ServicerContext) -> AsyncIterator[pb.Message]:
        first = await anext(posts, None)
        if first is None or not first.room:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "the first message names the room")
        room, user = first.room, first.user

        async def take() -> None:
            if first.text:
                rooms.say(room, user, first.text)
            async for post in posts:
                rooms.say(room, user, post.text)

        with rooms.listening(room) as messages:
            taking = asyncio.create_task(take())
            # Who has nothing more to say goes on listening; what cannot be taken ends the call.
            listening: asyncio.Future[Any] | None = None
            try:
                while True:
                    listening = listening or asyncio.ensure_future(anext(messages))
                    await asyncio.wait([listening, *([] if taking.done() else [taking])], return_when="FIRST_COMPLETED")
                    if listening.done():
                        yield as_message(listening.result())
                        listening = None
                    elif taking.done() and taking.exception() is not None:
                        await context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(taking.exception()))
            finally:
                taking.cancel()
                if listening is not None:
                    listening.cancel()

    async def History(self, request: pb.HistoryRequest, context: ServicerContext) -> pb.HistoryResponse:
        said = rooms.history(request.room, request.limit)
        return pb.HistoryResponse(messages=[as_message(each) for each in said])
