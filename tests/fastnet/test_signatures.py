from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import pytest

from fastnet.params import Depends, Header, Query
from fastnet.signatures import HandlerError, kind_of, locate, name_of, parameters_of, return_annotation
from fastnet_ext.serve.plan import MISSING

if TYPE_CHECKING:
    from decimal import Decimal


class Here(msgspec.Struct):
    x: int


def names(function: Callable[..., Any]) -> list[str]:
    return [parameter.name for parameter in parameters_of(function)]


async def coroutine(a: int, /, b: Here, *, c: str = "c") -> Here:
    return b


def plain(a: int) -> None: ...


async def stream() -> AsyncIterator[int]:
    yield 1


def generator() -> Iterator[int]:
    yield 1


class Service:
    def __init__(self, name: str, size: int = 1) -> None:
        self.name = name

    async def method(self, here: Here) -> None: ...

    @classmethod
    async def of_class(cls, here: Here) -> None: ...

    @staticmethod
    def static(here: Here) -> None: ...

    async def __call__(self, here: Here) -> Here:
        return here


@dataclass
class Settings:
    name: str
    here: Here


def test_string_annotations_are_resolved() -> None:
    first, second, third = parameters_of(coroutine)
    assert (first.name, first.annotation, first.required, first.by_name) == ("a", int, True, False)
    assert (second.annotation, second.default) == (Here, MISSING)
    assert (third.annotation, third.default, third.by_name) == (str, "c", True)
    assert return_annotation(coroutine) is Here


def test_markers_are_taken_out_of_annotations() -> None:
    def handler(
        a: Annotated[str, Header("x-a")],
        b: Annotated[int, msgspec.Meta(ge=1), Query()] = 2,
        c: str = Header("x-c", default="none"),
        d: Annotated[int, "documentation"] = 1,
        e: Any = Depends(plain),  # noqa: B008 - the form that people know
    ) -> None: ...

    found = {parameter.name: parameter for parameter in parameters_of(handler)}
    assert found["a"].annotation is str
    assert found["a"].marker == Header("x-a")
    assert found["b"].annotation == Annotated[int, msgspec.Meta(ge=1)]
    assert found["b"].default == 2
    assert found["c"].default is MISSING
    assert found["c"].marker == Header("x-c", default="none")
    assert found["d"].marker is None
    assert found["e"].marker == Depends(plain)


def test_two_markers_are_refused() -> None:
    def handler(a: Annotated[str, Header()] = Query()) -> None: ...

    with pytest.raises(HandlerError, match="two markers"):
        parameters_of(handler)


def test_local_names_are_found() -> None:
    class Local(msgspec.Struct):
        y: int

    def handler(local: Local) -> Local:
        return local

    assert parameters_of(handler)[0].annotation is Local
    assert return_annotation(handler) is Local


def make_handler() -> Callable[..., Any]:
    class Hidden(msgspec.Struct):
        z: int

    def handler(hidden: Hidden) -> Hidden:
        return Hidden(hidden.z)

    return handler


def test_names_of_the_closure_are_found() -> None:
    assert parameters_of(make_handler())[0].annotation.__name__ == "Hidden"


def test_a_name_that_exists_for_type_checkers_only_is_refused() -> None:
    def handler(price: Decimal) -> Decimal:
        return price

    with pytest.raises(HandlerError) as caught:
        parameters_of(handler)
    message = str(caught.value)
    assert "handler" in message
    assert f"{__file__}:" in message
    assert "price" in message
    assert "TYPE_CHECKING" in message
    # What it returns is nobody's condition.
    assert return_annotation(handler) is MISSING


@pytest.mark.parametrize(
    "function",
    [
        Service("s").method,
        Service.of_class,
        Service.static,
        Service("s"),
        functools.partial(Service("s")),
        functools.partial(Service("s").method),
    ],
)
def test_methods_and_callable_objects(function: Callable[..., Any]) -> None:
    (parameter,) = parameters_of(function)
    assert (parameter.name, parameter.annotation) == ("here", Here)
    assert __file__ in locate(function)
    assert "Service" in name_of(function)


def test_classes() -> None:
    assert [(each.name, each.annotation) for each in parameters_of(Service)] == [("name", str), ("size", int)]
    assert [(each.name, each.annotation) for each in parameters_of(Settings)] == [("name", str), ("here", Here)]
    assert names(Here) == ["x"]
    assert f"{__file__}:" in locate(Service)
    assert return_annotation(Service) is MISSING


def test_partials_leave_out_what_is_bound() -> None:
    assert names(functools.partial(coroutine, 1)) == ["b", "c"]
    assert names(functools.partial(coroutine, 1, c="x")) == ["b"]
    assert names(functools.partial(functools.partial(coroutine, 1), b=Here(1))) == ["c"]


def wrapping(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def wrapper(*arguments: Any, **named: Any) -> Any:
        return function(*arguments, **named)

    return wrapper


def test_wrapped_functions_show_what_they_wrap() -> None:
    assert names(wrapping(coroutine)) == ["a", "b", "c"]
    assert locate(wrapping(coroutine)) == locate(coroutine)
    assert kind_of(wrapping(coroutine)) == "async"
    assert kind_of(wrapping(stream)) == "asyncgen"
    assert kind_of(wrapping(plain)) == "sync"


def test_variable_arguments_are_refused() -> None:
    def positional(*arguments: int) -> None: ...

    def named(**options: int) -> None: ...

    for function in (positional, named):
        with pytest.raises(HandlerError, match=r"functools\.wraps"):
            parameters_of(function)


def test_kinds() -> None:
    assert kind_of(coroutine) == "async"
    assert kind_of(functools.partial(coroutine, 1)) == "async"
    assert kind_of(plain) == "sync"
    assert kind_of(stream) == "asyncgen"
    assert kind_of(generator) == "gen"
    assert kind_of(Service) == "class"
    assert kind_of(Service("s")) == "async"
    assert kind_of(Service("s").method) == "async"
    assert kind_of(len) == "sync"


def test_what_has_no_signature_is_refused() -> None:
    with pytest.raises(HandlerError, match="cannot be read"):
        parameters_of(dict)
