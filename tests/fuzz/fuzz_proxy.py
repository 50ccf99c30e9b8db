"""A mutation fuzzer for what proxies say: the PROXY protocol, Forwarded and X-Forwarded-*.

    python -m tests.fuzz.fuzz_proxy --seconds 60 --seed 1

Whatever the bytes: no exception; the same header however they are cut, and the rest untouched; a client that is
an address; and no claim of a client that gets past the address its proxy wrote behind it.
"""

import ipaddress
import random
import sys

from fastnet_ext.proxy.forwarded import Proxies, clean_prefix, forwarded_of
from fastnet_ext.proxy.protocol import ProxyHeader, read_header
from tests.fuzz.harness import corpus_of, main, mutations, pieces
from tests.proxy.headers import SIGNATURE, checked, inet, tls, tlv, v2

CORPUS = corpus_of("proxy")
LONGEST = 2048
PROXIES = Proxies(["10.0.0.0/8", "::1"])
FORWARDED = Proxies(["10.0.0.0/8", "::1"], headers="forwarded")
PIECES = [
    *(
        SIGNATURE,
        b"PROXY ",
        b"TCP4 ",
        b"UNKNOWN",
        b"\r\n",
        b"\x21\x11\x00\x0c",
        b"\x20\x00\x00\x00",
        inet(),
        tlv(4, b""),
    ),
    *(tlv(2, b"a.example"), tls(tlv(0x21, b"TLSv1.3")), checked(inet()), v2(inet("::1", "::2"), family=0x21)),
    *(
        b"for=",
        b'"',
        b",",
        b";",
        b"proto=https",
        b'host="',
        b"10.0.0.1",
        b"[::1]",
        b":80",
        b"unknown",
        b"_x",
        b"\\",
        b" ",
    ),
    *(b"/..", b"%2e", b"//", b"/a"),
]


def check(data: bytes, rng: random.Random) -> None:
    """All invariants of one input. AssertionError says which broke."""
    whole = read_header([data])
    for cut in (pieces(rng, data), [data[i : i + 1] for i in range(len(data))]):
        found = read_header(cut)
        assert (found[0], repr(found[1]), found[2]) == (whole[0], repr(whole[1]), whole[2])
    if whole[0] == "absent":
        assert whole[2] == data
    elif whole[0] == "header":
        assert isinstance(whole[1], ProxyHeader)
        assert data.endswith(whole[2])
    claim = data.translate(None, b"\r\n\0")
    for name, proxies, own in (
        (b"x-forwarded-for", PROXIES, b"192.0.2.1"),
        (b"forwarded", FORWARDED, b'for="192.0.2.1:5"'),
    ):
        alone = forwarded_of([(name, claim), *((b"x-forwarded-%s" % kind, claim) for kind in KINDS)], proxies)
        assert alone.host is None or ipaddress.ip_address(alone.host)
        assert alone.scheme in (None, "http", "https")
        assert alone.prefix is None or clean_prefix(alone.prefix) == alone.prefix
        assert forwarded_of([(name, claim), (name, own)], proxies).host == "192.0.2.1"
    assert forwarded_of([(b"x-forwarded-for", claim + b"," + b"192.0.2.1")], PROXIES).host == "192.0.2.1"


KINDS = (b"proto", b"host", b"port", b"prefix")


inputs = mutations(CORPUS, lambda rng: rng.choice(PIECES), longest=LONGEST)


if __name__ == "__main__":
    sys.exit(main(__doc__, CORPUS, check, inputs))
