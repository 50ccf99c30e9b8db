import collections.abc
import dataclasses
import datetime
import decimal
import enum
import uuid
from collections.abc import Callable
from typing import Annotated, Any, Literal, NamedTuple, NewType, Optional, TypedDict, Union

import msgspec
import pydantic
import pytest

from fastnet.arguments import Context, argument_for, is_body
from fastnet.params import Body, Cookie, Header, Path, Query
from fastnet.signatures import HandlerError, parameters_of
from fastnet_ext.exchange.memory import MemoryExchange
from fastnet_ext.exchange.request import Call, Request
from fastnet_ext.exchange.values import State
from fastnet_ext.serve.errors import ArgumentError, MalformedBody
from fastnet_ext.serve.plan import AppArgument, Argument


class Color(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


class Word(enum.StrEnum):
    A = "a"


class User(msgspec.Struct):
    name: str


class Tagged(msgspec.Struct, tag=True):
    x: int


@dataclasses.dataclass
class Point:
    x: int
    y: int = 0


class Place(TypedDict):
    city: str


class Pair(NamedTuple):
    a: int
    b: int


class Model(pydantic.BaseModel):
    size: int


class Foreign:
    """A type that nobody knows how to make."""

    def __init__(self, text: str) -> None:
        self.text = text


UserId = NewType("UserId", int)


def dec_hook(type: type, value: Any) -> Any:
    if type is Foreign:
        if value == "bad":
            raise ValueError("is bad")
        return Foreign(value)
    raise NotImplementedError


def argument(annotation: Any, default: Any = ..., **context: Any) -> Argument:
    """The argument of a parameter `p` annotated so."""

    def required(p: annotation) -> None: ...

    def optional(p: annotation = default) -> None: ...

    function = required if default is ... else optional
    context = {"methods": ("POST",), **context}
    return argument_for(function, parameters_of(function)[0], Context(**context))


def location(annotation: Any, **context: Any) -> str:
    return argument(annotation, **context).location


def from_query(annotation: Any, query: str, **context: Any) -> Any:
    return argument(annotation, **context).value(MemoryExchange("GET", "/?" + query))


def from_path(annotation: Any, raw: str, **context: Any) -> Any:
    return argument(annotation, path_params=("p",), **context).value(MemoryExchange("GET", "/", params=[raw]))


def from_body(annotation: Any, body: bytes, **context: Any) -> Any:
    return argument(annotation, **context).value(MemoryExchange("POST", "/", [], body))


def message(call: Callable[[], Any]) -> str:
    with pytest.raises(ArgumentError) as caught:
        call()
    return "; ".join(f"{'.'.join(map(str, at))} {text}".strip() for at, text, _ in caught.value.failures)


# --- where values come from


@pytest.mark.parametrize(
    "annotation",
    [
        str,
        int,
        float,
        bool,
        Color,
        Level,
        Word,
        datetime.date,
        datetime.datetime,
        datetime.time,
        datetime.timedelta,
        uuid.UUID,
        decimal.Decimal,
        UserId,
        Literal["a", 1],
        int | None,
        Optional[str],  # noqa: UP045
        Union[int, str],  # noqa: UP007
        int | str | None,
        Annotated[int, msgspec.Meta(ge=1)],
        Annotated[int, "documentation"] | None,
        list[int],
        list[Color] | None,
        set[str],
        frozenset[int],
        tuple[int, ...],
        tuple[int, str],
        collections.abc.Sequence[int],
        list[int | None],
    ],
)
def test_texts_come_from_the_query(annotation: Any) -> None:
    assert location(annotation) == "query"
    assert not is_body(annotation)


@pytest.mark.parametrize(
    "annotation",
    [
        User,
        User | None,
        Point,
        Place,
        Pair,
        Model,
        dict,
        dict[str, int],
        collections.abc.Mapping[str, int],
        list,
        list[User],
        list[Model],
        list[dict[str, int]],
        list[list[int]],
        list[Any],
        list[int | User],
        User | int,
        Tagged | User,
        set[Tagged],
        tuple[User, int],
        Annotated[User, "documentation"],
    ],
)
def test_structures_come_from_the_body(annotation: Any) -> None:
    assert is_body(annotation)
    if annotation != set[Tagged] and annotation != Tagged | User:
        assert location(annotation) == "body"


def test_bytes_are_the_body_as_it_came() -> None:
    assert location(bytes) == "body"
    assert from_body(bytes, b"\xff") == b"\xff"


def test_names_in_the_path_are_path_parameters() -> None:
    assert location(str, path_params=("x", "p")) == "path"
    assert location(int | None, path_params=("p",)) == "path"


def test_markers_say_otherwise() -> None:
    assert location(Annotated[str, Header()]) == "header"
    assert location(Annotated[list[str], Cookie()]) == "cookie"
    assert location(Annotated[int, Body()]) == "body"
    assert location(Annotated[int, Query()], path_params=("p",)) == "query"
    assert location(Annotated[int, Path("x")], path_params=("x",)) == "path"


def test_objects_are_known_by_their_type() -> None:
    exchange = MemoryExchange()
    assert isinstance(argument(Request).value(exchange), Request)
    assert isinstance(argument(Request[Any]).value(exchange), Request)
    assert isinstance(argument(Call).value(exchange), Request)
    assert isinstance(argument(State).value(exchange), State)
    assert location(Foreign, providers={Foreign: lambda name, annotation: AppArgument(name)}) == "app"


def test_a_provider_serves_subclasses_and_generic_types() -> None:
    seen: list[Any] = []

    def provider(name: str, annotation: Any) -> Argument:
        seen.append(annotation)
        return AppArgument(name)

    class Derived(Foreign):
        pass

    for annotation in (Derived, Derived | None):
        argument(annotation, providers={Foreign: provider})
    assert seen == [Derived, Derived | None]


def test_parameters_without_annotation() -> None:
    def handler(id, request, size=5): ...  # type: ignore[no-untyped-def]

    context = Context(path_params=("id",))
    found = [argument_for(handler, parameter, context) for parameter in parameters_of(handler)]
    exchange = MemoryExchange("GET", "/?size=7", params=["a"])
    assert found[0].value(exchange) == "a"
    assert isinstance(found[1].value(exchange), Request)
    assert found[2].value(exchange) == 7


# --- what cannot be filled


@pytest.mark.parametrize(
    ("annotation", "context", "reason"),
    [
        (object, {}, "Depends"),
        (Any, {}, "Depends"),
        (Foreign, {}, "Depends"),
        (Foreign, {"path_params": ("p",)}, "Foreign"),
        (Annotated[Foreign, Query()], {}, "Foreign"),
        (Callable[[], int], {}, "Depends"),
        (User, {"methods": ("GET",)}, "GET does not have"),
        (User, {"methods": ("POST", "HEAD")}, "HEAD does not have"),
        (bytes, {"methods": ("GET",)}, "body"),
        (User, {"path_params": ("p",)}, "path parameter"),
        (list[int], {"path_params": ("p",)}, "not a list"),
        (Annotated[User, Query()], {}, "query parameter"),
        (Annotated[User, Header()], {}, "header parameter"),
        (Annotated[int, Path()], {"path_params": ("x",)}, r"no parameter 'p' \(it has x\)"),
        (Annotated[int, Path("y")], {}, r"no parameter 'y' \(it has none\)"),
        (Annotated[str, Query(ge=1)], {}, "str"),
        (Annotated[str, Query(pattern="(")], {}, "unterminated"),
        (Annotated[str, Query(min_length=-1)], {}, "min_length"),
        (User | Point, {}, "more than one"),
        (Literal[1.5], {}, "Literal"),
    ],
)
def test_parameters_that_cannot_be_filled_are_refused(annotation: Any, context: dict[str, Any], reason: str) -> None:
    with pytest.raises(HandlerError, match=reason) as caught:
        argument(annotation, **context)
    assert f"required ({__file__}:" in str(caught.value).replace("argument.<locals>.", "")


def test_a_parameter_that_nothing_is_known_of_is_refused() -> None:
    def handler(thing): ...  # type: ignore[no-untyped-def]

    with pytest.raises(HandlerError, match="annotate it"):
        argument_for(handler, parameters_of(handler)[0], Context())


# --- how texts convert


@pytest.mark.parametrize(
    ("annotation", "text", "value"),
    [
        (Color, "red", Color.RED),
        (Level, "2", Level.HIGH),
        (Word, "a", Word.A),
        (datetime.date, "2026-02-28", datetime.date(2026, 2, 28)),
        (datetime.datetime, "2026-02-28T01:02:03Z", datetime.datetime(2026, 2, 28, 1, 2, 3, tzinfo=datetime.UTC)),
        (uuid.UUID, "12345678-1234-5678-1234-567812345678", uuid.UUID("12345678-1234-5678-1234-567812345678")),
        (decimal.Decimal, "1.10", decimal.Decimal("1.10")),
        (datetime.timedelta, "PT1M", datetime.timedelta(minutes=1)),
        (Literal["a", 1], "1", 1),
        (UserId, "5", 5),
        (int | None, "5", 5),
        (str | None, "null", "null"),
        (int | str, "5x", "5x"),
        (bool | None, "YES", True),
        (Annotated[int, msgspec.Meta(ge=1)], "5", 5),
        (Annotated[bool, msgspec.Meta(title="t")], "on", True),
    ],
)
def test_texts_convert(annotation: Any, text: str, value: Any) -> None:
    for made in (from_query(annotation, "p=" + text), from_path(annotation, text)):
        assert made == value
        assert type(made) is type(value)


@pytest.mark.parametrize(
    ("annotation", "text", "wanted"),
    [
        (Color, "green", "Invalid enum value 'green'; expected one of 'red', 'blue'"),
        (Literal["a", "b"], "c", "Invalid enum value 'c'; expected one of 'a', 'b'"),
        (datetime.date, "tomorrow", "Invalid RFC3339 encoded date"),
        (uuid.UUID, "x", "Invalid UUID"),
        (int | None, "null", "Expected `int`"),
        (datetime.date | None, "null", "Invalid RFC3339 encoded date"),
        (Annotated[int, msgspec.Meta(ge=1)], "0", "Expected `int` >= 1"),
        (Annotated[int, Query(le=5)], "6", "Expected `int` <= 5"),
        (Annotated[int, Query(gt=1, lt=3)], "3", "Expected `int` <= 2"),
        (Annotated[int | None, Query(le=5)], "6", "Expected `int` <= 5"),
        (Annotated[str, Query(min_length=2)], "a", "Expected `str` of length >= 2"),
        (Annotated[str, Query(pattern="^x")], "a", "Expected `str` matching regex '^x'"),
    ],
)
def test_what_does_not_convert_says_what_was_wanted(annotation: Any, text: str, wanted: str) -> None:
    assert message(lambda: from_query(annotation, "p=" + text)) == wanted


def test_collections() -> None:
    query = "p=2&p=1&p=2"
    assert from_query(list[int], query) == [2, 1, 2]
    assert from_query(set[int], query) == {1, 2}
    assert from_query(frozenset[int], query) == frozenset({1, 2})
    assert from_query(tuple[int, ...], query) == (2, 1, 2)
    assert from_query(tuple[int, str, int], query) == (2, "1", 2)
    assert from_query(collections.abc.Sequence[str], query) == ["2", "1", "2"]
    assert from_query(list[int] | None, query) == [2, 1, 2]
    assert from_query(list[Color], "p=red") == [Color.RED]
    assert message(lambda: from_query(list[Color], "p=red&p=x")).startswith("1 Invalid enum value 'x'")
    assert message(lambda: from_query(tuple[int, int], query)) == "Expected `array` of length 2, got 3"
    assert (
        message(lambda: from_query(Annotated[list[int], Query(max_length=2)], query))
        == "Expected `array` of length <= 2"
    )
    assert from_query(Annotated[list[int], Query(max_length=3)], query) == [2, 1, 2]
    assert from_query(list[Annotated[int, msgspec.Meta(le=2)]], query) == [2, 1, 2]
    assert message(lambda: from_query(list[Annotated[int, msgspec.Meta(le=1)]], query)) == (
        "0 Expected `int` <= 1; 2 Expected `int` <= 1"
    )


def test_foreign_types_convert_by_the_hook() -> None:
    assert from_query(Foreign, "p=a", dec_hook=dec_hook).text == "a"
    assert from_path(Foreign, "a", dec_hook=dec_hook).text == "a"
    assert message(lambda: from_query(Foreign, "p=bad", dec_hook=dec_hook)) == "is bad"


def test_types_of_pydantic_convert_by_pydantic() -> None:
    assert from_query(Annotated[int, pydantic.Field(gt=1)], "p=2") == 2
    assert message(lambda: from_query(Annotated[int, pydantic.Field(gt=1)], "p=1")) == "Input should be greater than 1"
    assert from_query(pydantic.PositiveInt, "p=3") == 3


# --- defaults


def test_defaults_stand_in_for_absent_values() -> None:
    empty = MemoryExchange("GET", "/")
    assert argument(int, 5).value(empty) == 5
    assert argument(int | None, None).value(empty) is None
    assert argument(Annotated[int, Query(default=6)]).value(empty) == 6
    assert argument(Annotated[int, Query(default=6)], 7).value(empty) == 7
    assert argument(Annotated[list[int], Query(default_factory=list)]).value(empty) == []
    assert argument(User | None, None).value(empty) is None
    assert message(lambda: argument(int | None).value(empty)) == "Field required"


def test_a_mutable_default_is_not_shared() -> None:
    shared = argument(list[int], [1])
    first, second = (shared.value(MemoryExchange("GET", "/")) for _ in range(2))
    assert first == second == [1]
    assert first is not second


# --- names on the wire


def test_a_header_s_name_has_hyphens() -> None:
    def handler(
        user_agent: Annotated[str, Header()], token: Annotated[str, Header("X_Token")], q: Annotated[str, Query("a-b")]
    ) -> None: ...

    assert [argument_for(handler, one, Context()).alias for one in parameters_of(handler)] == [
        "user-agent",
        "X_Token",
        "a-b",
    ]


# --- bodies


def test_json_bodies() -> None:
    assert from_body(User, b'{"name": "a"}') == User("a")
    assert from_body(list[User], b'[{"name": "a"}]') == [User("a")]
    assert from_body(Point, b'{"x": 1}') == Point(1)
    assert from_body(Place, b'{"city": "c"}') == {"city": "c"}
    assert from_body(dict, b'{"a": [1]}') == {"a": [1]}
    assert from_body(User | None, b"null") is None
    assert from_body(Annotated[int, Body(ge=1)], b"5") == 5
    assert message(lambda: from_body(User, b'{"name": 1}')) == "name Expected `str`, got `int`"
    assert message(lambda: from_body(Annotated[int, Body(ge=1)], b"0")) == "Expected `int` >= 1"
    with pytest.raises(MalformedBody):
        from_body(User, b"{")


def test_bodies_of_pydantic() -> None:
    assert from_body(Model, b'{"size": "5"}') == Model(size=5)
    assert from_body(list[Model], b'[{"size": 5}]') == [Model(size=5)]
    assert message(lambda: from_body(Model, b'{"size": "x"}')).startswith("size Input should be a valid integer")
    with pytest.raises(MalformedBody):
        from_body(Model, b"{")


def test_text_bodies() -> None:
    assert from_body(Annotated[str, Body()], "é".encode()) == "é"
    with pytest.raises(MalformedBody, match="UTF-8"):
        from_body(Annotated[str, Body()], b"\xff")
    assert message(lambda: from_body(Annotated[str, Body(max_length=1)], b"ab")) == "Expected `str` of length <= 1"
