"""Chat completions as OpenAI's clients write and read them; what is not named here is ignored."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, UnsetType

Count = Annotated[int, msgspec.Meta(ge=1, le=4096)]
StopWord = Annotated[str, msgspec.Meta(min_length=1)]


# --- asked


class Part(msgspec.Struct):
    """A piece of a message; only text is understood."""

    type: Literal["text"]
    text: str


class ChatMessage(msgspec.Struct):
    role: Literal["developer", "system", "user", "assistant", "tool"]
    content: str | list[Part] | None = None

    @property
    def text(self) -> str:
        """The content as one text."""
        if isinstance(self.content, list):
            return "".join(part.text for part in self.content)
        return self.content or ""


class StreamOptions(msgspec.Struct):
    include_usage: bool = False


class ChatRequest(msgspec.Struct):
    model: str
    messages: Annotated[list[ChatMessage], msgspec.Meta(min_length=1)]
    stream: bool | None = False
    stream_options: StreamOptions | None = None
    n: Annotated[int, msgspec.Meta(ge=1, le=8)] | None = None
    stop: StopWord | Annotated[list[StopWord], msgspec.Meta(max_length=4)] | None = None
    max_tokens: Count | None = None
    max_completion_tokens: Count | None = None
    temperature: Annotated[float, msgspec.Meta(ge=0, le=2)] | None = None
    seed: int | None = None


# --- answered


class CompletionUsage(msgspec.Struct):
    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class Answer(msgspec.Struct):
    content: str
    role: str = "assistant"
    refusal: str | None = None


class Choice(msgspec.Struct):
    index: int
    message: Answer
    finish_reason: str
    logprobs: None = None


class Completion(msgspec.Struct):
    id: str
    created: int
    model: str
    choices: list[Choice]
    usage: CompletionUsage
    object: str = "chat.completion"


class Delta(msgspec.Struct, omit_defaults=True):
    role: str | None = None
    content: str | None = None


class ChunkChoice(msgspec.Struct):
    index: int
    delta: Delta
    finish_reason: str | None = None
    logprobs: None = None


class CompletionChunk(msgspec.Struct):
    id: str
    created: int
    model: str
    choices: list[ChunkChoice]
    # null with each chunk but the last where it was asked for, and otherwise not there.
    usage: CompletionUsage | UnsetType | None = UNSET
    object: str = "chat.completion.chunk"


class ModelList(msgspec.Struct):
    data: list[Any]
    object: str = "list"


class ErrorDetails(msgspec.Struct):
    message: str
    type: str
    param: str | None = None
    code: str | None = None


class ErrorBody(msgspec.Struct):
    error: ErrorDetails
