"""What is asked of every server: one request, its right answer, and how hard it is asked.

A scenario is data only. What a protocol other than HTTP/1.1 needs (another load generator, another check) hangs from
``Scenario.protocol``: see ``protocols.py``.
"""

from dataclasses import dataclass, replace
from hashlib import sha256

from benches.load.messages import octets, orders

TEXT = "text/plain; charset=utf-8"
JSON = "application/json"


@dataclass(frozen=True)
class Request:
    """One HTTP request as it goes over the wire; ``Host`` is added when it is written."""

    path: str
    method: str = "GET"
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""

    def wire(self, port: int) -> bytes:
        """The bytes of this request to ``127.0.0.1:port``, fields in the order in which wrk writes them."""
        fields = [("Host", f"127.0.0.1:{port}"), *self.headers]
        if self.body:
            fields.append(("Content-Length", str(len(self.body))))
        head = "".join(f"{name}: {value}\r\n" for name, value in fields)
        return f"{self.method} {self.path} HTTP/1.1\r\n{head}\r\n".encode("ascii") + self.body


@dataclass(frozen=True)
class Expected:
    """The right answer: its status, its media type with parameters, its body to the last byte.

    With several statuses, ``content_type`` and ``body`` None: any of these refusals is right.
    """

    statuses: frozenset[int]
    content_type: str | None = None
    body: bytes | None = None
    trailers: tuple[tuple[str, str], ...] = ()
    """Fields that must come after the body."""


def answer(status: int, content_type: str, body: bytes) -> Expected:
    return Expected(frozenset({status}), content_type, body)


REFUSED = Expected(frozenset({400, 422}))


@dataclass(frozen=True)
class Probe:
    """A request beside the measured one, to see that the server works for its answers instead of repeating one."""

    request: Request
    expected: Expected


@dataclass(frozen=True)
class Scenario:
    name: str
    title: str
    request: Request
    expected: Expected
    probes: tuple[Probe, ...] = ()
    connections: int = 32
    depth: int = 1
    """Requests sent in one write before their answers are awaited, 1 is no pipelining; streams at once of HTTP/2."""
    protocol: str = "http1"
    baseline: str = "floor"
    """The server that the others are divided by."""
    application: str = ""
    """The module of servers/ whose ASGI application every server runs; empty where each has one of its own."""
    needs: tuple[str, ...] = ()
    """Distributions of peers.txt that the application imports."""
    messages: tuple[str | bytes, ...] = ()
    """What a WebSocket is sent in turn to be echoed, all of one size; ``request`` is its hand-shake."""


HELLO = answer(200, TEXT, b"Hello, World!")

# What a current desktop browser sends on a same-site navigation; twelve fields with Host.
BROWSER_HEADERS = (
    ("Connection", "keep-alive"),
    ("sec-ch-ua", '"Chromium";v="140", "Not=A?Brand";v="24", "Google Chrome";v="140"'),
    ("sec-ch-ua-mobile", "?0"),
    ("sec-ch-ua-platform", '"Linux"'),
    ("Upgrade-Insecure-Requests", "1"),
    (
        "User-Agent",
        "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36",
    ),
    ("Accept", "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8"),
    ("Sec-Fetch-Site", "same-origin"),
    ("Sec-Fetch-Mode", "navigate"),
    ("Accept-Encoding", "gzip, deflate, br, zstd"),
    ("Accept-Language", "en-GB,en;q=0.9,de;q=0.8"),
)


def _post(body: bytes) -> Request:
    return Request("/users", "POST", (("Content-Type", JSON),), body)


def _user(name: str, age: int) -> bytes:
    return f'{{"name":"{name}","age":{age}}}'.encode()


POSTED = _user("Augusta Ada King, Countess of Lovelace".ljust(80, "."), 36)
assert len(POSTED) == 100

PLAIN = (
    Scenario(
        "hello",
        'GET / answered "Hello, World!"',
        Request("/"),
        HELLO,
    ),
    Scenario(
        "pipelined",
        'GET / answered "Hello, World!", pipelined by 16',
        Request("/"),
        HELLO,
        depth=16,
    ),
    Scenario(
        "browser",
        "GET / with a browser's head of 12 fields",
        Request("/", headers=BROWSER_HEADERS),
        HELLO,
    ),
    Scenario(
        "typed",
        "GET /users/42?verbose=true, typed, answered with JSON",
        Request("/users/42?verbose=true"),
        answer(200, JSON, b'{"id":42,"verbose":true}'),
        probes=(
            Probe(Request("/users/7"), answer(200, JSON, b'{"id":7,"verbose":false}')),
            Probe(Request("/users/7?verbose=false"), answer(200, JSON, b'{"id":7,"verbose":false}')),
            Probe(Request("/users/seven"), REFUSED),
        ),
    ),
    Scenario(
        "post",
        "POST /users with a 100-byte JSON body, validated, answered with JSON",
        _post(POSTED),
        answer(201, JSON, POSTED),
        probes=(
            Probe(_post(b'{"age": 7, "name": "Grace"}'), answer(201, JSON, _user("Grace", 7))),
            Probe(_post(_user("Grace", -1)), REFUSED),
            Probe(_post(_user("", 7)), REFUSED),
            Probe(_post(b'{"name":"Grace","age":'), REFUSED),
        ),
    ),
)

TLS = (
    Scenario(
        "tls",
        "GET / over TLS 1.3, kept connections",
        Request("/"),
        HELLO,
        protocol="https1",
        baseline="nginx",
    ),
    Scenario(
        "handshakes",
        "GET / on a new connection with a full TLS 1.3 hand-shake each, ECDSA P-256",
        Request("/"),
        HELLO,
        connections=16,
        protocol="handshakes",
        baseline="nginx",
    ),
    Scenario(
        "h2",
        "GET / over HTTP/2 and TLS 1.3, 10 streams at once",
        Request("/"),
        HELLO,
        connections=8,
        depth=10,
        protocol="h2",
        baseline="nginx",
    ),
    Scenario(
        "h2c",
        "GET / over HTTP/2 in cleartext, 10 streams at once",
        Request("/"),
        HELLO,
        connections=8,
        depth=10,
        protocol="h2c",
        baseline="nginx",
    ),
)

KIB = 1024
EVENT = b"data: " + b"." * 92 + b"\n\n"
EVENTS = 1000
assert len(EVENT) == 100


def numbered(size: int) -> bytes:
    """That many bytes, of which no two blocks of 256 are alike."""
    blocks = (number.to_bytes(4, "big") + bytes(range(4, 256)) for number in range(-(-size // 256)))
    return b"".join(blocks)[:size]


def _application(plain: str, name: str, title: str, application: str, *needs: str) -> Scenario:
    """The question of a plain scenario put to an ASGI application."""
    (scenario,) = [scenario for scenario in PLAIN if scenario.name == plain]
    return replace(scenario, name=name, title=title, application=application, needs=needs, baseline="uvicorn")


def _upload(size: int, connections: int) -> Scenario:
    """The answer is how many bytes came; a probe asks for their digest, which would cost more than receiving them."""
    body = numbered(size)
    octets = (("Content-Type", "application/octet-stream"),)
    return Scenario(
        f"asgi-in-{size // KIB}k",
        f"raw ASGI, POST of {size // KIB} KiB, read whole",
        Request("/length", "POST", octets, body),
        answer(200, TEXT, str(size).encode()),
        probes=(
            Probe(Request("/digest", "POST", octets, body), answer(200, TEXT, sha256(body).hexdigest().encode())),
            Probe(Request("/length", "POST", octets, body[:-1]), answer(200, TEXT, str(size - 1).encode())),
        ),
        connections=connections,
        baseline="uvicorn",
        application="asgi_app",
    )


def _download(size: int, connections: int) -> Scenario:
    return Scenario(
        f"asgi-out-{size // KIB}k",
        f"raw ASGI, GET answered with {size // KIB} KiB in one piece",
        Request(f"/bytes/{size}"),
        answer(200, "application/octet-stream", numbered(size)),
        connections=connections,
        baseline="uvicorn",
        application="asgi_app",
    )


ASGI = (
    _application("hello", "asgi", 'raw ASGI, GET / answered "Hello, World!"', "asgi_app"),
    _application("browser", "asgi-browser", "raw ASGI, GET / with a browser's head of 12 fields", "asgi_app"),
    _application("hello", "starlette", 'Starlette, GET / answered "Hello, World!"', "starlette_app", "starlette"),
    replace(
        _application("hello", "starlette-json", "Starlette, GET /json, JSON", "starlette_app", "starlette"),
        request=Request("/json"),
        expected=answer(200, JSON, b'{"message":"Hello, World!"}'),
    ),
    _application(
        "typed", "fastapi-typed", "FastAPI, GET /users/42?verbose=true, typed, JSON", "fastapi_app", "fastapi"
    ),
    _application("post", "fastapi-post", "FastAPI, POST /users, 100 bytes of JSON, JSON", "fastapi_app", "fastapi"),
    _upload(64 * KIB, 16),
    _upload(1024 * KIB, 8),
    _download(64 * KIB, 16),
    _download(1024 * KIB, 8),
    Scenario(
        "asgi-stream",
        f"raw ASGI, GET answered with {EVENTS} chunks of {len(EVENT)} bytes",
        Request("/events"),
        answer(200, "text/event-stream; charset=utf-8", EVENT * EVENTS),
        connections=8,
        baseline="uvicorn",
        application="asgi_app",
    ),
)
"""One ASGI application under each server, in one environment: what differs is the server."""

MESSAGES = 1000


def framed(message: bytes) -> bytes:
    """A gRPC message that is not compressed, with its five bytes before it."""
    return b"\0" + len(message).to_bytes(4, "big") + message


def text_field(text: str) -> bytes:
    """The only field of HelloRequest and HelloReply, number 1, as protobuf writes a text of less than 128 bytes."""
    return b"\x0a" + len(text.encode()).to_bytes(1, "big") + text.encode()


def _call(name: str, method: str = "SayHello", service: str = "greeter.Greeter") -> Request:
    fields = (("content-type", "application/grpc"), ("te", "trailers"))
    return Request(f"/{service}/{method}", "POST", fields, framed(text_field(name)))


def _replies(*texts: str) -> Expected:
    body = b"".join(framed(text_field(text)) for text in texts)
    return replace(answer(200, "application/grpc", body), trailers=(("grpc-status", "0"),))


def unary(name: str, title: str, connections: int, depth: int, request: Request | None = None) -> Scenario:
    """A call of SayHello, or of another method that answers like it."""
    asked = request or _call("Ada")
    probes = (
        Probe(replace(asked, body=framed(text_field("Grace Hopper"))), _replies("Hello, Grace Hopper!")),
        Probe(replace(asked, body=framed(b"")), _replies("Hello, !")),
    )
    return Scenario(
        name,
        title,
        asked,
        _replies("Hello, Ada!"),
        probes,
        connections=connections,
        depth=depth,
        protocol="grpc",
        baseline="nginx",
    )


def last_method(count: int) -> Scenario:
    """The last of ``count`` further methods that a server is told to register."""
    request = _call("Ada", f"Method{count - 1}", "bench.Many")
    return unary(f"grpc-methods-{count}", "the last method of so many", 4, 32, request)


def _stream(name: str) -> Expected:
    return _replies(*(f"{number}: {name}" for number in range(MESSAGES)))


def _both(scenario: Scenario, over_h2: str, streams: int, connections: int) -> tuple[Scenario, Scenario]:
    """A request by HTTP/1.1, and the same in cleartext HTTP/2."""
    by_h2 = replace(scenario, name=over_h2, protocol="h2c", connections=connections, depth=streams)
    return scenario, by_h2


VERSIONS = (
    _both(PLAIN[0], "h2c-hello", 32, 1),
    _both(
        replace(_upload(1024 * KIB, 8), name="upload", title="POST of 1 MiB, read whole", application=""),
        "h2c-upload",
        1,
        8,
    ),
)
"""Pairs for ``versions.py``: as many requests at once by either version."""

GRPC = (
    unary("grpc-8x1", "gRPC unary SayHello, one call at a time on each connection", 8, 1),
    unary("grpc-4x32", "gRPC unary SayHello, 32 calls at once on each connection", 4, 32),
    Scenario(
        "grpc-stream",
        f"gRPC server streaming, {MESSAGES:,} small messages a call",
        _call("Ada", "SayHelloStream"),
        _stream("Ada"),
        (Probe(_call("Grace", "SayHelloStream"), _stream("Grace")),),
        connections=2,
        protocol="grpc",
        baseline="grpc-aio",
    ),
)

WEBSOCKET_KEY = "dGhlIHNhbXBsZSBub25jZQ=="
UPGRADE = (
    ("Upgrade", "websocket"),
    ("Connection", "Upgrade"),
    ("Sec-WebSocket-Key", WEBSOCKET_KEY),
    ("Sec-WebSocket-Version", "13"),
)
SWITCHING = Expected(frozenset({101}))


def _echo(name: str, title: str, messages: tuple[str | bytes, ...], offer: str = "") -> Scenario:
    """Every message comes back as it was sent. The path tells a server which kind of compression is meant."""
    extensions = (("Sec-WebSocket-Extensions", offer),) if offer else ()
    path = "/kept" if offer == "permessage-deflate" else "/"
    request = Request(path, headers=(*UPGRADE, *extensions))
    baseline = "websockets" if offer else "picows"
    return Scenario(name, title, request, SWITCHING, protocol="websocket", baseline=baseline, messages=messages)


WEBSOCKETS = (
    _echo("ws-128", "WebSocket echo of 128 bytes", octets(128, 16)),
    replace(_echo("ws-64k", "WebSocket echo of 64 KiB", octets(64 * KIB, 4)), connections=8),
    _echo(
        "ws-deflate",
        "WebSocket echo of 4 KiB of JSON, each message compressed by itself",
        orders(4 * KIB, 16),
        "permessage-deflate; server_no_context_takeover; client_no_context_takeover",
    ),
    _echo(
        "ws-deflate-kept",
        "WebSocket echo of 4 KiB of JSON, compressed with what was sent before",
        orders(4 * KIB, 16),
        "permessage-deflate",
    ),
)

WORK_TURNS = 4500
WORK = Scenario(
    "work",
    "GET /work, about 300 µs of the interpreter's time",
    Request("/work"),
    answer(200, JSON, str(sum(number * number % 7 for number in range(WORK_TURNS))).encode()),
    connections=64,
)
"""For what is measured in requests a second: a load generator takes little of the machine beside it."""

ALL = (*PLAIN, *TLS, *ASGI, *GRPC, *WEBSOCKETS)
BY_NAME = {scenario.name: scenario for scenario in ALL}
