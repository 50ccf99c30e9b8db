"""The HTTP/1 reader on messages that are right: events, framing, both roles, any cut."""

from collections.abc import Callable
from itertools import pairwise
from time import thread_time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastnet_ext.http1.reader import Limits, Reader
from fastnet_ext.http1.writer import Writer
from tests.http1.reading import Event, bytewise, error_of, read, read_every_way, request


def head_of(data: bytes, **options: Any) -> Event:
    """The first head of what is read every way without a failure."""
    outcome = read_every_way(data, **options)
    assert outcome.end != "failed", outcome
    assert outcome.events[0][0] == "head"
    return outcome.events[0]


def framing_of(data: bytes, **options: Any) -> dict[str, Any]:
    framing: dict[str, Any] = head_of(data, **options)[3]
    return framing


def body_of(events: list[Event]) -> bytes:
    return b"".join(event[1] for event in events if event[0] == "data")


# ---- requests ----


def test_a_request_without_body() -> None:
    data = b"GET /a?b=%20c HTTP/1.1\r\nHost: example.com:8000\r\nX-Thing:  a b\t \r\nempty:\r\n\r\n"
    head, end = read_every_way(data).events
    assert head[1] == {"method": b"GET", "target": b"/a?b=%20c", "scheme": b"", "authority": b"", "status": 0}
    assert head[2] == [(b"host", b"example.com:8000"), (b"x-thing", b"a b"), (b"empty", b"")]
    assert head[3] == {
        "minor": 1,
        "body": "none",
        "content_length": -1,
        "keep_alive": True,
        "expect_continue": False,
        "upgrade": False,
    }
    assert end == ("end", None)


def test_pipelined_requests_come_one_by_one() -> None:
    outcome = read_every_way(request(start=b"GET /1 HTTP/1.1") + request(start=b"GET /2 HTTP/1.1"))
    assert [event[0] for event in outcome.events] == ["head", "end"] * 2
    assert [event[1]["target"] for event in outcome.events if event[0] == "head"] == [b"/1", b"/2"]
    assert outcome.end == "clean"


def test_a_body_of_known_length() -> None:
    data = request(b"Content-Length: 5", start=b"POST / HTTP/1.1", body=b"hello") + request()
    events = read_every_way(data).events
    assert events[0][3]["body"] == "length"
    assert events[0][3]["content_length"] == 5
    assert events[1:3] == [("data", b"hello"), ("end", None)]
    assert events[3][0] == "head"


def test_length_zero_is_no_body() -> None:
    events = read_every_way(request(b"Content-Length: 0") + request()).events
    assert [event[0] for event in events] == ["head", "end"] * 2
    assert events[0][3]["content_length"] == 0


def test_the_largest_length() -> None:
    assert framing_of_partial(b"Content-Length: 9223372036854775807")["content_length"] == 2**63 - 1


def framing_of_partial(field: bytes) -> dict[str, Any]:
    """The framing of a request whose body has not come."""
    outcome = read_every_way(request(field))
    assert outcome.end == "failed"
    framing: dict[str, Any] = outcome.events[0][3]
    return framing


def test_a_chunked_body_with_extensions_and_trailers() -> None:
    body = b'5\r\nhello\r\n00A;a;b=c;d="e;\\" f"\r\n, world!!!\r\n0;last\r\nX-Sum: 1\r\nX-Other:\r\n\r\n'
    events = read_every_way(request(b"Transfer-Encoding: Chunked", start=b"POST / HTTP/1.1", body=body)).events
    assert events[0][3]["body"] == "chunked"
    assert events[1:] == [("data", b"hello, world!!!"), ("end", [(b"x-sum", b"1"), (b"x-other", b"")])]


def test_trailers_do_not_leak_into_the_next_message() -> None:
    data = request(b"Transfer-Encoding: chunked", body=b"0\r\nA: b\r\n\r\n") + request()
    ends = [event for event in read_every_way(data).events if event[0] == "end"]
    assert ends == [("end", [(b"a", b"b")]), ("end", None)]


@pytest.mark.parametrize("count", [0, 1, 2])
def test_empty_lines_before_a_request_line_are_skipped(count: int) -> None:
    """RFC 9112, 2.2."""
    data = b"\r\n" * count + request() + b"\r\n" * count + request()
    assert [event[0] for event in read_every_way(data).events] == ["head", "end"] * 2


@pytest.mark.parametrize(
    ("target", "authority"),
    [
        (b"http://example.com", b"example.com"),
        (b"HTTP://example.com/", b"example.com"),
        (b"https://example.com:8443/a?b", b"example.com:8443"),
        (b"http://[2001:db8::1]:80?a", b"[2001:db8::1]:80"),
        (b"http://a/http://b", b"a"),
    ],
)
def test_absolute_form(target: bytes, authority: bytes) -> None:
    start = head_of(request(start=b"GET " + target + b" HTTP/1.1"))[1]
    assert (start["target"], start["authority"]) == (target, authority)


@pytest.mark.parametrize(
    ("start", "target", "authority"),
    [
        (b"OPTIONS * HTTP/1.1", b"*", b""),
        (b"OPTIONS /a HTTP/1.1", b"/a", b""),
        (b"CONNECT example.com:443 HTTP/1.1", b"example.com:443", b"example.com:443"),
        (b"CONNECT [::1]:443 HTTP/1.1", b"[::1]:443", b"[::1]:443"),
        (b"GET //a HTTP/1.1", b"//a", b""),
        (b'GET /"<>\\^`{|}[]@: HTTP/1.1', b'/"<>\\^`{|}[]@:', b""),
    ],
)
def test_other_target_forms(start: bytes, target: bytes, authority: bytes) -> None:
    found = head_of(request(start=start))[1]
    assert (found["target"], found["authority"]) == (target, authority)


@pytest.mark.parametrize("method", [b"GET", b"QUERY", b"!#$%&'*+-.^_`|~09azAZ", b"M" * 64, b"get"])
def test_methods_are_any_tokens(method: bytes) -> None:
    assert head_of(request(start=method + b" / HTTP/1.1"))[1]["method"] == method


@pytest.mark.parametrize("byte", [0x09, *range(0x20, 0x7F), *range(0x80, 0x100)])
def test_what_a_value_may_hold(byte: int) -> None:
    value = b"x" * 18 + bytes([byte]) + b"y" * 18
    assert read(request(b"A: " + value)).events[0][2][1] == (b"a", value)


@pytest.mark.parametrize(
    "value",
    [b"a", b"a:80", b"a:", b"127.0.0.1:1", b"[::1]", b"[::ffff:1.2.3.4]:65535", b"A-b_c~d.e", b"%41", b"a,b", b""],
)
def test_hosts(value: bytes) -> None:
    assert head_of(request(b"Host: " + value, host=False))[2] == [(b"host", value)]


@pytest.mark.parametrize(
    ("fields", "minor", "expected"),
    [
        ([], 1, True),
        ([], 0, False),
        ([b"Connection: close"], 1, False),
        ([b"Connection: CLOSE"], 1, False),
        ([b"Connection: keep-alive"], 0, True),
        ([b"connection: Keep-Alive"], 0, True),
        ([b"Connection: keep-alive, close"], 1, False),
        ([b"Connection: foo ,\tclose,"], 1, False),
        ([b"Connection: keep-alive", b"Connection: close"], 0, False),
        ([b"Connection: closed"], 1, True),
        ([b"Proxy-Connection: keep-alive"], 0, False),
    ],
)
def test_keep_alive(fields: list[bytes], minor: int, expected: bool) -> None:
    """RFC 9112, 9.3."""
    framing = framing_of(request(*fields, start=b"GET / HTTP/1.%d" % minor))
    assert (framing["minor"], framing["keep_alive"]) == (minor, expected)


def test_nothing_is_read_behind_the_last_message() -> None:
    """RFC 9112, 9.6: no request behind one that says close."""
    outcome = read_every_way(request(b"Connection: close") + request() + b"\x00garbage")
    assert [event[0] for event in outcome.events] == ["head", "end"]
    assert (outcome.end, outcome.unread) == ("clean", b"")


@pytest.mark.parametrize(
    ("fields", "minor", "expected"),
    [
        ([b"Connection: Upgrade", b"Upgrade: websocket"], 1, True),
        ([b"Upgrade: websocket", b"Connection: keep-alive, upgrade"], 1, True),
        ([b"Upgrade: websocket"], 1, False),
        ([b"Connection: upgrade"], 1, False),
        ([b"Connection: upgrade", b"Upgrade: websocket"], 0, False),
    ],
)
def test_upgrade(fields: list[bytes], minor: int, expected: bool) -> None:
    """RFC 9110, 7.8: a server ignores Upgrade in HTTP/1.0."""
    assert framing_of(request(*fields, start=b"GET / HTTP/1.%d" % minor))["upgrade"] is expected


@pytest.mark.parametrize(
    ("fields", "minor", "expected"),
    [
        ([b"Expect: 100-continue", b"Content-Length: 1"], 1, True),
        ([b"expect: 100-Continue", b"Transfer-Encoding: chunked"], 1, True),
        ([b"Expect: 100-continue", b"Content-Length: 1"], 0, False),
        ([b"Expect: 100-continue"], 1, False),
        ([b"Content-Length: 1"], 1, False),
    ],
)
def test_expect_continue(fields: list[bytes], minor: int, expected: bool) -> None:
    """RFC 9110, 10.1.1."""
    framing = read_every_way(request(*fields, start=b"GET / HTTP/1.%d" % minor)).events[0][3]
    assert framing["expect_continue"] is expected


def test_http_1_0_needs_no_host() -> None:
    assert framing_of(b"GET / HTTP/1.0\r\n\r\n")["minor"] == 0


def test_has_host_tells_an_empty_one_from_none() -> None:
    for data, expected in ((b"GET / HTTP/1.0\r\n\r\n", False), (b"GET / HTTP/1.1\r\nHost:\r\n\r\n", True)):
        reader = Reader()
        reader.events(data)
        assert reader.has_host is expected


# ---- the end of the input ----


@pytest.mark.parametrize(
    ("data", "end"),
    [
        (b"", "clean"),
        (request(), "clean"),
        (request() + b"\r\n", "clean"),
        (b"G", "failed"),
        (request()[:-1], "failed"),
        (request(b"Content-Length: 2", body=b"a"), "failed"),
        (request(b"Content-Length: 2", body=b"ab"), "clean"),
        (request(b"Transfer-Encoding: chunked", body=b"1\r\na\r\n"), "failed"),
        (request(b"Transfer-Encoding: chunked", body=b"1\r\na\r\n0\r\n"), "failed"),
        (request(b"Transfer-Encoding: chunked", body=b"1\r\na\r\n0\r\n\r\n"), "clean"),
    ],
)
def test_the_end_of_the_input(data: bytes, end: str) -> None:
    assert read_every_way(data).end == end


def test_a_failure_stays() -> None:
    reader = Reader()
    first = reader.events(b"GET / HTTP/2.0\r\n")
    assert first == reader.events(request()) == [("failed", 505, first[0][2])]
    assert reader.error_status == 505


def test_not_http_stays() -> None:
    reader = Reader()
    assert reader.events(b"\x00") == reader.events(request()) == [("not_http",)]


# ---- responses ----


def response(*lines: bytes, start: bytes = b"HTTP/1.1 200 OK", body: bytes = b"") -> bytes:
    return b"\r\n".join([start, *lines, b"", b""]) + body


def test_a_response() -> None:
    data = response(b"Content-Length: 2", body=b"hi") + response(b"Content-Length: 0", start=b"HTTP/1.1 404 Not Found")
    events = read_every_way(data, client=True).events
    assert [event[0] for event in events] == ["head", "data", "end", "head", "end"]
    assert events[0][1]["status"] == 200
    assert events[0][1]["target"] == b"OK"
    assert events[3][1]["status"] == 404


@pytest.mark.parametrize("line", [b"HTTP/1.1 200 ", b"HTTP/1.1 200", b"HTTP/1.0 200 \xc3\xa4\tb"])
def test_reason_phrases(line: bytes) -> None:
    """RFC 9112, 4: may be empty; the SP before an empty one is often left out."""
    start = head_of(response(b"Content-Length: 0", start=line), client=True)[1]
    assert (start["status"], start["target"]) == (200, line[13:])


def test_interim_responses_have_no_end() -> None:
    """RFC 9110, 15.2."""
    data = response(start=b"HTTP/1.1 100 Continue") + response(b"Link: x", start=b"HTTP/1.1 103 Early Hints")
    outcome = read_every_way(data + response(b"Content-Length: 0"), client=True)
    assert [event[0] for event in outcome.events] == ["head", "head", "head", "end"]
    assert read_every_way(data, client=True).end == "failed"


def test_interim_responses_are_bounded() -> None:
    interim = response(start=b"HTTP/1.1 102 x")
    assert read(interim * 16 + response(b"Content-Length: 0"), client=True).events[-1][0] == "end"
    assert read(interim * 17, client=True).events[-1][:2] == ("failed", 502)


@pytest.mark.parametrize("status", [204, 304])
def test_statuses_without_body(status: int) -> None:
    """RFC 9112, 6.3, rule 1."""
    data = response(b"Content-Length: 5", start=b"HTTP/1.1 %d x" % status) + response(b"Content-Length: 0")
    events = read_every_way(data, client=True).events
    assert [event[0] for event in events] == ["head", "end"] * 2
    assert (events[0][3]["body"], events[0][3]["content_length"]) == ("none", 5)


def test_answers_to_head_have_no_body() -> None:
    events = read_every_way(response(b"Transfer-Encoding: chunked") * 2, client=True, method=b"HEAD").events
    assert [event[0] for event in events] == ["head", "end"] * 2


def test_a_body_until_the_end_of_the_input() -> None:
    """RFC 9112, 6.3, rule 8."""
    outcome = read_every_way(response(body=b"HTTP/1.1 200 OK\r\n\r\n"), client=True)
    assert outcome.events[1:] == [("data", b"HTTP/1.1 200 OK\r\n\r\n")]
    assert outcome.end == "end"
    framing = outcome.events[0][3]
    assert (framing["body"], framing["keep_alive"]) == ("until-close", False)


@pytest.mark.parametrize(
    ("start", "method"), [(b"HTTP/1.1 101 Switching Protocols", b"GET"), (b"HTTP/1.1 200 OK", b"CONNECT")]
)
def test_what_follows_a_switch_is_left_alone(start: bytes, method: bytes) -> None:
    """RFC 9110, 7.8 and 9.3.6; the length of a 2xx to CONNECT is ignored."""
    data = response(b"Content-Length: 3", start=start, body=b"\x81\x00rest")
    outcome = read_every_way(data, client=True, method=method)
    assert [event[0] for event in outcome.events] == ["head", "end"]
    assert (outcome.end, outcome.unread) == ("clean", b"\x81\x00rest")


def test_a_refused_connect_has_a_body() -> None:
    data = response(b"Transfer-Encoding: chunked", start=b"HTTP/1.1 403 No", body=b"1\r\na\r\n0\r\n\r\n")
    outcome = read_every_way(
        data + response(b"Content-Length: 0", start=b"HTTP/1.1 500 x"), client=True, method=b"CONNECT"
    )
    assert [event[0] for event in outcome.events] == ["head", "data", "end", "head", "end"]


@pytest.mark.parametrize(
    "data",
    [
        b"HTTX",
        b"HTTP/2.0 200 OK\r\n\r\n",
        b"HTTP/1.2 200 OK\r\n\r\n",
        b"HTTP/1.1  200 OK\r\n\r\n",
        b"HTTP/1.1 20 OK\r\n\r\n",
        b"HTTP/1.1 2000 OK\r\n\r\n",
        b"HTTP/1.1 099 OK\r\n\r\n",
        b"HTTP/1.1 200OK\r\n\r\n",
        b"HTTP/1.1\t200 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\n\r\n",
        b"HTTP/1.1 200 O\x00K\r\n\r\n",
        b"\r\nHTTP/1.1 200 OK\r\n\r\n",
        response(b"Content-Length: 1", b"Transfer-Encoding: chunked"),
        response(b"Content-Length: 1", b"Content-Length: 1"),
        response(b"Transfer-Encoding: gzip"),
        response(b"Transfer-Encoding: chunked", start=b"HTTP/1.0 200 OK"),
        response(b"A : b"),
        response(b"A: b", b" c"),
    ],
)
def test_responses_that_are_refused(data: bytes) -> None:
    assert error_of(data, client=True) == 400


# ---- any request that the writer makes is read back ----

TOKEN = st.text("!#$%&'*+-.^_`|~0123456789abcxyzABCXYZ", min_size=1, max_size=40).map(str.encode)
VALUE = st.binary(max_size=60).map(lambda b: bytes(c for c in b if c == 9 or 32 <= c != 127).strip(b" \t"))
TARGET = st.binary(max_size=60).map(lambda b: b"/" + bytes(c for c in b if 33 <= c < 127 and c != 35))
MEANINGFUL = {b"host", b"content-length", b"transfer-encoding", b"connection", b"upgrade", b"expect"}
FORBIDDEN_LATE = MEANINGFUL | {b"te", b"range", b"cookie"}
FIELDS = st.lists(st.tuples(TOKEN.filter(lambda n: n.lower() not in FORBIDDEN_LATE), VALUE), max_size=20)


@settings(max_examples=150, deadline=None)
@given(
    method=TOKEN.filter(lambda m: m not in (b"CONNECT", b"OPTIONS")),
    target=TARGET,
    fields=FIELDS,
    chunks=st.none() | st.lists(st.binary(min_size=1, max_size=50), max_size=5),
    trailers=FIELDS,
    cuts=st.lists(st.integers(0, 2000), max_size=6),
)
def test_what_the_writer_writes_is_read_back(
    method: bytes,
    target: bytes,
    fields: list[tuple[bytes, bytes]],
    chunks: list[bytes] | None,
    trailers: list[tuple[bytes, bytes]],
    cuts: list[int],
) -> None:
    writer = Writer()
    writer.request_line(method, target)
    writer.field(b"Host", b"a")
    for name, value in fields:
        writer.field(name, value)
    if chunks is not None:
        writer.field(b"Transfer-Encoding", b"chunked")
        writer.end()
        for chunk in chunks:
            writer.chunk(chunk)
        writer.trailers_begin()
        for name, value in trailers:
            writer.field(name, value)
    writer.end()
    data = writer.take()
    places = sorted({0, len(data), *(cut % len(data) for cut in cuts)})
    whole = read(data)
    assert whole == read([data[a:b] for a, b in pairwise(places)]) == read(bytewise(data))
    head, end = whole.events[0], whole.events[-1]
    assert (head[1]["method"], head[1]["target"]) == (method, target)
    assert [f for f in head[2] if f[0] not in MEANINGFUL] == [(name.lower(), value) for name, value in fields]
    assert body_of(whole.events) == b"".join(chunks or [])
    assert end == ("end", [(n.lower(), v) for n, v in trailers] if chunks is not None and trailers else None)


# ---- cost and limits ----


def test_fields_of_a_head_in_pieces() -> None:
    """They survive between calls, also above those kept on the stack."""
    fields = [b"Name-%d: %s" % (i, b"v" * (i % 40)) for i in range(600)]
    data = request(*fields)
    limits = Limits(fields=1000)
    whole = read(data, limits=limits)
    assert len(whole.events[0][2]) == 601
    assert read([data[i : i + 7] for i in range(0, len(data), 7)], limits=limits) == whole


def test_readers_share_nothing() -> None:
    """Two connections byte by byte in turn: what one has read of a section must not be the other's."""

    def message(name: bytes, count: int) -> bytes:
        fields = [b"%s-%d: %s" % (name, i, name * i) for i in range(count)]
        body = b"1\r\na\r\n0\r\n" + b"".join(field + b"\r\n" for field in fields) + b"\r\n"
        return request(b"Transfer-Encoding: chunked", *fields, body=body)

    inputs = [message(b"First", 12), message(b"2nd", 30)]
    readers = [Reader(), Reader()]
    events: list[list[Event]] = [[], []]
    for place in range(max(map(len, inputs))):
        for i in range(2):
            events[i] += readers[i].events(inputs[i][place : place + 1])
    assert events == [read(data).events for data in inputs]


ROOMY = Limits(request_line=1 << 20, head=1 << 20, fields=1024, chunk_extensions=1 << 20, trailers=1 << 20)
CHUNKED = request(b"Transfer-Encoding: chunked", start=b"POST / HTTP/1.1")


@pytest.mark.parametrize(
    "grown",
    [
        pytest.param(lambda n: request(start=b"GET /" + b"a" * n + b" HTTP/1.1"), id="target"),
        pytest.param(lambda n: request(b"A: " + b"a" * n), id="value"),
        pytest.param(lambda n: request(b"A" * n + b": a"), id="name"),
        pytest.param(lambda n: request(*[b"A: " + b"a" * (n // 500)] * 500), id="fields"),
        pytest.param(lambda n: CHUNKED + b"0;a=" + b"a" * n + b"\r\n\r\n", id="extension"),
        pytest.param(lambda n: CHUNKED + b"0\r\nA: " + b"a" * n + b"\r\n\r\n", id="trailer"),
    ],
)
def test_trickling_costs_in_proportion(grown: Callable[[int], bytes]) -> None:
    """Eight times the bytes, one at a time: eight times the time, where searching again would take 64 times."""

    def cost(size: int) -> float:
        data, best = grown(size), float("inf")
        for _ in range(5):
            begin = thread_time()
            assert Reader(ROOMY).run(data, 1) == 1
            best = min(best, thread_time() - begin)
        return best

    assert cost(400_000) < 24 * cost(50_000)


def test_many_requests_on_one_reader() -> None:
    assert Reader().run(request(b"A: b") * 1000) == 1000


def test_a_cleared_reader_is_as_new() -> None:
    reader = Reader()
    assert reader.events(request(b"Content-Length: 9", body=b"abc"))[-1] == ("data", b"abc")
    assert reader.events(b"defghi" + request()[:20])[-1] == ("end", None)
    reader.clear()
    assert (reader.head, reader.unread, reader.finish()) == (None, b"", "clean")
    assert reader.events(request(b"A: b")) == Reader().events(request(b"A: b"))
    reader.clear()
    assert reader.events(b"INVALID CONNECTION PREFACE\r\n") == [("not_http",)]
    reader.clear()
    assert [event[0] for event in reader.events(request())] == ["head", "end"]


@pytest.mark.parametrize(
    "wrong",
    [
        {"request_line": 127},
        {"head": 1000},
        {"fields": 0},
        {"fields": 1025},
        {"trailers": 1},
        {"chunk_extensions": -1},
        {"head": 1 << 40},
        {"head": 10.0},
        {"request_line": "8192"},
    ],
)
def test_limits_are_checked(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Limits(**wrong)


def test_default_limits() -> None:
    limits = Limits()
    assert (limits.request_line, limits.head, limits.fields) == (8192, 65536, 128)
    assert (limits.chunk_extensions, limits.trailers) == (16384, 8192)
