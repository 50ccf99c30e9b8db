"""Listening, serving and stopping: what runs an :class:`~fastnet.app.App`."""

from .config import Config, ConfigError
from .preload import preloaded
from .run import run, supervise_from_the_start, supervises
from .server import Server
from .worker import StartError

__all__ = [
    "Config",
    "ConfigError",
    "Server",
    "StartError",
    "preloaded",
    "run",
    "supervise_from_the_start",
    "supervises",
]
