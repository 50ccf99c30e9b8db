"""permessage-deflate in the hand-shake: RFC 7692, sections 5 and 7.1, and the grammar of RFC 6455, section 9.1."""

import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory, ServerPerMessageDeflateFactory
from websockets.headers import parse_extension

from fastnet_ext.websocket.extensions import NAME, PerMessageDeflate, accept, agree, extensions, offer
from fastnet_ext.websocket.handshake import request_problem, response_problem

BOTH = PerMessageDeflate(server_no_context_takeover=False, client_no_context_takeover=False)


class TestGrammar:
    @pytest.mark.parametrize(
        ("field", "expected"),
        [
            ("", []),
            ("permessage-deflate", [("permessage-deflate", [])]),
            ("a, b", [("a", []), ("b", [])]),
            ("a ;x ; y=1\t,\tb", [("a", [("x", None), ("y", "1")]), ("b", [])]),
            ('a; x = "1"; y="\\1\\2"', [("a", [("x", "1"), ("y", "12")])]),
            (", a,, b,", [("a", []), ("b", [])]),
        ],
    )
    def test_what_is_read(self, field: str, expected: object) -> None:
        assert extensions(field) == expected

    @pytest.mark.parametrize(
        "field",
        [";", "a;", "a;;b", "a b", "a=1", "a; b=", 'a; b="', 'a; b=""', 'a; b="x y"', 'a; b="x"y', "a; =1", "ä", "a/b"],
    )
    def test_what_is_malformed(self, field: str) -> None:
        with pytest.raises(ValueError):
            extensions(field)

    def test_a_malformed_field_is_no_hand_shake(self) -> None:
        fields = [
            (b"upgrade", b"websocket"),
            (b"connection", b"upgrade"),
            (b"sec-websocket-key", b"dGhlIHNhbXBsZSBub25jZQ=="),
            (b"sec-websocket-version", b"13"),
        ]
        assert request_problem([*fields, (b"sec-websocket-extensions", b"x; y, permessage-deflate")]) is None
        problem = request_problem([*fields, (b"sec-websocket-extensions", b"permessage-deflate; =")])
        assert problem == (400, "Sec-WebSocket-Extensions is not a list of extensions")

    @given(st.text(alphabet='ab,;= "\\\t', max_size=30))
    @settings(max_examples=300, deadline=None)
    def test_any_text_is_read_as_websockets_reads_it(self, field: str) -> None:
        try:
            theirs: Any = [
                (str(name), [(str(key), value) for key, value in found])
                for name, found in parse_extension(field.strip(" \t"))
            ]
        except Exception:
            theirs = None
        try:
            ours = extensions(field)
        except ValueError:
            ours = None
        # websockets wants at least one element, and knows no blanks around "=".
        if not (re.fullmatch(r"[ \t,]*", field) or re.search(r"[ \t]=|=[ \t]", field)):
            assert ours == theirs


class TestServer:
    @pytest.mark.parametrize(
        ("offered", "answer"),
        [
            ("permessage-deflate", "permessage-deflate"),
            ("permessage-deflate; server_no_context_takeover", "permessage-deflate; server_no_context_takeover"),
            ("permessage-deflate; client_no_context_takeover", "permessage-deflate; client_no_context_takeover"),
            ("permessage-deflate; server_max_window_bits=10", "permessage-deflate; server_max_window_bits=10"),
            ('permessage-deflate; server_max_window_bits="10"', "permessage-deflate; server_max_window_bits=10"),
            ("permessage-deflate; client_max_window_bits", "permessage-deflate"),
            ("permessage-deflate; client_max_window_bits=8", "permessage-deflate; client_max_window_bits=8"),
            ("permessage-deflate; client_max_window_bits=15", "permessage-deflate"),
            # 7.1.2.1: whoever offers it is answered, though there is nothing to narrow.
            ("permessage-deflate; server_max_window_bits=15", "permessage-deflate; server_max_window_bits=15"),
            # What zlib cannot do is declined, and the next offer taken.
            ("permessage-deflate; server_max_window_bits=8, permessage-deflate", "permessage-deflate"),
            ("x-webkit-deflate-frame, permessage-deflate", "permessage-deflate"),
        ],
    )
    def test_what_is_accepted(self, offered: str, answer: str) -> None:
        agreement = accept(offered, BOTH)
        assert agreement is not None
        assert agreement.field == answer

    @pytest.mark.parametrize(
        "parameters",
        [
            *("server_no_context_takeover=1", "client_no_context_takeover=x", "server_max_window_bits", "unknown"),
            *(f"server_max_window_bits={value}" for value in ("7", "16", "08", "010", "+9", "9.0", "x", "8")),
            *(f"client_max_window_bits={value}" for value in ("7", "16", "09", "0")),
            *(
                "server_no_context_takeover; server_no_context_takeover",
                "client_max_window_bits; client_max_window_bits",
            ),
            *("server_max_window_bits=10; server_max_window_bits=10", "SERVER_NO_CONTEXT_TAKEOVER"),
        ],
    )
    def test_what_is_declined(self, parameters: str) -> None:
        assert accept(f"permessage-deflate; {parameters}", BOTH) is None
        fallback = accept(f"permessage-deflate; {parameters}, permessage-deflate; server_max_window_bits=12", BOTH)
        assert fallback is not None
        assert fallback.server_max_window_bits == 12

    def test_other_extensions_are_declined(self) -> None:
        assert accept("permessage-bzip2, x; y=1", BOTH) is None

    def test_what_the_server_wants_itself(self) -> None:
        wanted = PerMessageDeflate(server_max_window_bits=12, client_max_window_bits=11)
        agreement = accept("permessage-deflate; client_max_window_bits", wanted)
        assert agreement is not None
        assert agreement.field == (
            "permessage-deflate; server_no_context_takeover; client_no_context_takeover; "
            "server_max_window_bits=12; client_max_window_bits=11"
        )
        # A client that does not name client_max_window_bits cannot be told (7.1.2.2).
        agreement = accept("permessage-deflate", wanted)
        assert agreement is not None
        assert "client_max_window_bits" not in agreement.field
        assert agreement.client_max_window_bits == 15

    @pytest.mark.parametrize(
        "wrong",
        [
            {"server_max_window_bits": 8},
            {"client_max_window_bits": 16},
            {"level": 0},
            {"level": 10},
            {"memory_level": 0},
            {"memory_level": 10},
            {"min_size": 0},
        ],
    )
    def test_settings_that_there_are_not(self, wrong: dict[str, int]) -> None:
        with pytest.raises(ValueError, match=next(iter(wrong))):
            PerMessageDeflate(**wrong)  # type: ignore[arg-type]


class TestClient:
    def test_what_is_offered(self) -> None:
        assert offer(BOTH) == "permessage-deflate; client_max_window_bits"
        assert offer(PerMessageDeflate(server_max_window_bits=10, client_max_window_bits=9)) == (
            "permessage-deflate; server_no_context_takeover; client_no_context_takeover; "
            "server_max_window_bits=10; client_max_window_bits=9"
        )

    def test_no_answer_is_no_compression(self) -> None:
        assert agree(None, BOTH) is None

    def test_what_the_answer_says_holds(self) -> None:
        agreement = agree("permessage-deflate; client_no_context_takeover; server_max_window_bits=8", BOTH)
        assert agreement is not None
        assert agreement.client_no_context_takeover
        assert not agreement.server_no_context_takeover
        assert agreement.server_max_window_bits == 8
        assert agreement.client_max_window_bits == 15

    @pytest.mark.parametrize(
        ("answer", "wanted"),
        [
            ("permessage-bzip2", BOTH),
            ("permessage-deflate, permessage-deflate", BOTH),
            ("permessage-deflate; client_max_window_bits", BOTH),
            ("permessage-deflate; unknown", BOTH),
            ("permessage-deflate; server_max_window_bits=16", BOTH),
            ("permessage-deflate;", BOTH),
            ("", BOTH),
            ("permessage-deflate", PerMessageDeflate()),
            ("permessage-deflate", PerMessageDeflate(server_no_context_takeover=False, server_max_window_bits=12)),
            (
                "permessage-deflate; server_max_window_bits=13",
                PerMessageDeflate(server_no_context_takeover=False, server_max_window_bits=12),
            ),
            (
                "permessage-deflate; client_max_window_bits=13",
                PerMessageDeflate(server_no_context_takeover=False, client_max_window_bits=12),
            ),
        ],
    )
    def test_answers_that_fail_the_connection(self, answer: str, wanted: PerMessageDeflate) -> None:
        with pytest.raises(ValueError):
            agree(answer, wanted)
        fields = [
            (b"upgrade", b"websocket"),
            (b"connection", b"upgrade"),
            (b"sec-websocket-accept", b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="),
            (b"sec-websocket-extensions", answer.encode()),
        ]
        assert response_problem(fields, b"dGhlIHNhbXBsZSBub25jZQ==", compression=wanted) == (
            "the server's Sec-WebSocket-Extensions do not answer the offer"
        )
        assert response_problem(fields, b"dGhlIHNhbXBsZSBub25jZQ==") is not None
        assert response_problem(fields[:3], b"dGhlIHNhbXBsZSBub25jZQ==", compression=wanted) is None


wanted = st.builds(
    PerMessageDeflate,
    server_no_context_takeover=st.booleans(),
    client_no_context_takeover=st.booleans(),
    server_max_window_bits=st.integers(9, 15),
    client_max_window_bits=st.integers(9, 15),
)


@given(wanted, wanted)
@settings(max_examples=200, deadline=None)
def test_both_ends_of_ours_agree(client: PerMessageDeflate, server: PerMessageDeflate) -> None:
    at_server = accept(offer(client), server)
    assert at_server is not None
    at_client = agree(at_server.field, client)
    assert at_client is not None
    assert at_client.field == at_server.field
    assert at_client.server_max_window_bits <= min(client.server_max_window_bits, server.server_max_window_bits)
    assert at_client.client_max_window_bits <= min(client.client_max_window_bits, server.client_max_window_bits)


def _field(parameters: Any) -> str:
    return "; ".join([NAME, *(name if value is None else f"{name}={value}" for name, value in parameters)])


@given(wanted, st.booleans(), st.booleans(), st.integers(9, 15), st.integers(9, 15))
@settings(max_examples=100, deadline=None)
def test_websockets_as_the_other_end_agrees(
    ours: PerMessageDeflate, server_forgets: bool, client_forgets: bool, server_bits: int, client_bits: int
) -> None:
    client = ClientPerMessageDeflateFactory(server_forgets, client_forgets, server_bits, client_bits)
    agreement = accept(_field(client.get_request_params()), ours)
    assert agreement is not None
    theirs = client.process_response_params(extensions(agreement.field)[0][1], [])
    assert theirs.remote_no_context_takeover == agreement.server_no_context_takeover
    assert theirs.local_no_context_takeover == agreement.client_no_context_takeover
    assert theirs.remote_max_window_bits == agreement.server_max_window_bits
    assert theirs.local_max_window_bits == agreement.client_max_window_bits

    server = ServerPerMessageDeflateFactory(server_forgets, client_forgets, server_bits, client_bits)
    parameters, extension = server.process_request_params(extensions(offer(ours))[0][1], [])
    found = agree(_field(parameters), ours)
    assert found is not None
    assert extension.remote_no_context_takeover <= found.client_no_context_takeover
    assert extension.local_no_context_takeover == found.server_no_context_takeover
    assert extension.remote_max_window_bits >= found.client_max_window_bits
    assert extension.local_max_window_bits == found.server_max_window_bits
