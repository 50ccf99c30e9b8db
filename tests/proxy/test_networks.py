"""Networks whose word counts: prefixes of both families, and the words for what has no address."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastnet_ext.proxy.networks import Networks


@pytest.mark.parametrize(
    ("network", "inside", "outside"),
    [
        ("10.0.0.0/8", ["10.0.0.0", "10.255.255.255", "::ffff:10.1.2.3"], ["11.0.0.0", "9.255.255.255", "::10.1.2.3"]),
        ("192.0.2.1", ["192.0.2.1", "::ffff:c000:201"], ["192.0.2.0", "192.0.2.2"]),
        ("192.0.2.128/25", ["192.0.2.128", "192.0.2.255"], ["192.0.2.127"]),
        ("0.0.0.0/0", ["1.2.3.4", "255.255.255.255"], ["::1", "2001:db8::1"]),
        ("::/0", ["::1", "2001:db8::1"], ["1.2.3.4", "::ffff:1.2.3.4"]),
        ("2001:db8::/33", ["2001:db8:7fff::1"], ["2001:db8:8000::1", "2001:db9::"]),
        ("::ffff:10.0.0.0/104", ["10.1.2.3"], ["11.1.2.3"]),
        ("fe80::/10", ["fe80::1%eth0", "febf::1"], ["fec0::1"]),
    ],
)
def test_prefixes(network: str, inside: list[str], outside: list[str]) -> None:
    networks = Networks([network])
    assert [address for address in inside if address not in networks] == []
    assert [address for address in outside if address in networks] == []


@pytest.mark.parametrize(
    "text",
    ["", "1.2.3", "1.2.3.4.5", "01.2.3.4", "1.2.3.4 ", "1.2.3.256", "::1::", "g::", "unix", "1.2.3.4\x00", "x" * 99],
)
def test_what_is_no_address_belongs_nowhere(text: str) -> None:
    assert text not in Networks(["0.0.0.0/0", "::/0"])
    assert None not in Networks(["0.0.0.0/0"])


def test_words() -> None:
    assert "1.2.3.4" in Networks(["*"])
    assert "1.2.3.4" not in Networks(["unix"])
    assert Networks(["*"]).everything
    assert Networks(["unix"]).unix_peers


@pytest.mark.parametrize(
    ("peername", "trusting"),
    [
        (("10.0.0.1", 5), ["10.0.0.0/8", "*"]),
        (["10.0.0.1", 5], ["10.0.0.0/8", "*"]),
        (("fe80::1%2", 5, 0, 2), ["fe80::/10", "*"]),
        (("no address", 5), []),
        (("10.0.0.1",), []),
        ("", ["unix", "*"]),
        (b"\0abstract", ["unix", "*"]),
        ("/run/x.sock", ["unix", "*"]),
        (None, []),
        (7, []),
    ],
)
def test_peers(peername: object, trusting: list[str]) -> None:
    for item in ("10.0.0.0/8", "fe80::/10", "unix", "*"):
        assert Networks([item]).trusts(peername) is (item in trusting)


def test_mistakes() -> None:
    for item in ("10.0.0.1/8", "example.com", "", "1.2.3.4/33"):
        with pytest.raises(ValueError, match=r"."):
            Networks([item])
    with pytest.raises(TypeError, match="does not change"):
        Networks(["::1"]).__init__(["::2"])


def test_names() -> None:
    networks = Networks([ipaddress.ip_network("10.0.0.0/8"), "unix"])
    assert networks.items == ("10.0.0.0/8", "unix")
    assert (len(networks), len(Networks()), repr(networks)) == (2, 0, "Networks(['10.0.0.0/8', 'unix'])")


addresses = st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6))


@given(address=addresses, other=addresses, bits=st.integers(0, 128))
def test_as_the_standard_library_has_it(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address,
    other: ipaddress.IPv4Address | ipaddress.IPv6Address,
    bits: int,
) -> None:
    network = ipaddress.ip_network((other, min(bits, other.max_prefixlen)), strict=False)
    mapped = getattr(network.network_address, "ipv4_mapped", None)
    if mapped is not None and network.prefixlen >= 96:
        # A network of IPv4-mapped addresses is one of IPv4.
        network = ipaddress.ip_network((mapped, network.prefixlen - 96))
    plain = getattr(address, "ipv4_mapped", None) or address
    assert (str(address) in Networks([network])) is (plain in network)


def test_a_network_of_mapped_addresses_is_one_of_ipv4() -> None:
    networks = Networks(["::ffff:0:0/96"])
    assert "10.0.0.1" in networks
    assert "::ffff:10.0.0.1" in networks
    assert "::1" not in networks
