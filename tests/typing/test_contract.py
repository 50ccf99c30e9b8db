"""What type checkers accept is accepted by the framework too: every decorator of the contract registers."""

import importlib

import pytest

from fastnet import App
from tests.protos import greeter


@pytest.mark.parametrize("name", ["contract", "plain_http"])
def test_what_is_typed_can_be_served(name: str) -> None:
    greeter()
    module = importlib.import_module(f"tests.typing.{name}")
    apps = [value for value in vars(module).values() if isinstance(value, App)]
    assert apps
    for app in apps:
        app.build()


def test_decorators_return_what_they_were_given() -> None:
    greeter()
    module = importlib.import_module("tests.typing.contract")
    assert isinstance(module.Greeter, type)
    for name in ("index", "read_user", "report", "echo", "timing", "lifespan", "say_hello", "read_item", "authorized"):
        function = getattr(module, name)
        assert (function.__module__, function.__qualname__) == (module.__name__, name)
        assert type(function).__name__ == "function"
