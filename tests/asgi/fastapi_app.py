"""A FastAPI application of what such applications use; every answer depends on its request alone."""

from __future__ import annotations

import enum
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

from fastapi import (
    APIRouter,
    BackgroundTasks,
    Cookie,
    Depends,
    FastAPI,
    File,
    Form,
    Header,
    HTTPException,
    Path,
    Query,
    Request,
    Response,
    UploadFile,
    WebSocket,
    WebSocketException,
)
from fastapi.responses import JSONResponse, PlainTextResponse, StreamingResponse
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from pydantic import BaseModel, Field

__all__ = ["make"]


class Kind(enum.StrEnum):
    TOOL = "tool"
    TOY = "toy"


class Item(BaseModel):
    name: str = Field(min_length=1, max_length=40)
    price: float = Field(ge=0, le=1e9)
    kind: Kind = Kind.TOOL
    tags: list[str] = Field(default_factory=list, max_length=5)


class Stored(Item):
    id: int


class Trouble(Exception):
    """Something for an exception handler."""


async def settings(request: Request) -> AsyncIterator[dict[str, Any]]:
    """A dependency with a clean-up."""
    request.app.state.open += 1
    try:
        yield {"greeting": request.state.greeting}
    finally:
        request.app.state.open -= 1


def user(credentials: Annotated[HTTPAuthorizationCredentials, Depends(HTTPBearer())]) -> str:
    if credentials.credentials != "secret":
        raise HTTPException(403, "not you")
    return "somebody"


items = APIRouter(prefix="/items", tags=["items"])


@items.get("/{item_id}")
async def read(
    item_id: Annotated[int, Path(ge=1, le=1000)],
    verbose: bool = False,
    tags: Annotated[list[str] | None, Query(max_length=3)] = None,
    x_token: Annotated[str | None, Header()] = None,
    session: Annotated[str | None, Cookie()] = None,
) -> dict[str, Any]:
    return {"id": item_id, "verbose": verbose, "tags": tags, "token": x_token, "session": session}


@items.post("", status_code=201, responses={409: {"description": "that one is here already"}})
async def create(item: Item, response: Response) -> Stored:
    if item.name == "taken":
        raise HTTPException(409, "that one is here already")
    response.headers["location"] = "/items/7"
    return Stored(id=7, **item.model_dump())


@items.put("/{item_id}/price")
def price(item_id: int, item: Item, factor: Annotated[float, Query(gt=0, le=10)] = 1) -> float:
    """In FastAPI's pool of threads."""
    return round(item.price * factor, 2)


@items.delete("/{item_id}", status_code=204)
async def delete(item_id: Annotated[int, Path(ge=1)]) -> None:
    return None


def make() -> FastAPI:
    """The application."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[dict[str, str]]:
        app.state.open = 0
        app.state.done = []
        yield {"greeting": "from the lifespan"}

    app = FastAPI(title="Everything", lifespan=lifespan)
    app.include_router(items)

    @app.middleware("http")
    async def mark(request: Request, call_next: Any) -> Response:
        response: Response = await call_next(request)
        response.headers["x-marked"] = request.method
        return response

    @app.exception_handler(Trouble)
    async def on_trouble(request: Request, error: Trouble) -> Response:
        return JSONResponse({"trouble": str(error)}, status_code=409)

    @app.get("/greeting")
    async def greeting(found: Annotated[dict[str, Any], Depends(settings)], request: Request) -> dict[str, Any]:
        return {**found, "open": request.app.state.open}

    @app.get("/me", responses={401: {}, 403: {}})
    async def me(name: Annotated[str, Depends(user)]) -> str:
        return name

    @app.get("/thread")
    def thread() -> bool:
        return threading.current_thread() is threading.main_thread()

    @app.get("/trouble", include_in_schema=False)
    async def trouble() -> None:
        raise Trouble("made on purpose")

    @app.get("/broken", include_in_schema=False)
    async def broken() -> None:
        raise LookupError("nobody handles this")

    @app.post("/form")
    async def form(name: Annotated[str, Form(max_length=40)], age: Annotated[int, Form(ge=0)] = 0) -> dict[str, Any]:
        return {"name": name, "age": age}

    @app.post("/upload", include_in_schema=False)
    async def upload(files: Annotated[list[UploadFile], File()], note: Annotated[str, Form()]) -> dict[str, Any]:
        found = [[one.filename, one.content_type, len(await one.read())] for one in files]
        return {"note": note, "files": found}

    @app.get("/later", include_in_schema=False)
    async def later(tasks: BackgroundTasks, request: Request) -> str:
        tasks.add_task(request.app.state.done.append, "one")
        return "soon"

    @app.get("/done", include_in_schema=False)
    async def done(request: Request) -> list[str]:
        found: list[str] = request.app.state.done
        return found

    @app.get("/stream", include_in_schema=False)
    async def stream() -> Response:
        async def lines() -> AsyncIterator[str]:
            for number in range(500):
                yield f"{number}\n"

        return StreamingResponse(lines(), media_type="text/plain")

    @app.get("/links", include_in_schema=False)
    async def links(request: Request) -> list[str]:
        return [str(request.url_for("read", item_id=3)), request.scope["root_path"]]

    @app.websocket("/ws/{room}")
    async def room(ws: WebSocket, room: str, token: Annotated[str | None, Query()] = None) -> None:
        if token != "secret":
            raise WebSocketException(1008, "not you")
        await ws.accept()
        async for message in ws.iter_json():
            await ws.send_json({"room": room, "got": message})

    sub = FastAPI(title="Below")

    @sub.get("/where")
    async def where(request: Request) -> Response:
        return PlainTextResponse(f"{request.scope['root_path']} {request.url}")

    app.mount("/sub", sub)
    return app
