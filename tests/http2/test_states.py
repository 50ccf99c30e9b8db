"""The table of stream states against the prose of RFC 9113, section 5.1: every state with every input."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastnet_ext.http2.peer import transition

IDLE, OPEN, LOCAL, REMOTE, CLOSED = range(5)
SEND_HEAD, SEND_DATA, SEND_END, SEND_RESET, RECV_HEAD, RECV_DATA, RECV_END, RECV_RESET = range(8)

ALLOWED = {
    (IDLE, SEND_HEAD): OPEN,
    (IDLE, RECV_HEAD): OPEN,
    (OPEN, SEND_HEAD): OPEN,
    (OPEN, SEND_DATA): OPEN,
    (OPEN, SEND_END): LOCAL,
    (OPEN, SEND_RESET): CLOSED,
    (OPEN, RECV_HEAD): OPEN,
    (OPEN, RECV_DATA): OPEN,
    (OPEN, RECV_END): REMOTE,
    (OPEN, RECV_RESET): CLOSED,
    (LOCAL, SEND_RESET): CLOSED,
    (LOCAL, RECV_HEAD): LOCAL,
    (LOCAL, RECV_DATA): LOCAL,
    (LOCAL, RECV_END): CLOSED,
    (LOCAL, RECV_RESET): CLOSED,
    (REMOTE, SEND_HEAD): REMOTE,
    (REMOTE, SEND_DATA): REMOTE,
    (REMOTE, SEND_END): CLOSED,
    (REMOTE, SEND_RESET): CLOSED,
    (REMOTE, RECV_RESET): CLOSED,
    (CLOSED, SEND_RESET): CLOSED,
    (CLOSED, RECV_RESET): CLOSED,
}


@pytest.mark.parametrize("state", range(5))
@pytest.mark.parametrize("stimulus", range(8))
def test_transition(state: int, stimulus: int) -> None:
    assert transition(state, stimulus) == ALLOWED.get((state, stimulus))


@given(st.lists(st.integers(0, 7), max_size=30))
def test_nothing_leaves_closed_and_ends_happen_once(inputs: list[int]) -> None:
    state, sent, received = IDLE, False, False
    for stimulus in inputs:
        following = transition(state, stimulus)
        if following is None:
            continue
        assert state != CLOSED or following == CLOSED
        if stimulus == SEND_END:
            assert not sent
            sent = True
        if stimulus == RECV_END:
            assert not received
            received = True
        state = following
        if sent and received:
            assert state == CLOSED


@pytest.mark.parametrize(("state", "stimulus"), [(-1, 0), (5, 0), (0, -1), (0, 8)])
def test_no_such_state_or_input(state: int, stimulus: int) -> None:
    with pytest.raises(ValueError):
        transition(state, stimulus)
