"""The small values that handlers see."""

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


def test_subject_of_several_groups() -> None:
    certificate = {"subject": ((("countryName", "XX"),), (("commonName", "a"), ("serialNumber", "1")))}
    assert TLSInfo(None, None, None, certificate).subject == {
        "countryName": "XX",
        "commonName": "a",
        "serialNumber": "1",
    }
    assert TLSInfo(None, None, None, None).subject == {}
