"""The query as a mapping, held to the standard library's reading."""

from collections.abc import Mapping
from urllib.parse import parse_qsl, urlencode

from hypothesis import given, settings
from hypothesis import strategies as st

from fastnet_ext.exchange.memory import MemoryExchange
from fastnet_ext.exchange.query import QueryParams
from fastnet_ext.exchange.request import request_for


@given(st.lists(st.tuples(st.text(max_size=8), st.text(max_size=8)), max_size=6))
@settings(max_examples=100, deadline=None)
def test_query_of_urlencode_comes_back(pairs: list[tuple[str, str]]) -> None:
    pairs = [(k.encode("utf-8", "replace").decode(), v.encode("utf-8", "replace").decode()) for k, v in pairs]
    query = QueryParams(urlencode(pairs))
    assert query.multi_items() == pairs
    assert dict(query) == dict(pairs)


@given(st.text(alphabet="ab=&+%20Ff\u00e9;", max_size=20))
@settings(max_examples=200, deadline=None)
def test_any_query_reads_as_the_standard_library_reads_it(text: str) -> None:
    expected = parse_qsl(text, keep_blank_values=True, errors="replace")
    assert QueryParams(text).multi_items() == expected


def test_query_params() -> None:
    query = request_for(MemoryExchange("GET", "/?a=1&b=x+y%2B&a=2&flag&=empty")).query_params
    assert query["a"] == "2"
    assert query.getlist("a") == ["1", "2"]
    assert query["b"] == "x y+"
    assert query["flag"] == ""
    assert query.get("c", "d") == "d"
    assert list(query) == ["a", "b", "flag", ""]
    assert (len(query), "a" in query, "c" in query) == (4, True, False)
    assert query == QueryParams("a=1&b=x+y%2B&a=2&flag&=empty")
    assert query == {"a": "2", "b": "x y+", "flag": "", "": "empty"}
    assert isinstance(query, Mapping)
