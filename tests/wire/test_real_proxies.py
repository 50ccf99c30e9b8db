"""Behind nginx and haproxy: what they append, replace and leave out, and what comes of a client's lies."""

from __future__ import annotations

import json
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from fastnet import App, Request
from tests.wire.live import WAIT, Peer, live
from tests.wire.tools import needs

STREAM = Path("/usr/lib/nginx/modules/ngx_stream_module.so")

NGINX = """
{modules}
pid {folder}/nginx.pid; error_log stderr; daemon off; master_process off;
events {{ worker_connections 64; }}
{block}
"""
HTTP = """http {{
    access_log off;
    client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
    server {{
        listen 127.0.0.1:{port};
        location / {{ proxy_pass http://127.0.0.1:{server}; proxy_http_version 1.1; {options} }}
        location /cut/ {{ proxy_pass http://127.0.0.1:{server}/; proxy_set_header X-Forwarded-Prefix /cut; }}
    }}
}}"""
TCP = """stream {{
    server {{ listen 127.0.0.1:{port}; proxy_pass 127.0.0.1:{server}; proxy_protocol on; }}
}}"""
HAPROXY = """
global
    maxconn 64
defaults
    timeout connect 5s
    timeout client 10s
    timeout server 10s
    mode {mode}
frontend in
    bind 127.0.0.1:{port}
    default_backend out
backend out
    {options}
    server one 127.0.0.1:{server} {flags}
"""


def app() -> App:
    app = App()

    @app.get("/")
    @app.get("/where/")
    async def index(request: Request) -> dict[str, object]:
        assert request.client is not None
        header = request.proxy_header
        return {
            "client": request.client.host,
            "port": request.client.port,
            "url": request.url,
            "version": None if header is None else header.version,
        }

    return app


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


@contextmanager
def running(command: list[str], port: int) -> Iterator[int]:
    """A program that listens on a port until the block ends."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    try:
        end = time.monotonic() + WAIT
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                assert process.poll() is None, process.communicate()[1].decode()
                assert time.monotonic() < end, f"{command[0]} does not listen"
                time.sleep(0.02)
        yield port
    finally:
        process.terminate()
        process.communicate(timeout=WAIT)


@contextmanager
def nginx(folder: Path, block: str, **values: Any) -> Iterator[int]:
    port = free_port()
    modules = f"load_module {STREAM};" if STREAM.exists() else ""
    config = folder / "nginx.conf"
    filled = block.format(folder=folder, port=port, **values)
    config.write_text(NGINX.format(folder=folder, modules=modules, block=filled))
    with running(["nginx", "-p", str(folder), "-c", str(config)], port):
        yield port


@contextmanager
def haproxy(folder: Path, **values: Any) -> Iterator[int]:
    port = free_port()
    config = folder / "haproxy.cfg"
    config.write_text(HAPROXY.format(port=port, **values))
    with running(["haproxy", "-db", "-f", str(config)], port):
        yield port


def ask(port: int, target: str = "/", *fields: str) -> dict[str, Any]:
    with Peer(port) as peer:
        answer = peer.get(target, *fields).answer()
    assert answer.status == 200, answer
    found: dict[str, Any] = json.loads(answer.body)
    return found


LIES = (
    "X-Forwarded-For: 6.6.6.6",
    "X-Forwarded-Proto: https",
    "X-Forwarded-Host: evil.example",
    "X-Forwarded-Port: 666",
    "X-Forwarded-Prefix: /evil",
    "Forwarded: for=6.6.6.6;proto=https;host=evil.example",
)

SETS = """
    proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
    proxy_set_header X-Forwarded-Proto $scheme;
    proxy_set_header X-Forwarded-Host $http_host;
    proxy_set_header X-Forwarded-Port $server_port;
    proxy_set_header X-Forwarded-Prefix "";
    proxy_set_header Forwarded "";
    proxy_set_header Host $http_host;
"""


@needs("nginx")
def test_nginx_that_sets_what_counts(tmp_path: Path) -> None:
    with (
        live(app(), trusted_proxies="127.0.0.1/32") as server,
        nginx(tmp_path, HTTP, server=server.port, options=SETS) as port,
    ):
        # X-Forwarded-Port goes to a host without a port.
        assert ask(port)["url"] == f"http://test:{port}/"
        found = ask(port, "/", *LIES[1:])
        assert (found["client"], found["url"]) == ("127.0.0.1", f"http://test:{port}/")
        # All of this machine is trusted here, the one who lies too.
        assert ask(port, "/", *LIES)["client"] == "6.6.6.6"


@needs("nginx")
def test_nginx_that_replaces(tmp_path: Path) -> None:
    options = SETS.replace("$proxy_add_x_forwarded_for", "192.0.2.1")
    with (
        live(app(), trusted_proxies="127.0.0.1") as server,
        nginx(tmp_path, HTTP, server=server.port, options=options) as port,
    ):
        assert ask(port, "/", *LIES) == {
            "client": "192.0.2.1",
            "port": 0,
            "url": f"http://test:{port}/",
            "version": None,
        }


@needs("nginx")
def test_nginx_that_appends_behind_a_lie(tmp_path: Path) -> None:
    options = 'proxy_set_header X-Forwarded-For "$http_x_forwarded_for, 192.0.2.1"; proxy_set_header Host $http_host;'
    with (
        live(app(), trusted_proxies="127.0.0.1") as server,
        nginx(tmp_path, HTTP, server=server.port, options=options) as port,
    ):
        # The lies about the address are of no use: neither what stands left of it, nor a Forwarded passed on.
        assert ask(port, "/", LIES[0], LIES[-1])["client"] == "192.0.2.1"
        # What the proxy neither sets nor clears is the client's.
        assert ask(port, "/", *LIES)["url"] == "https://evil.example:666/evil/"


@needs("nginx")
def test_nginx_that_says_nothing(tmp_path: Path) -> None:
    with live(app()) as server, nginx(tmp_path, HTTP, server=server.port, options="") as port:
        found = ask(port, "/", *LIES)
        assert (found["client"], found["url"]) == ("127.0.0.1", f"http://127.0.0.1:{server.port}/")


@needs("nginx")
def test_nginx_below_a_path(tmp_path: Path) -> None:
    options = "proxy_set_header Host $http_host;"
    with (
        live(app(), trusted_proxies="127.0.0.1", root_path="/api") as server,
        nginx(tmp_path, HTTP, server=server.port, options=options) as port,
    ):
        assert ask(port, "/api/where/")["url"] == "http://test/api/where/"
        assert ask(port, "/cut/where/")["url"].endswith("/cut/where/")
        with Peer(port) as peer:
            assert peer.get("/api/where").answer()["location"] == "/api/where/"
            assert peer.get("/cut/where").answer()["location"] == "/cut/where/"


@needs("nginx")
@pytest.mark.skipif(not STREAM.exists(), reason="nginx has no stream module")
def test_nginx_speaks_the_proxy_protocol(tmp_path: Path) -> None:
    with (
        live(app(), trusted_proxies="127.0.0.1", proxy_protocol="required") as server,
        nginx(tmp_path, TCP, server=server.port) as port,
    ):
        found = ask(port)
        assert (found["client"], found["version"]) == ("127.0.0.1", 1)
        assert found["port"] not in (0, port)


@needs("haproxy")
@pytest.mark.parametrize(
    ("flags", "version"),
    [("send-proxy", 1), ("send-proxy-v2", 2), ("send-proxy-v2 proxy-v2-options crc32c,unique-id", 2)],
)
@pytest.mark.parametrize("mode", ["tcp", "http"])
def test_haproxy_speaks_the_proxy_protocol(tmp_path: Path, mode: str, flags: str, version: int) -> None:
    with (
        live(app(), trusted_proxies="127.0.0.1", proxy_protocol="required") as server,
        haproxy(tmp_path, mode=mode, options="", flags=flags, server=server.port) as port,
    ):
        with Peer(port) as peer:
            peer.get("/")
            own = peer.sock.getsockname()[1]
            found = json.loads(peer.answer().body)
        assert (found["client"], found["port"], found["version"]) == ("127.0.0.1", own, version)


@needs("haproxy")
def test_haproxy_checks_the_server_s_health(tmp_path: Path) -> None:
    flags = "send-proxy-v2 check check-send-proxy inter 100ms"
    with (
        live(app(), trusted_proxies="127.0.0.1", proxy_protocol="required") as server,
        haproxy(tmp_path, mode="http", options="option httpchk GET /", flags=flags, server=server.port) as port,
    ):
        end = time.monotonic() + WAIT
        while server.counters["requests"] < 3 and time.monotonic() < end:
            time.sleep(0.05)
        assert server.counters["requests"] >= 3
        assert server.counters["malformed"] == 0
        assert ask(port)["client"] == "127.0.0.1"


@needs("haproxy")
def test_haproxy_appends_a_field(tmp_path: Path) -> None:
    options = "option forwardfor\n    http-request set-header X-Forwarded-Proto https"
    with (
        live(app(), trusted_proxies="10.0.0.0/8, 127.0.0.1") as server,
        haproxy(tmp_path, mode="http", options=options, flags="", server=server.port) as port,
    ):
        found = ask(port, "/", "X-Forwarded-For: 6.6.6.6, nonsense", "Forwarded: for=6.6.6.6")
        assert (found["client"], found["url"]) == ("127.0.0.1", "https://test/")
