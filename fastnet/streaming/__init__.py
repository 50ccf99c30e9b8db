"""Streams of text that comes token by token, from a language model for example: one, or many at a time by id."""

from fastnet.streaming.messages import Cancel, Chunk, End, Failure, Message, Start, Started, Usage
from fastnet.streaming.multiplex import StreamRefused, TokenStreams
from fastnet.streaming.sources import Clock, SourceCancelled, Token
from fastnet.streaming.tokens import TokenStream

__all__ = [
    "Cancel",
    "Chunk",
    "Clock",
    "End",
    "Failure",
    "Message",
    "SourceCancelled",
    "Start",
    "Started",
    "StreamRefused",
    "Token",
    "TokenStream",
    "TokenStreams",
    "Usage",
]
