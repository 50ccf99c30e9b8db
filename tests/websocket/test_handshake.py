"""The opening hand-shake: RFC 6455, section 4, RFC 8441, section 5, and the Origin rule."""

import base64

import pytest

from fastnet_ext.websocket.handshake import (
    accept,
    choose,
    is_same_origin,
    new_key,
    offers,
    request_problem,
    response_problem,
)

KEY = b"dGhlIHNhbXBsZSBub25jZQ=="
ACCEPT = b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="

REQUEST = {
    b"host": b"example.com",
    b"upgrade": b"websocket",
    b"connection": b"Upgrade",
    b"sec-websocket-key": KEY,
    b"sec-websocket-version": b"13",
}
RESPONSE = {b"upgrade": b"websocket", b"connection": b"Upgrade", b"sec-websocket-accept": ACCEPT}


def changed(fields: dict[bytes, bytes], name: bytes, value: bytes | None) -> list[tuple[bytes, bytes]]:
    """The fields with one of them replaced, or left out for None."""
    pairs = [(key, content) for key, content in fields.items() if key != name]
    return pairs if value is None else [*pairs, (name, value)]


def problem_status(fields: list[tuple[bytes, bytes]], *, upgrade: bool = True, method: bytes = b"GET") -> int:
    problem = request_problem(fields, upgrade=upgrade, method=method)
    return problem[0] if problem else 0


class TestRequest:
    """Section 4.2.1."""

    def test_the_example_of_section_1_2(self) -> None:
        assert request_problem(REQUEST.items()) is None
        assert accept(KEY) == ACCEPT

    @pytest.mark.parametrize("value", [b"WebSocket", b"websocket, h2c", b"h2c ,\tWEBSOCKET"])
    def test_upgrade_is_a_list_in_any_case(self, value: bytes) -> None:
        assert problem_status(changed(REQUEST, b"upgrade", value)) == 0

    @pytest.mark.parametrize("value", [b"keep-alive, Upgrade", b"upgrade", b"a,b,upgrade,c", b"UPGRADE "])
    def test_connection_is_a_list_in_any_case(self, value: bytes) -> None:
        assert problem_status(changed(REQUEST, b"connection", value)) == 0

    def test_connection_in_two_fields(self) -> None:
        assert problem_status([*changed(REQUEST, b"connection", b"keep-alive"), (b"connection", b"upgrade")]) == 0

    @pytest.mark.parametrize("name", [b"upgrade", b"connection"])
    @pytest.mark.parametrize("value", [None, b"", b"h2c", b"websockets", b"xupgrade", b"upgrade websocket"])
    def test_no_upgrade_is_426(self, name: bytes, value: bytes | None) -> None:
        assert problem_status(changed(REQUEST, name, value)) == 426

    @pytest.mark.parametrize("method", [b"POST", b"HEAD", b"CONNECT", b"get", b"BREW"])
    def test_another_method_is_405(self, method: bytes) -> None:
        assert problem_status(list(REQUEST.items()), method=method) == 405

    @pytest.mark.parametrize("value", [None, b"", b"8", b"12", b"013", b"13, 8", b"13.0"])
    def test_another_version_is_426(self, value: bytes | None) -> None:
        assert problem_status(changed(REQUEST, b"sec-websocket-version", value)) == 426

    def test_two_versions_are_400(self) -> None:
        assert problem_status([*REQUEST.items(), (b"sec-websocket-version", b"13")]) == 400

    @pytest.mark.parametrize(
        "value",
        [
            None,
            b"",
            b"AAAA",
            base64.b64encode(bytes(15)),
            base64.b64encode(bytes(17)),
            base64.b64encode(bytes(18)),
            KEY.rstrip(b"="),
            KEY.replace(b"d", b"-"),
            KEY[:-1] + b"A",
            b"=" * 24,
        ],
    )
    def test_a_key_that_is_none_is_400(self, value: bytes | None) -> None:
        assert problem_status(changed(REQUEST, b"sec-websocket-key", value)) == 400

    def test_two_keys_are_400(self) -> None:
        assert problem_status([*REQUEST.items(), (b"sec-websocket-key", KEY)]) == 400

    @pytest.mark.parametrize("value", [b"chat, chat", b"a,,b", b"", b"a b", b"a,", b"ch(at)"])
    def test_malformed_subprotocols_are_400(self, value: bytes) -> None:
        assert problem_status([*REQUEST.items(), (b"sec-websocket-protocol", value)]) == 400

    def test_over_http2_there_is_no_key_and_no_upgrade(self) -> None:
        fields = [(b"sec-websocket-version", b"13")]
        assert problem_status(fields, method=b"CONNECT", upgrade=False) == 0
        assert problem_status(fields, method=b"GET", upgrade=False) == 400
        assert problem_status([(b"sec-websocket-version", b"8")], method=b"CONNECT", upgrade=False) == 426
        assert problem_status([], method=b"CONNECT", upgrade=False) == 426


class TestSubprotocols:
    def test_offers_in_order_over_several_fields(self) -> None:
        fields = [(b"sec-websocket-protocol", b"chat, superchat"), (b"sec-websocket-protocol", b"graphql-ws")]
        assert offers(fields) == ["chat", "superchat", "graphql-ws"]
        assert offers([]) == []

    def test_our_order_decides(self) -> None:
        fields = [(b"sec-websocket-protocol", b"a, b, c")]
        assert choose(fields, ["x", "c", "a"]) == "c"
        assert choose(fields, ["x", "C"]) is None
        assert choose(fields, []) is None
        assert choose([], ["a"]) is None


class TestOrigin:
    @pytest.mark.parametrize(
        ("origin", "host"),
        [
            (b"http://example.com", b"example.com"),
            (b"https://example.com", b"example.com"),
            (b"https://EXAMPLE.com", b"example.COM"),
            (b"https://example.com", b"example.com:443"),
            (b"https://example.com:443", b"example.com"),
            (b"http://example.com", b"example.com:80"),
            (b"http://localhost:8000", b"localhost:8000"),
            (b"http://[::1]:8000", b"[::1]:8000"),
            (b"http://[::1]", b"[::1]:80"),
        ],
    )
    def test_pages_of_the_same_host(self, origin: bytes, host: bytes) -> None:
        assert is_same_origin([(b"origin", origin), (b"host", host)])
        assert is_same_origin([(b"origin", origin)], authority=host)

    @pytest.mark.parametrize(
        ("origin", "host"),
        [
            (b"http://evil.com", b"example.com"),
            (b"http://example.com.evil.com", b"example.com"),
            (b"http://example.co", b"example.com"),
            (b"http://notexample.com", b"example.com"),
            (b"http://example.com:8080", b"example.com"),
            (b"http://example.com", b"example.com:8080"),
            (b"https://example.com", b"example.com:80"),
            (b"http://example.com:443", b"example.com"),
            (b"null", b"example.com"),
            (b"null", b"null"),
            (b"", b"example.com"),
            (b"http://", b""),
            (b"https://", b""),
            (b"example.com", b"example.com"),
            (b"chrome-extension://example.com", b"example.com"),
            (b"http://example.com/", b"example.com"),
        ],
    )
    def test_pages_of_another_host(self, origin: bytes, host: bytes) -> None:
        assert not is_same_origin([(b"origin", origin), (b"host", host)])

    def test_without_an_origin_it_is_no_browser(self) -> None:
        assert is_same_origin([(b"host", b"example.com")])

    def test_what_is_ambiguous_is_refused(self) -> None:
        good, host = (b"origin", b"http://example.com"), (b"host", b"example.com")
        assert not is_same_origin([good, (b"origin", b"http://evil.com"), host])
        assert not is_same_origin([good, host, (b"host", b"evil.com")])
        assert not is_same_origin([good])

    def test_the_authority_goes_before_the_host(self) -> None:
        fields = [(b"origin", b"http://example.com"), (b"host", b"evil.com")]
        assert is_same_origin(fields, authority=b"example.com")
        assert not is_same_origin([(b"origin", b"http://evil.com"), (b"host", b"evil.com")], authority=b"example.com")


class TestClient:
    """Section 4.1."""

    def test_keys_are_fresh_and_of_16_bytes(self) -> None:
        keys = {new_key() for _ in range(50)}
        assert len(keys) == 50
        assert all(len(base64.b64decode(key, validate=True)) == 16 for key in keys)
        assert all(problem_status(changed(REQUEST, b"sec-websocket-key", key)) == 0 for key in keys)

    def test_a_good_answer(self) -> None:
        assert response_problem(RESPONSE.items(), KEY) is None
        chosen = [*RESPONSE.items(), (b"sec-websocket-protocol", b"chat")]
        assert response_problem(chosen, KEY, ["chat", "other"]) is None

    @pytest.mark.parametrize("status", [200, 301, 401, 426, 500])
    def test_another_status(self, status: int) -> None:
        assert "switch" in (response_problem(RESPONSE.items(), KEY, status=status) or "")

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            (b"upgrade", None),
            (b"upgrade", b"h2c"),
            (b"connection", None),
            (b"connection", b"close"),
            (b"sec-websocket-accept", None),
            (b"sec-websocket-accept", ACCEPT.lower()),
            (b"sec-websocket-extensions", b"permessage-deflate"),
            (b"sec-websocket-protocol", b"chat"),
        ],
    )
    def test_an_answer_that_is_none(self, name: bytes, value: bytes | None) -> None:
        assert response_problem(changed(RESPONSE, name, value), KEY) is not None

    def test_two_subprotocols(self) -> None:
        fields = [*RESPONSE.items(), (b"sec-websocket-protocol", b"a"), (b"sec-websocket-protocol", b"b")]
        assert response_problem(fields, KEY, ["a", "b"]) is not None
