"""The ``fastnet`` command."""

from .main import main

__all__ = ["main"]
