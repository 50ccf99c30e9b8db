"""One JSON dialect: orjson's path and msgspec's path write the same.

Values of all kinds, nested in each other, are encoded in plain containers (orjson, with msgspec for
what is inside) and by msgspec alone. The bytes must be equal. The one exception is the text of floats from 1e16
on, where orjson writes ``1e+16`` and msgspec ``1e16``: those are compared by value, with every digit.
"""

import collections
import dataclasses
import enum
import json
import math
import re
import uuid
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastnet_ext.serve.json import JsonEncoder, JSONResponse

encode = JsonEncoder().encode
reference = msgspec.json.Encoder().encode


class Point(msgspec.Struct):
    x: Any
    y: Any = None


class Tagged(msgspec.Struct, tag="t", rename="camel", omit_defaults=True):
    some_value: Any
    other: int = 0


@dataclasses.dataclass
class Data:
    value: Any


@dataclasses.dataclass(slots=True, frozen=True)
class Slotted:
    value: Any


class Colour(enum.Enum):
    RED = "red"
    ONE = 1


class Number(enum.IntEnum):
    TWO = 2


class Word(enum.StrEnum):
    YES = "yes"


Pair = collections.namedtuple("Pair", "left right")


class MyDict(dict[str, Any]):
    pass


class MyList(list[Any]):
    pass


PLAIN = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(min_value=-(2**70), max_value=2**70),
    st.floats(),
    st.text(),
    st.text(alphabet="\x00\x1f\x7f\"\\/\u2028\ud7ff\ufffe\U0001f600<>&'\n\t\b\f\r"),
)
ZONES = st.one_of(
    st.none(),
    st.just(UTC),
    st.integers(-1439, 1439).map(lambda minutes: timezone(timedelta(minutes=minutes))),
)
TYPED = st.one_of(
    st.binary(max_size=20),
    st.binary(max_size=20).map(bytearray),
    st.binary(max_size=20).map(lambda data: memoryview(data)),
    st.decimals(),
    st.uuids(),
    st.datetimes(timezones=ZONES),
    st.dates(),
    st.times(),
    st.times().map(lambda moment: moment.replace(tzinfo=UTC)),
    st.timedeltas(min_value=timedelta(days=-9999), max_value=timedelta(days=9999)),
    st.sampled_from([*Colour, *Number, *Word]),
    st.frozensets(st.integers(0, 9), max_size=3),
    st.sets(st.text(max_size=2), max_size=1),
)
KEYS = st.one_of(
    st.text(max_size=5),
    st.integers(),
    st.uuids(),
    st.dates(),
    st.decimals(allow_nan=False, allow_infinity=False),
    st.binary(max_size=5),
    st.sampled_from([*Colour, *Word]),
)


def containers(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.one_of(
        st.lists(inner, max_size=4),
        st.lists(inner, max_size=4).map(tuple),
        st.lists(inner, max_size=4).map(MyList),
        st.dictionaries(st.text(max_size=5), inner, max_size=4),
        st.dictionaries(st.text(max_size=5), inner, max_size=4).map(MyDict),
        st.dictionaries(st.text(max_size=5), inner, max_size=4).map(collections.OrderedDict),
        st.dictionaries(KEYS, inner, max_size=3),
        st.builds(Point, inner, inner),
        st.builds(Tagged, inner, st.integers(0, 1)),
        st.builds(Data, inner),
        st.builds(Slotted, inner),
        st.builds(Pair, inner, inner),
    )


VALUES = st.recursive(PLAIN | TYPED, containers, max_leaves=12)

# A float from 1e16 on, as either library writes it.
_EXPONENT = re.compile(rb"(?<=\d)e\+(?=\d)")


def normal(text: bytes) -> bytes:
    """The text with orjson's sign of exponents taken out, except inside strings."""
    parts = re.split(rb'("(?:[^"\\]|\\.)*")', text, flags=re.DOTALL)
    return b"".join(part if part.startswith(b'"') else _EXPONENT.sub(b"e", part) for part in parts)


@given(VALUES)
@settings(max_examples=200, deadline=None)
def test_both_libraries_write_one_dialect(value: Any) -> None:
    # In a plain dict with a plain neighbour first: orjson's path. Alone: msgspec's.
    through_orjson = encode({"plain": 1, "value": value})
    assert normal(through_orjson) == b'{"plain":1,"value":' + reference(value) + b"}"
    assert normal(encode([0, value])) == b"[0," + reference(value) + b"]"
    assert normal(encode(value)) == reference(value)


@given(st.floats(allow_nan=False, allow_infinity=False))
@settings(max_examples=200, deadline=None)
def test_floats_keep_their_value(value: float) -> None:
    assert json.loads(encode([value])) == [value]
    assert json.loads(encode(Point(value))) == {"x": value, "y": None}
    assert math.copysign(1, json.loads(encode(value))) == math.copysign(1, value)


@given(VALUES)
@settings(max_examples=100, deadline=None)
def test_what_is_written_is_json(value: Any) -> None:
    json.loads(encode(value))


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC), b'"2030-01-02T03:04:05Z"'),
        (datetime(2030, 1, 2, 3, 4, 5, 678), b'"2030-01-02T03:04:05.000678"'),
        (date(2030, 1, 2), b'"2030-01-02"'),
        (time(1, 2, 3, tzinfo=UTC), b'"01:02:03Z"'),
        (timedelta(days=1, seconds=2), b'"P1DT2S"'),
        (Decimal("1.10"), b'"1.10"'),
        (b"ab\xff", b'"YWL/"'),
        (math.nan, b"null"),
        (-math.inf, b"null"),
        (uuid.UUID(int=1), b'"00000000-0000-0000-0000-000000000001"'),
        (2**64, b"18446744073709551616"),
        (-(2**63) - 1, b"-9223372036854775809"),
        ({1: "a"}, b'{"1":"a"}'),
        ({Word.YES: 1}, b'{"yes":1}'),
        ({1}, b"[1]"),
        (Point(Decimal("1")), b'{"x":"1","y":null}'),
        (Tagged(b"x"), b'{"type":"t","someValue":"eA=="}'),
        (Pair(1, 2), b"[1,2]"),
        (Colour.RED, b'"red"'),
        (msgspec.Raw(b'{"raw": 1}'), b'{"raw": 1}'),
        ("\u00e9", b'"\xc3\xa9"'),
        ("\x00\x1f\x7f", b'"\\u0000\\u001f\x7f"'),
        ((), b"[]"),
        (True, b"true"),
        (None, b"null"),
    ],
)
def test_the_dialect(value: Any, text: bytes) -> None:
    assert encode(value) == text
    assert encode([value]) == b"[" + text + b"]"
    assert encode({"k": [value]}) == b'{"k":[' + text + b"]}"
    assert encode(Point(value)) == b'{"x":' + text + b',"y":null}'
    # One integer key makes the whole go to msgspec.
    assert encode({0: value}) == b'{"0":' + text + b"}"


class MyStr(str):
    pass


class MyInt(int):
    def __int__(self) -> int:
        return 0


class MyFloat(float):
    pass


def test_subclasses_of_scalars_are_what_they_extend() -> None:
    for value in ([MyStr("a"), MyInt(7), MyFloat(1.5)], Point([MyStr("a"), MyInt(7), MyFloat(1.5)])):
        assert b'["a",7,1.5]' in encode(value)
    assert (encode(MyStr("a")), encode(MyInt(7)), encode(MyFloat(1.5))) == (b'"a"', b"7", b"1.5")


class Foreign:
    def __init__(self, value: Any) -> None:
        self.value = value


def hook(value: Any) -> Any:
    if isinstance(value, Foreign):
        return value.value
    raise NotImplementedError


def test_enc_hook_reaches_everywhere() -> None:
    encoder = JsonEncoder(hook)
    assert encoder.enc_hook is hook
    inner = Foreign({"a": Foreign(Decimal("1"))})
    text = b'{"a":"1"}'
    assert encoder(inner) == text
    assert encoder([1, inner]) == b"[1," + text + b"]"
    assert encoder({"a": [Point(inner)]}) == b'{"a":[{"x":' + text + b',"y":null}]}'
    assert encoder({1: inner}) == b'{"1":' + text + b"}"


@pytest.mark.parametrize(
    "wrap", [lambda v: v, lambda v: [1, v], lambda v: {"a": v}, lambda v: Point(v), lambda v: {1: v}]
)
def test_foreign_types_are_refused_by_name(wrap: Any) -> None:
    with pytest.raises(TypeError, match=r"test_json\.Foreign has no form in JSON.*enc_hook"):
        encode(wrap(Foreign(1)))
    with pytest.raises((TypeError, NotImplementedError)):
        JsonEncoder(hook).encode(wrap(object()))


def test_errors_of_the_hook_come_out() -> None:
    def failing(value: Any) -> Any:
        raise LookupError("mine")

    for value in (Foreign(1), [1, Foreign(1)], {"a": Foreign(1)}):
        with pytest.raises(LookupError, match="mine"):
            JsonEncoder(failing).encode(value)


def test_depth_and_cycles() -> None:
    deep: Any = 1
    for _ in range(300):  # deeper than orjson goes
        deep = [deep]
    assert encode(deep) == b"[" * 300 + b"1" + b"]" * 300
    cycle: list[Any] = []
    cycle.append(cycle)
    with pytest.raises(ValueError, match="contains itself"):
        encode(cycle)
    point = Point(None)
    point.x = [point]
    with pytest.raises(ValueError, match="contains itself"):
        encode(point)


def test_text_that_is_no_unicode() -> None:
    for value in ("\ud800", ["\ud800"], {"a": "\ud800"}, {"\ud800": 1}, Point("\ud800")):
        with pytest.raises(ValueError, match="surrogates"):
            encode(value)


def test_keys_that_no_one_takes() -> None:
    for key in (None, True, (1, 2)):
        with pytest.raises(TypeError):
            encode({key: 1})


def test_pydantic_models() -> None:
    pytest.importorskip("pydantic")
    from pydantic import BaseModel, Field

    class Item(BaseModel):
        price: Decimal
        when: datetime
        name_of_it: str = Field(alias="nameOfIt")

    item = Item(price=Decimal("1.50"), when=datetime(2030, 1, 2, tzinfo=UTC), nameOfIt="a")
    text = b'{"price":"1.50","when":"2030-01-02T00:00:00Z","nameOfIt":"a"}'
    assert encode(item) == text
    assert encode([item, 1]) == b"[" + text + b",1]"
    assert encode({"a": Point(item)}) == b'{"a":{"x":' + text + b',"y":null}}'


def test_json_response() -> None:
    response = JSONResponse({"a": Decimal("1")}, 201, {"x-a": "1"})
    assert (response.body, response.status_code) == (b'{"a":"1"}', 201)
    assert response.media_type == "application/json"
    assert response.headers["x-a"] == "1"
    assert JSONResponse([], media_type="application/problem+json").media_type == "application/problem+json"
    with pytest.raises(TypeError, match="Foreign"):
        JSONResponse(Foreign(1))
    assert JSONResponse(Foreign(1), encoder=JsonEncoder(hook)).body == b"1"
