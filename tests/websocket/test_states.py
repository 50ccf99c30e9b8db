"""Every state against every input: what RFC 6455, sections 5.5.1 and 7.1, allows, and nothing else."""

from collections.abc import Callable

import pytest

from fastnet_ext.websocket.connection import STATES, Connection, StateError
from tests.websocket.wire import CLOSE, PING, TEXT, frame

Action = Callable[[Connection], object]

REACH: dict[str, Action] = {
    "open": lambda c: None,
    "closing": lambda c: c.close(),
    "closed": lambda c: c.receive_data(frame(CLOSE)),
    "failed": lambda c: c.receive_data(frame(3)),
}

INPUTS: dict[str, Action] = {
    "send text": lambda c: c.send_text("x"),
    "send bytes": lambda c: c.send_bytes(b"x"),
    "send fragment": lambda c: c.send_fragment(b"x"),
    "message header": lambda c: c.message_header(5),
    "send ping": lambda c: c.ping(),
    "send pong": lambda c: c.pong(),
    "send close": lambda c: c.close(),
    "receive message": lambda c: c.receive_data(frame(TEXT, b"x")),
    "receive ping": lambda c: c.receive_data(frame(PING, b"x")),
    "receive close": lambda c: c.receive_data(frame(CLOSE)),
    "break rule": lambda c: c.receive_data(frame(3)),
    "end of input": lambda c: c.receive_end(),
}

# The state after an input; what is not listed is refused: an error of the caller when sending,
# dropped without effect when receiving.
AFTER = {
    ("open", "send text"): "open",
    ("open", "send bytes"): "open",
    ("open", "send fragment"): "open",
    ("open", "message header"): "open",
    ("open", "send ping"): "open",
    ("open", "send pong"): "open",
    ("open", "send close"): "closing",
    ("open", "receive message"): "open",
    ("open", "receive ping"): "open",
    ("open", "receive close"): "closed",
    ("open", "break rule"): "failed",
    ("open", "end of input"): "closed",
    ("closing", "receive message"): "closing",
    ("closing", "receive ping"): "closing",
    ("closing", "receive close"): "closed",
    ("closing", "break rule"): "failed",
    ("closing", "end of input"): "closed",
    ("closed", "end of input"): "closed",
    ("failed", "end of input"): "failed",
}


@pytest.mark.parametrize("state", REACH)
@pytest.mark.parametrize("action", INPUTS)
def test_every_state_and_input(state: str, action: str) -> None:
    connection = Connection("server")
    REACH[state](connection)
    connection.data_to_send()
    assert connection.state == state
    code = connection.close_code

    expected = AFTER.get((state, action))
    if expected is None and not action.startswith(("receive", "break")):
        with pytest.raises(StateError):
            INPUTS[action](connection)
    else:
        result = INPUTS[action](connection)
        if expected is None:
            assert result == []
    assert connection.state == (expected or state)
    if expected is None:
        assert connection.data_to_send() == b""
        assert connection.close_code == code


def test_every_state_can_be_reached() -> None:
    assert set(REACH) == set(STATES)


def test_a_message_is_refused_within_a_fragmented_one() -> None:
    connection = Connection("server")
    connection.send_fragment(b"x")
    connection.data_to_send()
    for action in ("send text", "send bytes", "message header"):
        with pytest.raises(StateError):
            INPUTS[action](connection)
    assert connection.data_to_send() == b""
    connection.send_fragment(b"", final=True)
    connection.send_text("now")


def test_a_client_has_no_header_apart() -> None:
    with pytest.raises(StateError, match="masks"):
        Connection("client").message_header(1)
