import gc
import sys
from collections.abc import Callable
from typing import Annotated, Any
from urllib.parse import parse_qsl, quote_plus, urlencode

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastnet_ext.exchange.cookies import parse_cookies
from fastnet_ext.exchange.exchange import Endpoint, Route
from fastnet_ext.exchange.memory import MemoryExchange
from fastnet_ext.exchange.request import Request
from fastnet_ext.serve.errors import ArgumentError, MalformedBody, RequestValidationError, UnsupportedMediaType
from fastnet_ext.serve.plan import (
    AppArgument,
    Argument,
    BodyArgument,
    CallArgument,
    CallPlan,
    CookieArgument,
    DependentPlan,
    ExchangeArgument,
    HeaderArgument,
    PathArgument,
    ProtocolArgument,
    ProvidedArgument,
    QueryArgument,
    RequestArgument,
    SlotArgument,
    StateArgument,
    TextArgument,
    max_arguments,
)

Headers = list[tuple[bytes, bytes]]


def path_value(raw: str | bytes, **options: Any) -> Any:
    return PathArgument("id", 0, **options).value(MemoryExchange("GET", "/", params=[raw]))


def query_value(query: str, **options: Any) -> Any:
    return QueryArgument("q", **options).value(MemoryExchange("GET", "/?" + query))


def header_value(fields: Headers, alias: str = "x-token", **options: Any) -> Any:
    return HeaderArgument("token", alias, **options).value(MemoryExchange("GET", "/", fields))


def cookie_value(fields: Headers, **options: Any) -> Any:
    return CookieArgument("c", **options).value(MemoryExchange("GET", "/", fields))


def failures(call: Callable[[], Any]) -> list[tuple[tuple[str | int, ...], str, str]]:
    with pytest.raises(ArgumentError) as caught:
        call()
    return caught.value.failures


def kind_of_failure(call: Callable[[], Any]) -> str:
    ((_, _, kind),) = failures(call)
    return kind


# --- text to values


@pytest.mark.parametrize(
    "text",
    ["0", "7", "-7", "+7", "007", "-0", "9" * 18, "-" + "9" * 18, "9" * 19, str(2**63), str(-(2**63) - 1), "1" * 4000],
)
def test_integers(text: str) -> None:
    assert path_value(text, kind="int") == int(text)


@pytest.mark.parametrize(
    "text",
    ["", "-", "+", "x", "1x", "1.0", "1e3", "1_0", "%201", "1%20", "--1", "0x1", "\u0663", "1" * 18 + "x", "1" * 5000],
)
def test_what_is_no_integer(text: str) -> None:
    assert kind_of_failure(lambda: path_value(text, kind="int")) == "int_parsing"


@settings(max_examples=200)
@given(st.integers(min_value=-(10**40), max_value=10**40))
def test_every_integer_comes_back(number: int) -> None:
    assert path_value(str(number), kind="int") == number


def test_an_escaped_number_is_a_number() -> None:
    assert path_value("%34%32", kind="int") == 42
    assert query_value("q=%2B5", kind="int") == 5
    assert query_value("q=t%72ue", kind="bool") is True


@settings(max_examples=200)
@given(st.floats(allow_nan=False))
def test_every_float_comes_back(number: float) -> None:
    assert path_value(repr(number), kind="float") == number


@pytest.mark.parametrize(
    "text", ["", "x", "%201", "1%20", "1_0", "1.5x", "1%00", "0x1p3", "nan0", "1" * 70 + "x", "1,5", "%0a1"]
)
def test_what_is_no_float(text: str) -> None:
    assert kind_of_failure(lambda: path_value(text, kind="float")) == "float_parsing"


def test_a_float_may_be_long() -> None:
    assert path_value("0" * 100 + "1.5", kind="float") == 1.5


@pytest.mark.parametrize("value", [True, False])
def test_booleans(value: bool) -> None:
    for word in ("true", "1", "yes", "on") if value else ("false", "0", "no", "off"):
        for text in (word, word.upper(), word.title()):
            assert path_value(text, kind="bool") is value


@pytest.mark.parametrize("text", ["", "2", "t", "nope", "truee", "tru", "null", "\u0131"])
def test_what_is_no_boolean(text: str) -> None:
    ((_, message, kind),) = failures(lambda: path_value(text, kind="bool"))
    assert kind == "bool_parsing"
    assert "true or false" in message


@settings(max_examples=200)
@given(st.text())
def test_every_text_comes_back_from_path_and_query(text: str) -> None:
    assert path_value(quote_plus(text).replace("+", "%20")) == text
    assert query_value(urlencode({"a": "x", "q": text, "b": "y"})) == text


def test_plus_is_a_space_in_queries_only() -> None:
    assert query_value("q=a+b%2B") == "a b+"
    assert path_value("a+b") == "a+b"


@pytest.mark.parametrize("text", ["%", "%4", "%zz", "a%", "%%34"])
def test_malformed_escapes_are_refused(text: str) -> None:
    assert kind_of_failure(lambda: path_value(text)) == "encoding"
    assert kind_of_failure(lambda: query_value("q=" + text)) == "encoding"


@pytest.mark.parametrize("raw", [b"%ff", b"%C3", b"\xff", b"%ED%A0%80", b"%C0%AF"])
def test_what_is_no_utf8_is_refused(raw: bytes) -> None:
    assert kind_of_failure(lambda: path_value(raw)) == "encoding"


def test_other_kinds_convert_their_text() -> None:
    def convert(text: str) -> str:
        if text == "bad":
            raise ValueError("is bad")
        return text.upper()

    assert path_value("%61b", kind="other", convert=convert) == "AB"
    assert failures(lambda: path_value("bad", kind="other", convert=convert)) == [((), "is bad", "value_error")]
    wanted = failures(lambda: path_value("bad", kind="other", convert=convert, wanted="expected good"))
    assert wanted == [((), "expected good", "value_error")]
    with pytest.raises(TypeError, match="convert="):
        path_value("a", kind="other")


def test_a_check_sees_the_value() -> None:
    def check(value: int) -> Any:
        return msgspec.convert(value, Annotated[int, msgspec.Meta(ge=10)])

    assert path_value("10", kind="int", convert=check) == 10
    ((_, message, kind),) = failures(lambda: path_value("9", kind="int", convert=check))
    assert (message, kind) == ("Expected `int` >= 10", "value_error")


def test_what_converting_raises_besides_is_not_hidden() -> None:
    def convert(text: str) -> str:
        raise KeyError(text)

    with pytest.raises(KeyError):
        path_value("a", kind="other", convert=convert)


# --- absence


def test_absent_values() -> None:
    assert failures(lambda: query_value("")) == [((), "Field required", "missing")]
    assert query_value("", default=5) == 5
    assert query_value("", default=None) is None
    made = [query_value("", factory=list) for _ in range(2)]
    assert made == [[], []]
    assert made[0] is not made[1]
    assert header_value([], default="x") == "x"
    assert cookie_value([], default="x") == "x"
    assert PathArgument("id", 1, default="x").value(MemoryExchange("GET", "/", params=["a"])) == "x"


# --- queries


def test_of_several_pairs_the_last_one_counts() -> None:
    assert query_value("q=1&q=2&r=3", kind="int") == 2


def test_a_list_takes_every_pair() -> None:
    assert query_value("q=1&r=9&q=2", kind="int", many=True) == [1, 2]
    assert query_value("q=1&q=1", kind="int", many=True, gather=set) == {1}
    assert query_value("q=a%20b&q=c+d", many=True) == ["a b", "c d"]
    assert failures(lambda: query_value("q=1&q=x&q=y", kind="int", many=True)) == [
        ((1,), "Expected `int`", "int_parsing"),
        ((2,), "Expected `int`", "int_parsing"),
    ]
    assert failures(lambda: query_value("", many=True)) == [((), "Field required", "missing")]


def test_gathering_may_refuse() -> None:
    def gather(values: list[Any]) -> list[Any]:
        raise ValueError("too many")

    assert failures(lambda: query_value("q=1", many=True, gather=gather)) == [((), "too many", "value_error")]


@pytest.mark.parametrize("query", ["", "&", "&&", "=", "=1", "qq=1", "Q=1", "a=q", "a=&=q", "%71%=1", "%7=1"])
def test_queries_without_the_name(query: str) -> None:
    assert query_value(query, default=None) is None


@pytest.mark.parametrize("query", ["q=1", "&q=1&", "%71=1", "a&q=1", "a=b=c&q=1", "q=0&%71=1"])
def test_queries_with_the_name(query: str) -> None:
    assert query_value(query) == "1"


def test_values_may_be_empty_or_hold_an_equals_sign() -> None:
    assert query_value("q") == ""
    assert query_value("q=") == ""
    assert query_value("q=a=b") == "a=b"


def test_names_may_hold_anything() -> None:
    argument = QueryArgument("q", "a b[\u00e9]")
    assert argument.value(MemoryExchange("GET", "/?a+b%5B%C3%A9%5D=1")) == "1"
    assert argument.value(MemoryExchange("GET", "/?a%20b[%c3%a9]=2")) == "2"


@settings(max_examples=200)
@given(st.text(alphabet="q%71+&= a", max_size=24))
def test_queries_agree_with_urllib(query: str) -> None:
    bad = any(
        query[i : i + 1] == "%" and query[i + 1 : i + 3] not in ("71", "17", "11", "77") for i in range(len(query))
    )
    if bad:
        return
    expected = [value for name, value in parse_qsl(query, keep_blank_values=True) if name == "q"]
    assert query_value(query, many=True, default=[]) == expected


# --- header fields and cookies


def test_header_fields() -> None:
    assert header_value([(b"X-Token", b"abc")]) == "abc"
    assert header_value([(b"x-token", b"12")], kind="int") == 12
    assert header_value([(b"x-token", b"a%20+\xe9")]) == "a%20+\u00e9"
    assert header_value([(b"x-tokens", b"a"), (b"x-toke", b"b")], default=None) is None
    assert header_value([(b"Authorization", b"me")], "Authorization") == "me"


def test_several_fields_count_as_one() -> None:
    fields = [(b"x-token", b"a"), (b"other", b"-"), (b"X-Token", b"b")]
    assert header_value(fields) == "a, b"
    assert header_value(fields, many=True) == ["a", "b"]
    assert kind_of_failure(lambda: header_value([(b"x-token", b"1"), (b"x-token", b"2")], kind="int")) == "int_parsing"
    assert header_value([(b"cookie", b"a=1"), (b"cookie", b"b=2")], "cookie") == "a=1; b=2"


def test_cookies() -> None:
    assert cookie_value([(b"cookie", b"a=1; c=2; d=3")], kind="int") == 2
    assert cookie_value([(b"cookie", b"c=1; c=2")]) == "1"
    assert cookie_value([(b"cookie", b"a=1"), (b"cookie", b"c=2")]) == "2"
    assert cookie_value([(b"cookie", b"c=1;c=2"), (b"cookie", b"c=3")], many=True) == ["1", "2", "3"]
    assert cookie_value([(b"cookie", b'c="a b"')]) == "a b"
    assert cookie_value([(b"cookie", b"c=%20+")]) == "%20+"
    assert cookie_value([(b"cookie", b"cc=1; c; =2; C=3")], default=None) is None


@settings(max_examples=200)
@given(st.text(alphabet='c=; "\ta', max_size=16))
def test_cookies_agree_with_the_request_s(header: str) -> None:
    assert cookie_value([(b"cookie", header.encode())], default=None) == parse_cookies(header).get("c")


# --- bodies


class User(msgspec.Struct):
    name: str


def body_value(body: bytes, content_type: str | None = None, **options: Any) -> Any:
    fields = [] if content_type is None else [(b"content-type", content_type.encode())]
    return BodyArgument("user", **options).value(MemoryExchange("POST", "/", fields, body))


DECODE = msgspec.json.Decoder(User).decode


def explain(error: Exception, body: bytes) -> Exception:
    return ArgumentError(f"{type(error).__name__} of {len(body)} bytes", "test", ("there",))


def test_bodies_are_decoded() -> None:
    assert body_value(b'{"name": "a"}', decode=DECODE, explain=explain) == User("a")
    assert failures(lambda: body_value(b"{}", decode=DECODE, explain=explain)) == [
        (("there",), "ValidationError of 2 bytes", "test")
    ]


def test_what_decoding_raises_besides_is_not_hidden() -> None:
    def decode(body: bytes) -> Any:
        raise KeyError("x")

    with pytest.raises(KeyError):
        body_value(b"{}", decode=decode, explain=explain)


def test_an_empty_body_is_absent() -> None:
    assert kind_of_failure(lambda: body_value(b"", decode=DECODE)) == "missing"
    assert body_value(b"", decode=DECODE, default=None) is None
    assert body_value(b"", decode=DECODE, factory=dict) == {}
    # Nothing is said about a body that is not there.
    assert body_value(b"", "text/plain", decode=DECODE, default=1, media_type="application/json") == 1


def test_raw_bodies() -> None:
    assert body_value(b"\xff\x00", "image/png") == b"\xff\x00"
    assert body_value(b"") == b""
    assert body_value(b"", default=None) is None


@pytest.mark.parametrize(
    "content_type",
    [
        "application/json",
        "Application/JSON ; charset=utf-8",
        "application/problem+json",
        "application/vnd.a.b+JSON;v=1",
    ],
)
def test_json_types(content_type: str) -> None:
    options: dict[str, Any] = {"decode": DECODE, "explain": explain, "media_type": "application/json"}
    assert body_value(b'{"name":"a"}', content_type, **options) == User("a")


@pytest.mark.parametrize(
    "content_type", ["text/plain", "", "json", "+json", "application/jsonx", "application/x-www-form-urlencoded", ";"]
)
def test_other_types_are_refused(content_type: str) -> None:
    with pytest.raises(UnsupportedMediaType) as caught:
        body_value(b"{}", content_type, decode=DECODE, explain=explain, media_type="application/json")
    assert caught.value.status == 415
    assert (caught.value.wanted, caught.value.got) == ("application/json", content_type)


def test_another_media_type() -> None:
    assert body_value(b"a,b", "text/CSV; header=absent", media_type="text/csv") == b"a,b"
    with pytest.raises(UnsupportedMediaType):
        body_value(b"{}", "application/json", media_type="text/csv")


def test_what_keeps_a_body_from_being_read_is_raised() -> None:
    exchange = MemoryExchange.streaming("POST", "/")
    exchange.disconnect()
    with pytest.raises(Exception, match="disconnected"):
        BodyArgument("b").value(exchange)


# --- objects


class WithoutAnswer(Endpoint):
    pass


def test_objects() -> None:
    app = object()
    exchange = MemoryExchange("GET", "/", route=Route(WithoutAnswer(), app=app))
    request = RequestArgument("r").value(exchange)
    assert isinstance(request, Request)
    assert RequestArgument("r").value(exchange) is request
    assert CallArgument("c").value(exchange) is request
    assert StateArgument("s").value(exchange) is request.state
    assert AppArgument("a").value(exchange) is app
    assert ExchangeArgument("x").value(exchange) is exchange
    assert ProtocolArgument("p").value(exchange) is None
    assert ProvidedArgument("p", lambda x: ("made of", x)).value(exchange) == ("made of", exchange)


def test_a_bare_argument_fetches_nothing() -> None:
    with pytest.raises(NotImplementedError):
        Argument("a", "nowhere").value(MemoryExchange())


def test_arguments_say_what_they_are() -> None:
    argument = HeaderArgument("token", "X-Token", default=None)
    assert (argument.name, argument.location, argument.alias) == ("token", "header", "X-Token")
    assert (argument.required, argument.default, argument.many, argument.slot) == (False, None, False, -1)
    assert repr(argument) == "<HeaderArgument token from header 'X-Token'>"
    assert TextArgument("a", "somewhere").alias == "a"


# --- the call


def call(*arguments: Any, **named: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    return arguments, named


EXCHANGE = MemoryExchange("GET", "/users/42?verbose=true&n=5", [(b"x-a", b"b")], params=["42"])


def arguments() -> list[Argument]:
    return [
        PathArgument("id", 0, kind="int"),
        QueryArgument("verbose", kind="bool", default=False),
        HeaderArgument("a", "x-a"),
    ]


def test_arguments_go_by_position_or_by_name() -> None:
    assert CallPlan(call, arguments()).invoke(EXCHANGE) == ((42, True, "b"), {})
    assert CallPlan(call, arguments(), 1).invoke(EXCHANGE) == ((42,), {"verbose": True, "a": "b"})
    assert CallPlan(call, arguments(), 0).invoke(EXCHANGE) == ((), {"id": 42, "verbose": True, "a": "b"})
    assert CallPlan(call).invoke(EXCHANGE) == ((), {})
    with pytest.raises(ValueError, match="position"):
        CallPlan(call, arguments(), 4)


class Callables:
    def method(self, *arguments: Any) -> Any:
        return self, arguments

    def __call__(self, *arguments: Any) -> Any:
        return "called", arguments


def test_every_kind_of_callable() -> None:
    owner = Callables()
    assert CallPlan(owner.method, arguments()).invoke(EXCHANGE) == (owner, (42, True, "b"))
    assert CallPlan(owner, arguments()).invoke(EXCHANGE) == ("called", (42, True, "b"))
    assert CallPlan(dict, [PathArgument("id", 0)], 0).invoke(EXCHANGE) == {"id": "42"}


def test_slots_are_filled_by_the_caller() -> None:
    plan = CallPlan(call, [SlotArgument("message", 1), PathArgument("id", 0), SlotArgument("context", 0)])
    assert plan.invoke(EXCHANGE, ["c", "m"]) == (("m", "42", "c"), {})


def test_the_most_arguments() -> None:
    many = [QueryArgument(f"p{i}", "n", kind="int") for i in range(max_arguments)]
    assert CallPlan(call, many).invoke(EXCHANGE) == ((5,) * max_arguments, {})
    with pytest.raises(TypeError, match="at most"):
        CallPlan(call, [*many, QueryArgument("q")])


def test_failures_of_all_arguments_are_told_at_once() -> None:
    plan = CallPlan(
        call,
        [
            PathArgument("id", 0, kind="int"),
            QueryArgument("n", kind="int", many=True),
            SlotArgument("s", 0),
            HeaderArgument("token", "X-Token"),
            BodyArgument("user", decode=DECODE, explain=explain),
            QueryArgument("fine", default=1),
        ],
    )
    exchange = MemoryExchange("POST", "/?n=1&n=x", [], b"{}", params=["x"])
    with pytest.raises(RequestValidationError) as caught:
        plan.invoke(exchange, [None])
    assert caught.value.status == 422
    assert caught.value.errors == [
        {"loc": ["path", "id"], "msg": "Expected `int`", "type": "int_parsing"},
        {"loc": ["query", "n", 1], "msg": "Expected `int`", "type": "int_parsing"},
        {"loc": ["header", "X-Token"], "msg": "Field required", "type": "missing"},
        {"loc": ["body", "there"], "msg": "ValidationError of 2 bytes", "type": "test"},
    ]
    assert "path.id: Expected `int`" in str(caught.value)


def test_other_errors_pass_through() -> None:
    def malformed(error: Exception, body: bytes) -> Exception:
        return MalformedBody("bad", 3)

    plan = CallPlan(call, [PathArgument("id", 0, kind="int"), BodyArgument("b", decode=DECODE, explain=malformed)])
    with pytest.raises(MalformedBody) as caught:
        plan.invoke(MemoryExchange("POST", "/", [], b"{", params=["x"]))
    assert (caught.value.status, caught.value.position) == (400, 3)


def test_an_argument_error_of_the_callable_is_its_own() -> None:
    def fail() -> None:
        raise ArgumentError("mine", "test")

    with pytest.raises(ArgumentError, match="mine"):
        CallPlan(fail).invoke(EXCHANGE)


def test_what_a_plan_needs() -> None:
    body = CallPlan(call, [BodyArgument("b")])
    request = CallPlan(call, [RequestArgument("r")])
    neither = CallPlan(call, [CallArgument("c"), PathArgument("id", 0)])
    assert (body.needs_body, body.takes_request) == (True, False)
    assert (request.needs_body, request.takes_request) == (False, True)
    assert (neither.needs_body, neither.takes_request) == (False, False)
    assert [argument.name for argument in neither.arguments] == ["c", "id"]


def test_a_dependent_plan_leaves_the_call_to_its_resolution() -> None:
    seen: list[Any] = []

    def run(exchange: Any, slots: Any) -> str:
        seen.append((exchange, slots))
        return "coroutine"

    plan = DependentPlan(call, arguments(), None, run=run, needs_body=True, takes_request=False)
    assert plan.invoke(EXCHANGE) == "coroutine"
    assert plan.invoke(EXCHANGE, [1]) == "coroutine"
    assert seen == [(EXCHANGE, None), (EXCHANGE, [1])]
    assert plan.needs_body


def test_no_reference_is_lost_or_kept() -> None:
    marker = object()
    plan = CallPlan(lambda a, b: None, [QueryArgument("q", default=marker), QueryArgument("r", "n", kind="int")])
    failing = CallPlan(lambda a, b: None, [QueryArgument("q", default=marker), QueryArgument("missing")])
    plan.invoke(EXCHANGE)
    with pytest.raises(RequestValidationError):
        failing.invoke(EXCHANGE)
    gc.collect()
    before = sys.getrefcount(marker)
    for _ in range(100):
        plan.invoke(EXCHANGE)
        with pytest.raises(RequestValidationError):
            failing.invoke(EXCHANGE)
    gc.collect()
    assert sys.getrefcount(marker) == before
