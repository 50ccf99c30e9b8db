"""How each server is started: at its best settings, one process, one event loop."""

import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from benches.load import peers
from benches.load.certificate import Certificate
from benches.load.machine import Place
from benches.load.processes import Process
from benches.load.scenarios import ASGI, GRPC, WEBSOCKETS, Scenario

APPS = Path(__file__).resolve().parent
ROOT = APPS.parents[2]
IDLE_SECONDS = "300"
"""How long a server is told to keep an idle connection, where it has a switch for it."""

HELLO = frozenset({"hello", "pipelined", "browser"})
EVERY = HELLO | {"typed", "post"}
HTTPS = frozenset({"tls", "handshakes"})
HTTP2 = frozenset({"h2", "h2c"})
GREETINGS = frozenset({"asgi", "asgi-browser"})
UNARY = frozenset({"grpc-8x1", "grpc-4x32"})
CALLS = frozenset(scenario.name for scenario in GRPC)
ECHOES = frozenset(scenario.name for scenario in WEBSOCKETS)
DEFLATED = frozenset({"ws-deflate", "ws-deflate-kept"})
FIXED = GREETINGS | {"asgi-out-64k", "asgi-out-1024k"}
"""What a server of fixed bytes can answer of an application's scenarios."""
APPLICATIONS = frozenset(scenario.name for scenario in ASGI)

NGINX = """daemon off;
pid {scratch}/nginx.pid;
error_log stderr warn;
worker_processes 1;
worker_rlimit_nofile 16384;
events {{ worker_connections 16384; }}
http {{
    access_log off;
    server_tokens off;
    keepalive_timeout {idle}s;
    keepalive_requests 1000000000;
    client_body_temp_path {scratch}/body;
    proxy_temp_path {scratch}/proxy;
    fastcgi_temp_path {scratch}/fastcgi;
    uwsgi_temp_path {scratch}/uwsgi;
    scgi_temp_path {scratch}/scgi;
    server {{
        listen 127.0.0.1:{port} backlog=4096{options};
{tls}        location = / {{
            default_type "text/plain; charset=utf-8";
            return 200 "Hello, World!";
        }}
{call}    }}
}}
"""


# A call answered with fixed bytes: no protobuf, no gRPC, all else that HTTP/2 asks of a server.
NGINX_CALL = """        location = {path} {{
            default_type application/grpc;
            add_trailer grpc-status 0;
            return 200 "{body}";
        }}
"""


@dataclass(frozen=True)
class Launch:
    """What a server is started for; ``scratch`` is an empty folder of its own."""

    port: int
    scenario: Scenario
    scratch: Path
    routes: int = 0
    tls: Certificate | None = None
    settings: Mapping[str, str] = field(default_factory=dict)
    """Settings of fastnet, as text."""


@dataclass(frozen=True)
class Server:
    name: str
    title: str
    command: Callable[[Launch], list[str]]
    scenarios: frozenset[str]
    """The scenarios it can answer."""
    live: bool = True
    """False for a server of fixed bytes: it is asked no probes, and its Date may be of any day."""
    cwd: Path = APPS
    routes: bool = False
    """Whether its application adds BENCH_ROUTES routes."""
    streams: bool = False
    """Whether its application answers /stream with 1 GB."""
    needs: tuple[str, ...] = ()
    """Distributions of peers.txt without which it is not available."""

    def start(self, launch: Launch, core: Place) -> Process:
        """Raises ServerFailed, or peers.NotAvailable with the reason."""
        for requirement in (*self.needs, *launch.scenario.needs):
            peers.require(requirement)
        env = {"BENCH_ROUTES": str(launch.routes)}
        env |= {f"FASTNET_{name.upper()}": value for name, value in launch.settings.items()}
        if launch.scenario.application:
            # An application meets the same packages under each server.
            env["PYTHONPATH"] = str(peers.packages())
        elif launch.scenario.protocol == "grpc":
            # Messages too: one grpcio, one protobuf, one protoc.
            env["PYTHONPATH"] = f"{peers.generated()}:{peers.packages()}"
        return Process(self.command(launch), core=core, cwd=self.cwd, env=env)


def fixed_answer(scenario: Scenario) -> bytes:
    """The answer the floor gives: the right one, with as many bytes of head as a lean server sends."""
    expected = scenario.expected
    (status,) = expected.statuses
    body = expected.body or b""
    reason = {200: "OK", 201: "Created"}[status]
    head = (
        f"HTTP/1.1 {status} {reason}\r\ncontent-type: {expected.content_type}\r\n"
        f"content-length: {len(body)}\r\ndate: Sun, 06 Nov 1994 08:49:37 GMT\r\n\r\n"
    )
    return head.encode() + body


def _floor(launch: Launch) -> list[str]:
    response = launch.scratch / "response"
    response.write_bytes(fixed_answer(launch.scenario))
    return [str(peers.compiled("floor.c")), str(launch.port), str(response)]


def _nginx(launch: Launch) -> list[str]:
    peers.require_command("nginx")
    config = launch.scratch / "nginx.conf"
    options, tls = "", ""
    if launch.tls is not None:
        options = " ssl"
        tls = f"        ssl_certificate {launch.tls.cert};\n        ssl_certificate_key {launch.tls.key};\n"
        tls += "        ssl_protocols TLSv1.2 TLSv1.3;\n"
    call = ""
    if launch.scenario.protocol in ("h2", "h2c", "grpc"):
        options += " http2"
    if launch.scenario.protocol == "grpc":
        body = (launch.scenario.expected.body or b"").decode("latin-1")
        call = NGINX_CALL.format(path=launch.scenario.request.path, body=body)
    config.write_text(
        NGINX.format(scratch=launch.scratch, port=launch.port, idle=IDLE_SECONDS, options=options, tls=tls, call=call),
        encoding="latin-1",
        newline="",
    )
    return ["nginx", "-p", str(launch.scratch), "-c", str(config)]


def fastnet(module: str) -> Callable[[Launch], list[str]]:
    """The command that serves the ``app`` of a module of this folder, or what the scenario asks for."""

    def command(launch: Launch) -> list[str]:
        by_protocol = {"grpc": "grpc_fastnet_app", "websocket": "websocket_fastnet_app"}
        named = launch.scenario.application or by_protocol.get(launch.scenario.protocol, module)
        app = f"benches.load.servers.{named}:app"
        argv = [sys.executable, "-m", "fastnet", "run", app, "--host", "127.0.0.1", "--port", str(launch.port)]
        if launch.scenario.application:
            argv += ["--interface", "asgi"]
        if launch.tls is not None:
            argv += ["--tls-cert", str(launch.tls.cert), "--tls-key", str(launch.tls.key)]
        return argv

    return command


def _uvicorn(module: str, http: str, websocket: str = "none") -> Callable[[Launch], list[str]]:
    def command(launch: Launch) -> list[str]:
        app = f"{launch.scenario.application or module}:app"
        argv = [str(peers.python()), "-m", "uvicorn", app, "--host", "127.0.0.1", "--port", str(launch.port)]
        argv += ["--workers", "1", "--loop", "uvloop", "--http", http, "--interface", "asgi3", "--ws", websocket]
        argv += ["--no-access-log", "--log-level", "warning", "--no-server-header", "--no-proxy-headers"]
        if launch.tls is not None:
            argv += ["--ssl-certfile", str(launch.tls.cert), "--ssl-keyfile", str(launch.tls.key)]
        if launch.scenario.protocol == "grpc":
            argv.append("--http2")
        return [*argv, "--backlog", "4096", "--timeout-keep-alive", IDLE_SECONDS]

    return command


def _granian(module: str, interface: str) -> Callable[[Launch], list[str]]:
    def command(launch: Launch) -> list[str]:
        app = f"{launch.scenario.application or module}:app"
        argv = [str(peers.python()), "-m", "granian", app, "--host", "127.0.0.1", "--port", str(launch.port)]
        argv += ["--interface", interface, "--workers", "1", "--runtime-threads", "1", "--loop", "uvloop"]
        argv += ["--http", "1", "--no-ws", "--no-access-log", "--log-level", "warning", "--backlog", "4096"]
        return [*argv, "--backpressure", "8192", "--http1-pipeline-flush"]

    return command


def _script(*named: str) -> Callable[[Launch], list[str]]:
    return lambda launch: [str(peers.python()), *named, str(launch.port)]


def _callbacks(launch: Launch) -> list[str]:
    app = "benches.load.servers.websocket_fastnet_app:callbacks"
    return [sys.executable, "-m", "fastnet", "run", app, "--host", "127.0.0.1", "--port", str(launch.port)]


FLOOR = Server("floor", "C epoll loop", _floor, EVERY | FIXED, live=False)
FASTNET = Server(
    "fastnet",
    "fastnet",
    fastnet("fastnet_app"),
    EVERY | HTTPS | HTTP2 | APPLICATIONS | CALLS | ECHOES,
    cwd=ROOT,
    routes=True,
    streams=True,
)

CALLBACKS = Server("fastnet-callbacks", "fastnet, callbacks", _callbacks, ECHOES, cwd=ROOT)
PRELOADED = replace(FASTNET, title="fastnet, with grpcio imported", command=fastnet("preloaded_app"))

ALL = (
    FLOOR,
    FASTNET,
    CALLBACKS,
    Server(
        "nginx",
        "nginx, fixed answer",
        _nginx,
        HELLO | HTTPS | HTTP2 | GREETINGS | UNARY,
        live=False,
    ),
    Server("socketify", "socketify, def handlers", _script("socketify_app.py"), EVERY, needs=("socketify",)),
    Server(
        "uvicorn",
        "uvicorn, ASGI, httptools, uvloop",
        _uvicorn("asgi_app", "httptools"),
        HELLO | HTTPS | APPLICATIONS,
        streams=True,
        needs=("uvicorn", "httptools", "uvloop"),
    ),
    Server(
        "uvicorn-zttp",
        "uvicorn, ASGI, zttp, uvloop",
        _uvicorn("asgi_app", "zttp"),
        HELLO,
        streams=True,
        needs=("uvicorn", "zttp", "uvloop"),
    ),
    Server(
        "granian-asgi",
        "Granian, ASGI",
        _granian("asgi_app", "asgi"),
        HELLO | APPLICATIONS,
        streams=True,
        needs=("granian", "uvloop"),
    ),
    Server("granian-rsgi", "Granian, RSGI", _granian("rsgi_app", "rsgi"), HELLO, needs=("granian", "uvloop")),
    Server(
        "aiohttp",
        "aiohttp on uvloop, pydantic",
        _script("aiohttp_app.py"),
        EVERY,
        routes=True,
        streams=True,
        needs=("aiohttp", "uvloop", "pydantic", "orjson"),
    ),
    Server(
        "blacksheep",
        "BlackSheep on uvicorn, pydantic",
        _uvicorn("blacksheep_app", "httptools"),
        EVERY,
        routes=True,
        needs=("blacksheep", "uvicorn", "httptools", "uvloop", "pydantic", "orjson"),
    ),
    Server(
        "fastapi",
        "FastAPI on uvicorn",
        _uvicorn("fastapi_app", "httptools"),
        EVERY,
        routes=True,
        needs=("fastapi", "uvicorn", "httptools", "uvloop", "pydantic"),
    ),
    Server(
        "grpc-aio",
        "grpc.aio on uvloop",
        _script("grpc_aio_app.py"),
        CALLS,
        routes=True,
        needs=("grpcio", "protobuf", "uvloop"),
    ),
    Server("grpc-sync", "grpcio, synchronous", _script("grpc_sync_app.py"), CALLS, needs=("grpcio", "protobuf")),
    Server("grpclib", "grpclib on uvloop", _script("grpclib_app.py"), CALLS, needs=("grpclib", "protobuf", "uvloop")),
    Server(
        "connectrpc",
        "connectrpc on uvicorn, zttp, uvloop",
        _uvicorn("connectrpc_app", "zttp"),
        CALLS,
        needs=("connectrpc", "protobuf", "uvicorn", "zttp", "uvloop"),
    ),
    Server(
        "grpc-asgi",
        "gRPC by hand in ASGI on uvicorn, zttp, uvloop",
        _uvicorn("grpc_asgi_app", "zttp"),
        CALLS,
        needs=("protobuf", "uvicorn", "zttp", "uvloop"),
    ),
    Server(
        "picows",
        "picows on aiofastnet, uvloop",
        _script("websocket_app.py", "picows"),
        ECHOES - DEFLATED,
        needs=("picows", "uvloop"),
    ),
    Server(
        "websockets",
        "websockets on uvloop",
        _script("websocket_app.py", "websockets"),
        ECHOES,
        needs=("websockets", "uvloop"),
    ),
    Server(
        "aiohttp-websocket",
        "aiohttp on uvloop",
        _script("websocket_app.py", "aiohttp"),
        ECHOES,
        needs=("aiohttp", "uvloop"),
    ),
    Server(
        "socketify-websocket",
        "socketify, def handlers",
        _script("websocket_app.py", "socketify"),
        ECHOES,
        needs=("socketify",),
    ),
    Server(
        "uvicorn-websockets",
        "uvicorn, ASGI, websockets-sansio, uvloop",
        _uvicorn("websocket_asgi_app", "httptools", "websockets-sansio"),
        ECHOES,
        needs=("uvicorn", "httptools", "uvloop", "websockets"),
    ),
)

BY_NAME = {server.name: server for server in ALL}


def choose(names: str, *, among: Iterable[Server] = ALL) -> list[Server]:
    """The servers of a comma-separated list, ``all`` for every one, in the order of the catalogue.

    Raises ValueError for a name that is not among them.
    """
    candidates = list(among)
    wanted = {name.strip() for name in names.split(",") if name.strip()}
    known = {server.name for server in candidates}
    if unknown := wanted - known - {"all"}:
        raise ValueError(f"unknown server {', '.join(sorted(unknown))}; known are {', '.join(sorted(known))}")
    return [server for server in candidates if "all" in wanted or server.name in wanted]
