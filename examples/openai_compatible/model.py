"""In place of a language model: generators that make the same text of the same prompt each time."""

from __future__ import annotations

import asyncio
import itertools
import random
import re
from collections.abc import AsyncIterator, Iterator, Sequence

import msgspec

from fastnet.streaming import Token

WORDS = (
    *("the", "server", "streams", "tokens", "slowly", "and", "each", "reader", "has", "its", "turn", "while", "a"),
    *("socket", "waits", "for", "bytes", "that", "never", "come", "back", "from", "distant", "light"),
)


class Model(msgspec.Struct, frozen=True):
    """``delay``: seconds that a token takes."""

    id: str
    delay: float = 0.0
    created: int = 1_767_225_600
    object: str = "model"
    owned_by: str = "fastnet"


MODELS = {
    model.id: model
    for model in (
        Model("echo"),  # says the prompt again
        Model("words", delay=0.03),  # goes on until max_tokens
    )
}


class Sampling(msgspec.Struct, frozen=True):
    """How a text is to be made. ``choice`` numbers those that are made of one prompt."""

    max_tokens: int = 64
    stop: Sequence[str] = ()
    temperature: float = 1.0
    seed: int = 0
    choice: int = 0


def tokens_of(text: str) -> list[str]:
    """A text in pieces: words with the blanks before them."""
    return re.findall(r"\s*\S+|\s+\Z", text)


async def generate(model: Model, prompt: str, sampling: Sampling) -> AsyncIterator[Token]:
    """The tokens, the last with the reason why it is."""
    stop = StopWords(sampling.stop)
    for made, piece in enumerate(_pieces(model, prompt, sampling)):
        if made == sampling.max_tokens:
            yield Token(stop.held, count=0, finish_reason="length")
            return
        await asyncio.sleep(model.delay)
        # Held back or not, the token was made.
        yield Token(stop.feed(piece))
        if stop.found:
            break
    yield Token(stop.held, count=0, finish_reason="stop")


def _pieces(model: Model, prompt: str, sampling: Sampling) -> Iterator[str]:
    if model.id == "echo":
        return iter(tokens_of(prompt))
    # At 0 all choices are the same; the higher, the more words there are to choose from.
    known = WORDS[: 4 + round(10 * sampling.temperature)]
    choice = sampling.choice if sampling.temperature else 0
    made = random.Random(f"{sampling.seed}/{choice}/{prompt}")
    return (("" if n == 0 else " ") + made.choice(known) for n in itertools.count())


class StopWords:
    """Passes text on until one of these words comes in it; holds back what may be the beginning of one."""

    def __init__(self, words: Sequence[str]) -> None:
        self._words = words
        self.held = ""
        self.found = False

    def feed(self, text: str) -> str:
        """What can be passed on now."""
        text, self.held = self.held + text, ""
        places = [place for word in self._words if (place := text.find(word)) >= 0]
        if places:
            self.found = True
            return text[: min(places)]
        keep = max((_overlap(text, word) for word in self._words), default=0)
        self.held = text[len(text) - keep :]
        return text[: len(text) - keep]


def _overlap(text: str, word: str) -> int:
    """How many characters at the end of ``text`` are the beginning of ``word``."""
    return next((n for n in range(min(len(text), len(word) - 1), 0, -1) if text.endswith(word[:n])), 0)
