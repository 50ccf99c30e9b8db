"""The small values that handlers see."""

import ssl
from typing import Any, cast

import pytest

from fastnet_ext.exchange.values import Address, State, TLSInfo


def test_state() -> None:
    state = State({"a": 1})
    state.b = 2
    assert (state.a, state.b, "a" in state, "c" in state, sorted(state)) == (1, 2, True, False, ["a", "b"])
    del state.a
    with pytest.raises(AttributeError, match=r"state\.a"):
        _ = state.a
    assert getattr(state, "a", None) is None
    assert repr(state) == "State({'b': 2})"


def test_address() -> None:
    assert Address("h", 1) == ("h", 1)


class Tls:
    """As much of ssl.SSLObject as is read."""

    session_reused = True

    def __init__(self, certificate: dict[str, Any] | None = None) -> None:
        self.certificate = certificate
        self.asked = 0

    def version(self) -> str:
        return "TLSv1.3"

    def cipher(self) -> tuple[str, str, int]:
        return ("TLS_AES_256_GCM_SHA384", "TLSv1.3", 256)

    def selected_alpn_protocol(self) -> str:
        return "h2"

    def getpeercert(self, binary: bool = False) -> Any:
        self.asked += 1
        if binary:
            return None if self.certificate is None else b"der"
        return self.certificate

    def get_verified_chain(self) -> list[bytes]:
        return [b"der", b"authority"]


def info(source: Tls) -> TLSInfo:
    return TLSInfo(cast(ssl.SSLObject, source))


def test_tls_is_read_when_it_is_asked_for() -> None:
    source = Tls({"subject": (), "subjectAltName": (("URI", "spiffe://b"),)})
    found = info(source)
    assert (found.version, found.cipher, found.alpn) == ("TLSv1.3", "TLS_AES_256_GCM_SHA384", "h2")
    assert (found.server_name, found.resumed) == (None, True)
    assert source.asked == 0
    assert found.subject_alternative_names == (("URI", "spiffe://b"),)
    assert (found.peer_certificate, found.peer_certificate) == (source.certificate, source.certificate)
    assert source.asked == 1
    assert (found.peer_certificate_der, found.peer_chain) == (b"der", [b"der", b"authority"])
    assert repr(found) == "TLSInfo(TLSv1.3, TLS_AES_256_GCM_SHA384, alpn='h2', subject='')"


def test_no_certificate() -> None:
    nothings: tuple[dict[str, Any] | None, ...] = (None, {})
    for nothing in nothings:
        found = info(Tls(nothing))
        assert (found.peer_certificate, found.subject, found.subject_alternative_names) == (None, "", ())
    assert info(Tls()).peer_chain == []


@pytest.mark.parametrize(
    ("subject", "text"),
    [
        # RFC 4514, 2.1: the last comes first.
        (((("countryName", "XX"),), (("organizationName", "x"),), (("commonName", "alice"),)), "CN=alice,O=x,C=XX"),
        (((("commonName", "a"), ("serialNumber", "1")),), "CN=a+serialNumber=1"),
        (((("commonName", 'a,b+"c"<d>;\\'),),), 'CN=a\\,b\\+\\"c\\"\\<d\\>\\;\\\\'),
        (((("commonName", " a "),),), "CN=\\ a\\ "),
        (((("commonName", "#a"),),), "CN=\\#a"),
        (((("commonName", " "),),), "CN=\\ "),
        (((("commonName", "a=b,CN=root"),),), "CN=a=b\\,CN=root"),
    ],
)
def test_subject(subject: Any, text: str) -> None:
    assert info(Tls({"subject": subject})).subject == text
