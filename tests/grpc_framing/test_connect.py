"""The Connect protocol: content types, time limits, errors, ends of streams, and calls in queries."""

import json
from base64 import b64decode, b64encode, urlsafe_b64encode
from urllib.parse import quote, urlencode

import grpc
import pytest
from google.protobuf import any_pb2, wrappers_pb2
from hypothesis import given, settings
from hypothesis import strategies as st

from fastnet_ext.grpc.connect import (
    decode_get,
    encode_end,
    encode_error,
    encode_trailers,
    format_named,
    http_status,
    timeout_microseconds,
)
from fastnet_ext.grpc.framing import MessageReader

# The table of the protocol's "Error Codes".
STATUSES = {
    "canceled": 499,
    "unknown": 500,
    "invalid_argument": 400,
    "deadline_exceeded": 504,
    "not_found": 404,
    "already_exists": 409,
    "permission_denied": 403,
    "resource_exhausted": 429,
    "failed_precondition": 400,
    "aborted": 409,
    "out_of_range": 400,
    "unimplemented": 501,
    "internal": 500,
    "unavailable": 503,
    "data_loss": 500,
    "unauthenticated": 401,
}


@pytest.mark.parametrize(
    ("content_type", "expected"),
    [
        (b"application/json", ("json", False)),
        (b"Application/JSON; charset=utf-8", ("json", False)),
        (b"application/proto", ("proto", False)),
        (b"application/connect+json", ("json", True)),
        (b"application/connect+proto ;x", ("proto", True)),
        (b"application/x-www-form-urlencoded", None),
        (b"application/jsonp", None),
        (b"application/connect", None),
        (b"application/grpc+json", None),
        (b"", None),
    ],
)
def test_content_types(content_type: bytes, expected: tuple[str, bool] | None) -> None:
    assert format_named(content_type) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"0", 0),
        (b"1", 1_000),
        (b"0005000", 5_000_000),
        (b"9999999999", 9_999_999_999_000),
        (b"10000000000", None),
        (b"", None),
        (b"-1", None),
        (b"1.5", None),
        (b"1S", None),
        (b" 1", None),
    ],
)
def test_timeouts(value: bytes, expected: int | None) -> None:
    assert timeout_microseconds(value) == expected


@pytest.mark.parametrize("code", [code for code in grpc.StatusCode if code is not grpc.StatusCode.OK])
def test_codes(code: grpc.StatusCode) -> None:
    name = {"cancelled": "canceled"}.get(code.name.lower(), code.name.lower())
    assert json.loads(encode_error(code.value[0])) == {"code": name}
    assert http_status(code.value[0]) == STATUSES[name]


@pytest.mark.parametrize("code", [-1, 17, 1 << 20])
def test_a_code_that_nobody_knows_is_unknown(code: int) -> None:
    assert json.loads(encode_error(code)) == {"code": "unknown"}
    assert http_status(code) == 500


def test_the_text_of_an_error() -> None:
    assert json.loads(encode_error(5, 'no user "Åsa"')) == {"code": "not_found", "message": 'no user "Åsa"'}
    assert json.loads(encode_error(5, "bad \ud800 text")) == {"code": "not_found", "message": "bad ? text"}


def tagged(number: int, data: bytes) -> bytes:
    """A length-delimited field of a protobuf message, of less than 128 bytes."""
    return bytes([number << 3 | 2, len(data)]) + data


def status(*details: any_pb2.Any) -> bytes:
    """A google.rpc.Status: code, message, details."""
    head = b"\x08\x05" + tagged(2, b"no such user")
    return head + b"".join(tagged(3, detail.SerializeToString()) for detail in details)


def packed(text: str) -> any_pb2.Any:
    detail = any_pb2.Any()
    detail.Pack(wrappers_pb2.StringValue(value=text))
    return detail


def test_details() -> None:
    error = json.loads(encode_error(5, "x", status(packed("a"), packed("bcd"))))
    assert [detail["type"] for detail in error["details"]] == ["google.protobuf.StringValue"] * 2
    values = [b64decode(detail["value"] + "==") for detail in error["details"]]
    assert values == [wrappers_pb2.StringValue(value=text).SerializeToString() for text in ("a", "bcd")]
    assert "=" not in error["details"][0]["value"]


def test_fields_that_nobody_knows_stand_in_no_ones_way() -> None:
    unknown = b"\x21" + bytes(8) + b"\x2d" + bytes(4) + b"\x30\x80\x01" + tagged(7, b"x")
    error = json.loads(encode_error(5, "", unknown + status(packed("a")) + unknown))
    assert len(error["details"]) == 1


@given(st.binary(max_size=60))
@settings(max_examples=300, deadline=None)
def test_damaged_details_never_fail(data: bytes) -> None:
    assert json.loads(encode_error(13, "x", data))["code"] == "internal"
    whole = status(packed("abc"))
    for cut in range(len(whole)):
        assert "details" not in json.loads(encode_error(13, "x", whole[:cut]))
    assert len(json.loads(encode_error(13, "x", whole + data)).get("details", [])) >= 1


def test_the_end_of_a_stream() -> None:
    assert encode_end() == b"\x02\0\0\0\x02{}"
    metadata = [(b"a", b"1"), (b"b-bin", b"AQ"), (b"a", b"2")]
    ((_, flag, body),) = MessageReader(1000, 3).feed(encode_end(8, "too much", status(packed("a")), metadata))
    assert flag == 2
    end = json.loads(body)
    assert end["metadata"] == {"a": ["1", "2"], "b-bin": ["AQ"]}
    assert (end["error"]["code"], end["error"]["message"]) == ("resource_exhausted", "too much")
    assert len(end["error"]["details"]) == 1


def test_trailers_of_a_unary_answer() -> None:
    assert encode_trailers([(b"cost", b"1"), (b"cost", b"2")]) == [(b"trailer-cost", b"1"), (b"trailer-cost", b"2")]


# --- GET


@given(st.binary(max_size=60), st.booleans(), st.booleans(), st.sampled_from(["", "gzip"]))
@settings(max_examples=200, deadline=None)
def test_a_call_in_a_query(message: bytes, base64: bool, padded: bool, compression: str) -> None:
    if base64:
        text = urlsafe_b64encode(message)
        parts = {"message": text if padded else text.rstrip(b"="), "base64": b"1"}
    else:
        parts = {"message": message}
    parts |= {"encoding": b"proto", "connect": b"v1", "x": b"ignored"}
    if compression:
        parts["compression"] = compression.encode()
    request = decode_get(urlencode(parts).encode())
    assert request.message == message
    assert (request.encoding, request.compression) == ("proto", compression or "identity")


def test_a_query_that_a_person_types() -> None:
    request = decode_get(b"encoding=json&message=" + quote('{"name": "Åsa +1"}').encode())
    assert json.loads(request.message) == {"name": "Åsa +1"}
    assert decode_get(b"encoding=json&message=%7B+%7D").message == b"{ }"


def test_the_first_of_several_counts_and_empty_ones_are_values() -> None:
    request = decode_get(b"&&message=&message=x&encoding=proto&encoding=json&flag")
    assert (request.message, request.encoding) == (b"", "proto")


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        (b"", "names its encoding"),
        (b"message=x", "names its encoding"),
        (b"encoding=json", "has its message"),
        (b"message&encoding=json", "has its message"),
        (b"message=x&encoding=json&connect=v2", "connect=v1"),
        (b"message=" + b64encode(b"\xff\xfe\xfd") + b"A&encoding=json&base64=1", "not base64"),
        (b"message=A&encoding=json&base64=1", "not base64"),
        (b"message=%00&encoding=json&base64=1", "not base64"),
    ],
)
def test_queries_that_hold_no_call(query: bytes, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        decode_get(query)


@given(st.binary(max_size=80))
@settings(max_examples=300, deadline=None)
def test_any_query_is_a_call_or_a_value_error(query: bytes) -> None:
    try:
        request = decode_get(b"encoding=proto&message=" + query)
    except ValueError:
        return
    assert isinstance(request.message, bytes)
