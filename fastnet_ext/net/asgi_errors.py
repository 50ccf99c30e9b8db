"""What goes wrong between an ASGI server and us, each with who is to blame.

* ``ScopeError``: the scope is not as the specification has it. The server's mistake, or that of what stands between it
  and us.
* ``MessageError``: a message of the wrong type, or out of order. The same.
* ``AnswerAborted``: an answer failed midway; raised so that the server cuts its connection.
* ``MalformedRequest``: what the peer sent and the server let through; it is answered.
"""

__all__ = ["AnswerAborted", "MalformedRequest", "MessageError", "ScopeError"]


class ScopeError(ValueError):
    """The server's scope is not as the ASGI specification has it; the message says what is wrong with it."""

    def __init__(self, message: str) -> None:
        super().__init__(f"the ASGI scope cannot be used: {message}")


class MessageError(RuntimeError):
    """The server brought a message that the ASGI specification does not allow there."""


class AnswerAborted(RuntimeError):
    """An answer cannot be completed: the server is to cut the connection, lest the peer take the part for all."""


class MalformedRequest(Exception):
    """The peer's request breaks a rule of HTTP that the server did not check; ``status`` answers it."""

    def __init__(self, message: str, status: int = 400) -> None:
        self.status = status
        super().__init__(message)
