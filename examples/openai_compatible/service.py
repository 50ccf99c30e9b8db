"""Chat completions for OpenAI's clients, and for a page: ``fastnet run examples.openai_compatible.service:app``.

    client = openai.OpenAI(base_url="http://localhost:8000/v1", api_key="sk-fastnet")
    client.chat.completions.create(model="words", messages=[{"role": "user", "content": "Hello"}], stream=True)

The page at ``/`` has the same models over one WebSocket, two generations at a time.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Annotated, Any

import msgspec

from examples.openai_compatible.model import MODELS, Model, Sampling, generate, tokens_of
from examples.openai_compatible.wire import (
    Answer,
    ChatRequest,
    Choice,
    ChunkChoice,
    Completion,
    CompletionChunk,
    CompletionUsage,
    Delta,
    ErrorBody,
    ErrorDetails,
    ModelList,
)
from fastnet import (
    App,
    CallNext,
    Depends,
    EventStream,
    Header,
    HTMLResponse,
    HTTPException,
    JSONResponse,
    Request,
    Response,
    Router,
    WebSocket,
)
from fastnet.streaming import Chunk, End, Failure, Started, Token, TokenStreams, Usage

KEYS = {"sk-fastnet"}
PAGE = (Path(__file__).parent / "index.html").read_text(encoding="utf-8")


async def authorized(authorization: Annotated[str, Header()] = "") -> None:
    """Refuse who has no key of ours."""
    scheme, _, key = authorization.partition(" ")
    if scheme.lower() != "bearer" or key.strip() not in KEYS:
        raise HTTPException(
            401,
            "you need a key: Authorization: Bearer sk-fastnet",
            {"www-authenticate": "Bearer"},
            code="invalid_api_key",
        )


app = App(title="OpenAI-compatible")
api = Router(dependencies=[Depends(authorized)])


# --- what clients ask for


@api.get("/models")
async def models() -> ModelList:
    """All there are."""
    return ModelList(list(MODELS.values()))


@api.get("/models/{id}")
async def model(id: str) -> Model:
    """One of them."""
    return model_of(id)


@api.post("/chat/completions", cancel_on_disconnect=True)
async def chat(asked: ChatRequest) -> Completion | EventStream:
    """One text or several, at once or token by token."""
    model, streams = model_of(asked.model), TokenStreams(limit=8)
    prompt = "\n".join(message.text for message in asked.messages)
    for index in range(asked.n or 1):
        # Its last message is what is answered; the number of the choice is the stream's id.
        streams.start(str(index), generate(model, asked.messages[-1].text, sampling_of(asked, index)))
    answer = Completion(
        id=f"chatcmpl-{secrets.token_hex(12)}",
        created=int(time.time()),
        model=model.id,
        choices=[],
        usage=CompletionUsage(len(tokens_of(prompt)), 0, 0),
    )
    if asked.stream:
        include_usage = asked.stream_options is not None and asked.stream_options.include_usage
        return EventStream(chunks(answer, streams, include_usage=include_usage))
    return await whole(answer, streams)


def model_of(id: str) -> Model:
    """Raises the 404 that clients expect."""
    if id not in MODELS:
        raise HTTPException(404, f"there is no model {id!r}", param="model", code="model_not_found")
    return MODELS[id]


def sampling_of(asked: ChatRequest, choice: int) -> Sampling:
    """What was asked for, or the defaults."""
    default = Sampling()
    return Sampling(
        max_tokens=asked.max_completion_tokens or asked.max_tokens or default.max_tokens,
        stop=[asked.stop] if isinstance(asked.stop, str) else asked.stop or (),
        temperature=default.temperature if asked.temperature is None else asked.temperature,
        seed=asked.seed or 0,
        choice=choice,
    )


# --- from the streams' messages to answers


async def whole(answer: Completion, streams: TokenStreams) -> Completion:
    """Everything at once."""
    texts: dict[str | None, list[str]] = {}
    async for message in streams.messages():
        if isinstance(message, Chunk):
            texts.setdefault(message.id, []).append(message.text)
        elif isinstance(message, Usage):
            answer.usage.completion_tokens += message.tokens
        elif isinstance(message, End):
            text = "".join(texts.get(message.id, ()))
            answer.choices.append(Choice(int(message.id or 0), Answer(text), message.reason))
        elif isinstance(message, Failure):
            raise HTTPException(message.problem["status"], message.problem.get("detail"))
    answer.choices.sort(key=lambda choice: choice.index)
    answer.usage.total_tokens = answer.usage.prompt_tokens + answer.usage.completion_tokens
    return answer


async def chunks(answer: Completion, streams: TokenStreams, *, include_usage: bool) -> AsyncIterator[Any]:
    """One event for each piece of each choice, as they come, and what their clients wait for in the end."""
    no_usage = None if include_usage else msgspec.UNSET

    def chunk(id: str | None, delta: Delta, finish_reason: str | None = None) -> CompletionChunk:
        choice = ChunkChoice(int(id or 0), delta, finish_reason)
        return CompletionChunk(answer.id, answer.created, answer.model, [choice], no_usage)

    async with streams:
        async for message in streams.messages():
            if isinstance(message, Started):
                yield chunk(message.id, Delta(role="assistant", content=""))
            elif isinstance(message, Chunk):
                yield chunk(message.id, Delta(content=message.text))
            elif isinstance(message, Usage):
                answer.usage.completion_tokens += message.tokens
            elif isinstance(message, End):
                yield chunk(message.id, Delta(), message.reason)
            elif isinstance(message, Failure):
                # The head has left with its 200: the error is an event.
                yield error_of(message.problem)
                return
        if include_usage:
            answer.usage.total_tokens = answer.usage.prompt_tokens + answer.usage.completion_tokens
            yield CompletionChunk(answer.id, answer.created, answer.model, [], answer.usage)
        yield "[DONE]"


# --- errors


@app.middleware
async def openai_errors(request: Request, call_next: CallNext) -> Response:
    """Problem details, whoever made them, in the form that these clients read."""
    response = await call_next(request)
    if response.media_type != "application/problem+json" or not request.path.startswith("/v1/"):
        return response
    problem = msgspec.json.decode(response.body or b"{}")
    # What other frameworks and ours call 422 is a 400 there.
    status = 400 if response.status_code == 422 else response.status_code
    told = JSONResponse(error_of(problem), status)
    for name in ("www-authenticate", "retry-after", "allow"):
        if name in response.headers:
            told.headers[name] = response.headers[name]
    return told


def error_of(problem: dict[str, Any]) -> ErrorBody:
    """A problem in OpenAI's form."""
    detail, param = problem.get("detail") or problem["title"], problem.get("param")
    for failure in problem.get("errors", ())[:1]:
        param = ".".join(str(part) for part in failure["loc"] if part != "body") or None
        detail = f"{param}: {failure['msg']}" if param else failure["msg"]
    kind = "server_error" if problem["status"] >= 500 else "invalid_request_error"
    return ErrorBody(ErrorDetails(str(detail), kind, param, problem.get("code")))


# --- the page


class Prompt(msgspec.Struct):
    """What the page sends to start a generation."""

    prompt: Annotated[str, msgspec.Meta(min_length=1, max_length=1000)]
    model: str = "words"
    max_tokens: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 200


def answer_to(asked: Prompt) -> AsyncIterator[Token]:
    """The source of a stream that the page has started."""
    return generate(model_of(asked.model), asked.prompt, Sampling(max_tokens=asked.max_tokens))


@app.get("/", inline=True)
def index() -> HTMLResponse:
    """The page."""
    return HTMLResponse(PAGE)


@app.websocket("/generate", max_message=16 * 1024)
async def generations(ws: WebSocket) -> None:
    """All that one page asks for. It needs no key: other sites' pages are refused by their origin."""
    await TokenStreams(limit=4).serve(ws, answer_to, Prompt)


app.include(api, "/v1")

if __name__ == "__main__":
    app.run(port=8000)
