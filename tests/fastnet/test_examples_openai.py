"""The service for OpenAI's clients: with the official client, unchanged, and with its page in a browser."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import msgspec
import openai
import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types.chat import ChatCompletionChunk

from examples.openai_compatible import service
from examples.openai_compatible.model import MODELS, Model, Sampling, StopWords, generate, tokens_of
from fastnet.streaming import Token
from fastnet_ext.sse.parser import EventParser
from tests.browser import browsing
from tests.loops import run
from tests.wire.live import WAIT, Live, live, until

KEY = "sk-fastnet"
SAID: Any = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "one two three four five"}]


@pytest.fixture(scope="module")
def server() -> Iterator[Live]:
    with live(service.app, keeps=True) as server:
        yield server


@pytest.fixture
def client(server: Live) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"http://127.0.0.1:{server.port}/v1", api_key=KEY, max_retries=0, timeout=WAIT) as made:
        yield made


def text_of(chunks: list[ChatCompletionChunk], index: int = 0) -> str:
    choices = [choice for chunk in chunks for choice in chunk.choices if choice.index == index]
    return "".join(choice.delta.content or "" for choice in choices)


def reasons(chunks: list[ChatCompletionChunk]) -> list[tuple[int, str]]:
    choices = [choice for chunk in chunks for choice in chunk.choices]
    return sorted((choice.index, choice.finish_reason) for choice in choices if choice.finish_reason is not None)


# --- whole


def test_models(client: openai.OpenAI) -> None:
    assert [model.id for model in client.models.list()] == ["echo", "words"]
    assert client.models.retrieve("words").owned_by == "fastnet"
    with pytest.raises(openai.NotFoundError) as caught:
        client.models.retrieve("none")
    assert (caught.value.code, caught.value.param) == ("model_not_found", "model")


def test_a_completion(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(model="echo", messages=SAID)
    (choice,) = answer.choices
    assert (choice.message.content, choice.message.role) == ("one two three four five", "assistant")
    assert (choice.finish_reason, answer.object, answer.model) == ("stop", "chat.completion", "echo")
    assert answer.id.startswith("chatcmpl-")
    assert answer.usage is not None
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens, answer.usage.total_tokens) == (7, 5, 12)


@pytest.mark.parametrize(
    ("options", "text", "reason"),
    [
        ({"max_tokens": 2}, "one two", "length"),
        ({"max_completion_tokens": 3}, "one two three", "length"),
        ({"max_tokens": 5}, "one two three four five", "stop"),
        ({"stop": "three"}, "one two ", "stop"),
        ({"stop": ["five", " two th"]}, "one", "stop"),
        ({"stop": "five six"}, "one two three four five", "stop"),
        ({"stop": ["four"], "max_tokens": 2}, "one two", "length"),
        ({"temperature": 0, "top_p": 0.5, "user": "somebody"}, "one two three four five", "stop"),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_how_a_text_ends(client: openai.OpenAI, options: dict[str, Any], text: str, reason: str, stream: bool) -> None:
    if stream:
        chunks = list(client.chat.completions.create(model="echo", messages=SAID, stream=True, **options))
        assert (text_of(chunks), reasons(chunks)) == (text, [(0, reason)])
    else:
        answer = client.chat.completions.create(model="echo", messages=SAID, **options)
        assert (answer.choices[0].message.content, answer.choices[0].finish_reason) == (text, reason)


def test_several_choices(client: openai.OpenAI) -> None:
    def texts(**options: Any) -> list[str | None]:
        answer = client.chat.completions.create(model="words", messages=SAID, n=3, max_tokens=6, **options)
        assert answer.usage is not None
        assert answer.usage.completion_tokens == 18
        assert [choice.index for choice in answer.choices] == [0, 1, 2]
        return [choice.message.content for choice in answer.choices]

    assert len(set(texts())) == 3
    assert texts() == texts()
    assert texts(seed=1) != texts(seed=2)
    assert len(set(texts(temperature=0))) == 1


def test_content_in_parts(client: openai.OpenAI) -> None:
    said: Any = [{"role": "user", "content": [{"type": "text", "text": "one "}, {"type": "text", "text": "two"}]}]
    answer = client.chat.completions.create(model="echo", messages=said)
    assert answer.choices[0].message.content == "one two"


# --- streamed


def test_a_stream(client: openai.OpenAI) -> None:
    chunks = list(client.chat.completions.create(model="echo", messages=SAID, stream=True))
    assert chunks[0].choices[0].delta.role == "assistant"
    assert text_of(chunks) == "one two three four five"
    # Each token as it comes.
    assert sum(bool(choice.delta.content) for chunk in chunks for choice in chunk.choices) == 5
    assert reasons(chunks) == [(0, "stop")]
    assert len({chunk.id for chunk in chunks}) == 1
    assert all(chunk.usage is None for chunk in chunks)


def test_a_stream_with_usage(client: openai.OpenAI) -> None:
    options: Any = {"stream_options": {"include_usage": True}}
    *chunks, last = client.chat.completions.create(model="echo", messages=SAID, stream=True, n=2, **options)
    assert [text_of(chunks, index) for index in range(2)] == ["one two three four five"] * 2
    assert reasons(chunks) == [(0, "stop"), (1, "stop")]
    assert last.choices == []
    assert last.usage is not None
    assert (last.usage.prompt_tokens, last.usage.completion_tokens, last.usage.total_tokens) == (7, 10, 17)


def test_the_events_themselves(server: Live) -> None:
    body = msgspec.json.encode({"model": "echo", "messages": SAID, "stream": True})
    with server.peer() as peer:
        answer = peer.post(
            "/v1/chat/completions", body, f"authorization: Bearer {KEY}", "content-type: application/json"
        ).answer()
    assert answer["content-type"] == "text/event-stream"
    events = EventParser().feed(answer.body)
    assert {event.event for event in events} == {"message"}
    assert events[-1].data == "[DONE]"
    first = msgspec.json.decode(events[0].data)
    assert first["object"] == "chat.completion.chunk"
    assert "usage" not in first


def test_the_asynchronous_client(server: Live) -> None:
    async def main() -> None:
        url = f"http://127.0.0.1:{server.port}/v1"
        async with openai.AsyncOpenAI(base_url=url, api_key=KEY, max_retries=0, timeout=WAIT) as client:
            answer = await client.chat.completions.create(model="echo", messages=SAID)
            assert answer.choices[0].message.content == "one two three four five"
            stream = await client.chat.completions.create(model="words", messages=SAID, stream=True, max_tokens=5)
            chunks = [chunk async for chunk in stream]
            assert len(tokens_of(text_of(chunks))) == 5
            assert reasons(chunks) == [(0, "length")]
            assert [model.id async for model in client.models.list()] == ["echo", "words"]

            async def one(number: int) -> str:
                said: Any = [{"role": "user", "content": f"this is number {number}"}]
                stream = await client.chat.completions.create(model="echo", messages=said, stream=True)
                return text_of([chunk async for chunk in stream])

            assert await asyncio.gather(*map(one, range(20))) == [f"this is number {n}" for n in range(20)]

    run(main())


class Watched:
    """The generators that run, and those that were closed."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.begun = self.closed = 0
        monkeypatch.setattr(service, "generate", self.generate)

    async def generate(self, model: Model, prompt: str, sampling: Sampling) -> AsyncIterator[Token]:
        self.begun += 1
        try:
            async for token in generate(model, prompt, sampling):
                yield token
        finally:
            self.closed += 1


def test_who_leaves_in_mid_stream_cancels_the_generator(
    server: Live, client: openai.OpenAI, monkeypatch: pytest.MonkeyPatch
) -> None:
    watched = Watched(monkeypatch)
    stream = client.chat.completions.create(model="words", messages=SAID, stream=True, max_tokens=4096, n=2)
    for chunk in stream:
        if chunk.choices[0].delta.content:
            break
    assert (watched.begun, watched.closed) == (2, 0)
    stream.close()
    until(lambda: watched.closed == 2)
    until(lambda: server.counters["requests_active"] == 0)


def test_who_leaves_the_asynchronous_client_does_too(server: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    watched = Watched(monkeypatch)

    async def main() -> None:
        url = f"http://127.0.0.1:{server.port}/v1"
        async with openai.AsyncOpenAI(base_url=url, api_key=KEY, max_retries=0, timeout=WAIT) as client:
            stream = await client.chat.completions.create(model="words", messages=SAID, stream=True, max_tokens=4096)
            async with stream:
                async for chunk in stream:
                    if chunk.choices[0].delta.content:
                        break
            # One that is not streamed is cancelled as well.
            whole = asyncio.ensure_future(client.chat.completions.create(model="words", messages=SAID, max_tokens=4096))
            await asyncio.to_thread(until, lambda: watched.begun == 2)
            whole.cancel()
            await asyncio.wait((whole,))

    run(main())
    until(lambda: watched.closed == 2)
    until(lambda: server.counters["requests_active"] == 0)


# --- errors


@pytest.mark.parametrize(
    ("options", "param"),
    [
        ({"temperature": 3}, "temperature"),
        ({"n": 0}, "n"),
        ({"n": 9}, "n"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "nobody", "content": ""}]}, "messages.0.role"),
        ({"stop": ["a", "b", "c", "d", "e"]}, "stop"),
        ({"stop": ""}, "stop"),
    ],
)
def test_values_that_cannot_be(client: openai.OpenAI, options: dict[str, Any], param: str) -> None:
    asked: Any = {"model": "echo", "messages": SAID, **options}
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(**asked)
    assert (caught.value.status_code, caught.value.type) == (400, "invalid_request_error")
    assert caught.value.param == param
    assert param in caught.value.message


def test_other_errors(server: Live, client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as caught:
        client.chat.completions.create(model="none", messages=SAID, stream=True)
    assert (caught.value.code, caught.value.type) == ("model_not_found", "invalid_request_error")
    with pytest.raises(openai.NotFoundError) as missing:
        client.embeddings.create(model="echo", input="text")
    assert missing.value.type == "invalid_request_error"
    with pytest.raises(openai.AuthenticationError) as refused:
        client.with_options(api_key="sk-other").models.list()
    assert refused.value.code == "invalid_api_key"
    assert refused.value.response.headers["www-authenticate"] == "Bearer"
    with server.peer() as peer:
        answer = peer.post("/v1/chat/completions", b"{", f"authorization: Bearer {KEY}").answer()
        assert answer.status == 400
        assert msgspec.json.decode(answer.body)["error"]["type"] == "invalid_request_error"
        # Who is no client of theirs has errors as everywhere.
        assert peer.get("/nowhere").answer()["content-type"] == "application/problem+json"


@pytest.mark.parametrize("stream", [False, True])
def test_a_model_that_fails(
    client: openai.OpenAI, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, stream: bool
) -> None:
    async def fails(model: Model, prompt: str, sampling: Sampling) -> AsyncIterator[Token]:
        yield Token("one")
        raise RuntimeError("secret")

    monkeypatch.setattr(service, "generate", fails)
    with pytest.raises(openai.APIError) as caught:
        list(client.chat.completions.create(model="echo", messages=SAID, stream=stream))
    assert "secret" not in str(caught.value)
    assert caught.value.type == "server_error"
    assert isinstance(caught.value, openai.InternalServerError) is not stream
    assert "RuntimeError: secret" in caplog.text


# --- the toy


@given(st.text("ab "), st.lists(st.text("ab ", min_size=1, max_size=4), max_size=3), st.integers(1, 5))
def test_stop_words(text: str, words: list[str], size: int) -> None:
    """Whatever the pieces, what is passed on ends before the first of the words."""
    stop, passed = StopWords(words), ""
    for start in range(0, len(text), size):
        passed += stop.feed(text[start : start + size])
        if stop.found:
            break
    found = [place for word in words if (place := text.find(word)) >= 0]
    assert stop.found == bool(found)
    if not found:
        assert passed + stop.held == text
    else:
        # Several words may end in one piece; the one that begins first in what was there counts.
        assert all(word not in passed for word in words)
        assert text.startswith(passed)


@given(st.text())
def test_tokens_are_the_text(text: str) -> None:
    assert "".join(tokens_of(text)) == text


def test_the_models_are_deterministic() -> None:
    async def main() -> None:
        for model in MODELS.values():
            quick = Model(model.id)
            sampling = Sampling(max_tokens=20)
            first, second = [[token async for token in generate(quick, "a b", sampling)] for _ in range(2)]
            assert first == second
            assert sum(token.count for token in first) == (2 if model.id == "echo" else 20)

    run(main())


# --- the page


def test_two_generations_at_a_time_in_one_page(server: Live, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    watched = Watched(monkeypatch)
    with browsing(tmp_path) as browser:
        tab = browser.open(f"http://127.0.0.1:{server.port}/")
        tab.until("document.querySelector('#connection').textContent.startsWith('connected')")
        upgrades = server.counters["upgrades"]
        text = "document.querySelectorAll('.text')[{}].textContent"
        status = "document.querySelectorAll('.status')[{}].textContent"
        for pane in (0, 1):
            tab.evaluate(f"document.querySelectorAll('.start')[{pane}].click()")
        for pane in (0, 1):
            tab.until(f"{text.format(pane)}.split(' ').length > 5")
        # Both run; one is cancelled, and the other goes on to its end.
        tab.evaluate("document.querySelectorAll('.cancel')[0].click()")
        tab.until(f"{status.format(0)}.startsWith('cancelled')")
        assert (watched.begun, watched.closed) == (2, 1)
        cancelled = tab.evaluate(text.format(0))
        tab.until(f"{status.format(1)}.startsWith('length: 200 tokens, the first after')")
        assert len(tab.evaluate(text.format(1)).split(" ")) == 200
        assert tab.evaluate(text.format(0)) == cancelled
        assert server.counters["upgrades"] == upgrades
        # A pane can be used again, and shows what the server refuses.
        tab.evaluate("""
            const input = document.querySelectorAll("input")[1];
            input.removeAttribute("maxlength");
            input.value = "x".repeat(1001);
            document.querySelectorAll(".start")[1].click();
        """)
        tab.until(f"{status.format(1)}.includes('length <= 1000')")
        tab.evaluate("document.querySelectorAll('.start')[0].click()")
        tab.until(f"{text.format(0)}.length > 0")
        assert (watched.begun, watched.closed) == (3, 2)
        # Who closes the page ends what runs there.
        tab.close()
        until(lambda: watched.closed == 3)
