import dataclasses
from typing import Annotated, Any, NotRequired, TypedDict

import msgspec
import pydantic
import pytest

from fastnet_ext.serve.errors import ArgumentError, MalformedBody
from fastnet_ext.serve.validation import MAX_FAILURES, MAX_ITEMS, explain_body, failures_of

Triple = tuple[tuple[str | int, ...], str, str]


class Tag(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    tag_name: str
    weight: Annotated[int, msgspec.Meta(ge=0)] = 0


@dataclasses.dataclass
class Owner:
    name: str
    age: int = 0


class Place(TypedDict):
    city: str
    zip: NotRequired[int]


class Item(msgspec.Struct):
    price: float
    tags: list[Tag] = []
    owner: Owner | None = None
    place: Place | None = None
    labels: dict[str, int] = {}


def explained(body: bytes, type: Any, **options: Any) -> list[Triple]:
    with pytest.raises(msgspec.DecodeError) as caught:
        msgspec.json.decode(body, type=type)
    error = explain_body(caught.value, body, type, **options)
    assert isinstance(error, ArgumentError)
    return error.failures


def test_every_field_that_is_wrong_is_named() -> None:
    body = b"""{"tags": [{"tagName": 1}, {"weight": -1}, {"tagName": "a", "x": 1}],
        "owner": {"age": "x"}, "place": {"zip": "y"}, "labels": {"a": "b"}}"""
    assert explained(body, Item) == [
        (("price",), "Field required", "missing"),
        (("tags", 0, "tagName"), "Expected `str`, got `int`", "type_error"),
        (("tags", 1, "tagName"), "Field required", "missing"),
        (("tags", 1, "weight"), "Expected `int` >= 0", "value_error"),
        (("tags", 2, "x"), "Unknown field", "unknown_field"),
        (("owner", "name"), "Field required", "missing"),
        (("owner", "age"), "Expected `int`, got `str`", "type_error"),
        (("place", "city"), "Field required", "missing"),
        (("place", "zip"), "Expected `int`, got `str`", "type_error"),
        (("labels", "..."), "Expected `int`, got `str`", "type_error"),
    ]


def test_a_value_of_another_shape() -> None:
    assert explained(b"[]", Item) == [((), "Expected `object`, got `array`", "type_error")]
    assert explained(b'[{"price": 1}, 5]', list[Item]) == [((1,), "Expected `object`, got `int`", "type_error")]


def test_what_is_not_json() -> None:
    for body, position in [(b'{"price": x}', 10), (b'{"price": 1, x}', 13), (b'{"price"', None), (b"", None)]:
        with pytest.raises(msgspec.DecodeError) as caught:
            msgspec.json.decode(body, type=Item)
        error = explain_body(caught.value, body, Item)
        assert isinstance(error, MalformedBody)
        assert (error.status, error.position) == (400, position)


def test_json_that_is_wrong_and_then_broken_is_broken() -> None:
    with pytest.raises(msgspec.ValidationError) as caught:
        msgspec.json.decode(b'{"price": "x", ', type=Item)
    assert isinstance(explain_body(caught.value, b'{"price": "x", ', Item), MalformedBody)


def test_what_is_not_utf8_and_what_is_nested_too_deeply() -> None:
    assert isinstance(explain_body(UnicodeDecodeError("utf-8", b"\xff", 0, 1, "bad"), b""), MalformedBody)
    assert isinstance(explain_body(RecursionError(), b""), MalformedBody)


def test_other_errors_stay_what_they_are() -> None:
    error = KeyError("x")
    assert explain_body(error, b"") is error


def test_failures_are_bounded() -> None:
    many = msgspec.json.encode([{}] * 900)
    assert len(explained(many, list[Item])) == MAX_FAILURES
    long = msgspec.json.encode([{"price": 1}] * MAX_ITEMS + [{}])
    assert explained(long, list[Item]) == [((MAX_ITEMS, "price"), "Field required", "missing")]


class Nested(msgspec.Struct):
    value: int
    inner: "Nested | None" = None


def test_the_search_goes_down_so_many_levels() -> None:
    body = b'{"value": 1, "inner": ' * 60 + b'{"value": "x"}' + b"}" * 60
    assert explained(body, Nested) == [(("inner",) * 60 + ("value",), "Expected `int`, got `str`", "type_error")]


def test_keys_of_objects() -> None:
    assert explained(b'{"x": 1}', dict[int, int]) == [(("[key]",), "Expected `int`, got `str`", "type_error")]


class Model(pydantic.BaseModel):
    name: str
    size: int


def test_pydantic_says_it_in_its_own_words() -> None:
    for body in (b'{"size": "x"}', b'{"name": 1, "size": "x"}'):
        with pytest.raises(pydantic.ValidationError) as caught:
            Model.model_validate_json(body)
        error = explain_body(caught.value, body)
        assert isinstance(error, ArgumentError)
        assert [(at, kind) for at, _, kind in error.failures] == [
            (("name",), "missing" if b"name" not in body else "string_type"),
            (("size",), "int_parsing"),
        ]
    with pytest.raises(pydantic.ValidationError) as caught:
        Model.model_validate_json(b"{")
    assert isinstance(explain_body(caught.value, b"{"), MalformedBody)


def test_any_value_error() -> None:
    assert failures_of(ValueError("too odd")) == [((), "too odd", "value_error")]
    assert failures_of(ValueError("too odd"), "expected even") == [((), "expected even", "value_error")]
    assert failures_of(ValueError()) == [((), "Invalid value", "value_error")]
