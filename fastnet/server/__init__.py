"""Listening, serving and stopping: what runs an :class:`~fastnet.app.App`."""

from .config import Config, ConfigError
from .run import run
from .server import Server

__all__ = ["Config", "ConfigError", "Server", "run"]
