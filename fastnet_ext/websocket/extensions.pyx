# cython: freethreading_compatible=True
"""permessage-deflate in the hand-shake (RFC 7692); runs once per connection."""

from re import compile as _compile

cimport cython

NAME = "permessage-deflate"

# RFC 6455, section 9.1: a name, or a parameter with its value, as token or quoted string, and the blanks around.
_TOKEN = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_part = _compile(rf'[ \t]*({_TOKEN})[ \t]*(?:=[ \t]*(?:({_TOKEN})|"((?:[^"\\]|\\.)*)")[ \t]*)?').match
_is_token = _compile(_TOKEN).fullmatch
# Between elements of a list there may be empty ones: RFC 9110, section 5.6.1.
_between = _compile(r"[ \t,]*").match

# Section 7.1: those with no value, and those with a number of bits, which has no leading zeros.
_FLAGS = frozenset(["server_no_context_takeover", "client_no_context_takeover"])
_WINDOWS = frozenset(["server_max_window_bits", "client_max_window_bits"])
_BITS = {str(bits): bits for bits in range(8, 16)}


@cython.final
cdef class PerMessageDeflate:
    """What one end wants of the extension permessage-deflate (RFC 7692).

    ``server_no_context_takeover`` and ``client_no_context_takeover``: the messages of that end are compressed
    each by itself. Then a connection keeps nothing between two messages; otherwise later messages get
    smaller, and an end keeps (of zlib, at 15 bits and memory level 8) 256 KiB for its own messages and 40 KiB
    for the peer's. ``server_max_window_bits`` and ``client_max_window_bits``: how far back that end may refer,
    9 to 15. (zlib cannot compress with 8.) ``level``, 1 to 9, ``memory_level``, 1 to 9: zlib's. ``min_size``:
    messages of fewer bytes are sent as they are.

    Raises ``ValueError`` for other values.
    """

    def __init__(
        self, *, bint server_no_context_takeover=True, bint client_no_context_takeover=True,
        int server_max_window_bits=15, int client_max_window_bits=15,
        int level=3, int memory_level=8, Py_ssize_t min_size=1024,
    ):
        for name, bits in (
            ("server_max_window_bits", server_max_window_bits), ("client_max_window_bits", client_max_window_bits)
        ):
            if not 9 <= bits <= 15:
                raise ValueError(f"{name} is 9 to 15, not {bits}")
        if not 1 <= level <= 9:
            raise ValueError(f"level is 1 (fast) to 9 (small), not {level}")
        if not 1 <= memory_level <= 9:
            raise ValueError(f"memory_level is 1 to 9, not {memory_level}")
        if min_size < 1:
            raise ValueError("min_size is at least 1 byte")
        self.server_no_context_takeover = server_no_context_takeover
        self.client_no_context_takeover = client_no_context_takeover
        self.server_max_window_bits = <uint8_t>server_max_window_bits
        self.client_max_window_bits = <uint8_t>client_max_window_bits
        self.level = <uint8_t>level
        self.memory_level = <uint8_t>memory_level
        self.min_size = <size_t>min_size


@cython.final
cdef class DeflateAgreement:
    """What both ends of one connection have agreed on: the parameters of RFC 7692, section 7.1."""

    @property
    def field(self):
        """The parameters as Sec-WebSocket-Extensions of the server's answer."""
        cdef list parts = [NAME]
        if self.server_no_context_takeover:
            parts.append("server_no_context_takeover")
        if self.client_no_context_takeover:
            parts.append("client_no_context_takeover")
        if self.server_max_window_bits < 15 or self._names_server_window:
            parts.append(f"server_max_window_bits={self.server_max_window_bits}")
        if self.client_max_window_bits < 15:
            parts.append(f"client_max_window_bits={self.client_max_window_bits}")
        return "; ".join(parts)


cdef list parse_extensions(str field):
    cdef list found = [], parameters
    cdef Py_ssize_t at = 0, size = len(field)
    cdef bint named
    while True:
        at = _between(field, at).end()
        if at == size:
            return found
        parameters = []
        named = False
        while True:
            part = _part(field, at)
            if part is None:
                raise ValueError("an extension is not a token")
            name, value, quoted = part.groups()
            at = part.end()
            if quoted is not None:
                value = _unquoted(quoted)
            if named:
                parameters.append((name, value))
            elif value is not None:
                raise ValueError("an extension has a value")
            else:
                found.append((name, parameters))
                named = True
            if at == size:
                return found
            separator = field[at]
            at += 1
            if separator == ",":
                break
            if separator != ";":
                raise ValueError("extensions are separated by commas, their parameters by semicolons")


cdef str _unquoted(str quoted):
    cdef list parts = []
    cdef bint escaped = False
    for character in quoted:
        if character == "\\" and not escaped:
            escaped = True
        else:
            parts.append(character)
            escaped = False
    value = "".join(parts)
    if _is_token(value) is None:
        # RFC 6455, section 9.1: "the value after quoted-string unescaping MUST conform to the 'token' ABNF".
        raise ValueError("a quoted value is not a token")
    return value


cdef dict _read(list parameters, bint offer):
    """The parameters by name; ValueError, as section 7.1 wants it, for one that is unknown, repeated or invalid.

    The window of an offer's ``client_max_window_bits`` without a value is None.
    """
    cdef dict found = {}
    for name, value in parameters:
        if name in found:
            raise ValueError(f"{name} stands there twice")
        if name in _FLAGS:
            if value is not None:
                raise ValueError(f"{name} has no value")
            found[name] = True
        elif name not in _WINDOWS:
            raise ValueError(f"permessage-deflate has no parameter {name}")
        elif value in _BITS:
            found[name] = _BITS[value]
        elif value is None and offer and name == "client_max_window_bits":
            found[name] = None
        else:
            raise ValueError(f"{name} is 8 to 15")
    return found


cdef DeflateAgreement accept_offer(str field, PerMessageDeflate settings):
    cdef DeflateAgreement agreement
    for name, parameters in parse_extensions(field):
        if name == NAME:
            agreement = _accept(parameters, settings)
            if agreement is not None:
                return agreement
    return None


cdef DeflateAgreement _accept(list parameters, PerMessageDeflate settings):
    """What one offer comes to; None where it is declined."""
    cdef DeflateAgreement agreement = DeflateAgreement.__new__(DeflateAgreement)
    cdef dict offer
    cdef int bits
    try:
        offer = _read(parameters, True)
    except ValueError:
        return None
    bits = offer.get("server_max_window_bits", 15)
    if bits == 8:
        # The client may have room for 256 bytes only, and zlib's smallest window is 512. The next offer may do.
        return None
    agreement.settings = settings
    # Either side may want that there is no takeover: 7.1.1. A server may say so unasked.
    agreement.server_no_context_takeover = (
        settings.server_no_context_takeover or "server_no_context_takeover" in offer
    )
    agreement.client_no_context_takeover = (
        settings.client_no_context_takeover or "client_no_context_takeover" in offer
    )
    agreement.server_max_window_bits = <uint8_t>min(bits, <int>settings.server_max_window_bits)
    agreement._names_server_window = "server_max_window_bits" in offer
    agreement.client_max_window_bits = 15
    if "client_max_window_bits" in offer:
        # 7.1.2.2: only a client that names it can be told.
        bits = offer["client_max_window_bits"] or 15
        agreement.client_max_window_bits = <uint8_t>min(bits, <int>settings.client_max_window_bits)
    return agreement


cdef str make_offer(PerMessageDeflate settings):
    cdef list parts = [NAME]
    if settings.server_no_context_takeover:
        parts.append("server_no_context_takeover")
    if settings.client_no_context_takeover:
        parts.append("client_no_context_takeover")
    if settings.server_max_window_bits < 15:
        parts.append(f"server_max_window_bits={settings.server_max_window_bits}")
    if settings.client_max_window_bits < 15:
        parts.append(f"client_max_window_bits={settings.client_max_window_bits}")
    else:
        parts.append("client_max_window_bits")
    return "; ".join(parts)


cdef DeflateAgreement accept_answer(str field, PerMessageDeflate settings):
    cdef DeflateAgreement agreement = DeflateAgreement.__new__(DeflateAgreement)
    cdef list extensions
    cdef dict answer
    if field is None:
        return None
    extensions = parse_extensions(field)
    if len(extensions) != 1 or extensions[0][0] != NAME:
        raise ValueError("the server accepted an extension that was not offered")
    answer = _read(extensions[0][1], False)
    if settings.server_no_context_takeover and "server_no_context_takeover" not in answer:
        raise ValueError("the server did not accept server_no_context_takeover")
    if answer.get("server_max_window_bits", 15) > settings.server_max_window_bits:
        raise ValueError("the server did not accept server_max_window_bits")
    if answer.get("client_max_window_bits", 0) > settings.client_max_window_bits:
        raise ValueError("the server widened client_max_window_bits")
    agreement.settings = settings
    agreement.server_no_context_takeover = "server_no_context_takeover" in answer
    agreement.client_no_context_takeover = (
        settings.client_no_context_takeover or "client_no_context_takeover" in answer
    )
    agreement.server_max_window_bits = <uint8_t>answer.get("server_max_window_bits", 15)
    # Without a word of the server's the client keeps to what it has offered.
    agreement.client_max_window_bits = <uint8_t>answer.get(
        "client_max_window_bits", settings.client_max_window_bits
    )
    return agreement


# The same for Python.

def extensions(str field not None):
    """``[(name, [(parameter, value or None), ...]), ...]`` of Sec-WebSocket-Extensions; ValueError when malformed."""
    return parse_extensions(field)


def accept(str field not None, PerMessageDeflate settings not None):
    """What a server with these settings makes of a client's Sec-WebSocket-Extensions; None: no compression.

    Raises ValueError when the field is malformed; an offer that is malformed is declined.
    """
    return accept_offer(field, settings)


def offer(PerMessageDeflate settings not None):
    """Sec-WebSocket-Extensions of a client with these settings."""
    return make_offer(settings)


def agree(str field, PerMessageDeflate settings not None):
    """What the server's answer to ``offer(settings)`` agrees on; None for None: no compression.

    Raises ValueError when the answer is none to that offer.
    """
    return accept_answer(field, settings)
