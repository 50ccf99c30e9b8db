"""Sessions: resumed with the client that they are of, by other workers as well."""

from __future__ import annotations

import socket
import ssl
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.wire.live import live
from tests.wire.tls import Files, describing_app
from tests.wire.tools import needs


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_session_is_resumed(files: Files, version: ssl.TLSVersion) -> None:
    context = files.client()
    context.minimum_version = context.maximum_version = version
    with live(describing_app(), tls_cert=files.cert, tls_key=files.key) as server:
        session = None
        for expected in (False, True):
            sock = socket.create_connection(("127.0.0.1", server.port), timeout=10)
            with context.wrap_socket(sock, server_hostname="localhost", session=session) as one:
                assert one.session_reused is expected
                one.sendall(b"GET / HTTP/1.1\r\nhost: t\r\n\r\n")
                assert f'"resumed":{str(expected).lower()}'.encode() in one.recv(65536)
                session = one.session


def test_a_resumed_session_keeps_the_client(files: Files, alice: Files) -> None:
    context = files.client(shows=alice)
    options: dict[str, Any] = {
        "tls_cert": files.cert,
        "tls_key": files.key,
        "tls_client_ca": files.ca,
        "tls_client_verify": "required",
    }
    with live(describing_app(), **options) as server:
        session = None
        for expected in (False, True):
            sock = socket.create_connection(("127.0.0.1", server.port), timeout=10)
            with context.wrap_socket(sock, server_hostname="localhost", session=session) as one:
                one.sendall(b"GET /me HTTP/1.1\r\nhost: t\r\n\r\n")
                assert b"CN=alice" in one.recv(65536)
                assert one.session_reused is expected
                session = one.session


FORKED = """
import asyncio, os, socket, sys
from fastnet import App
from fastnet.server import Config, Server
from fastnet.server.tls import make_contexts

cert, key = sys.argv[1:]
config = Config(tls_cert=cert, tls_key=key)
contexts = make_contexts(config)
app = App()

@app.get("/")
async def index() -> int:
    return os.getpid()

async def serve(sock):
    from fastnet_ext.net.kinds import connection_type
    from fastnet_ext.net.loop_state import LoopState
    from fastnet_ext.net.protocols import OnePort
    from fastnet_ext.net.service import Service
    loop = asyncio.get_running_loop()
    state, service = LoopState(loop), Service(app.build(), OnePort(), tls=contexts)
    await loop.create_server(lambda: connection_type(service, loop)(state, service), sock=sock)
    await asyncio.sleep(60)

sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
children = []
for sock in sockets:
    pid = os.fork()
    if not pid:
        asyncio.run(serve(sock))
    children.append(pid)
print(*[sock.getsockname()[1] for sock in sockets], *children, flush=True)
sys.stdin.read()
for pid in children:
    os.kill(pid, 9)
    os.waitpid(pid, 0)
"""


def test_a_session_is_resumed_by_another_worker(files: Files) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", FORKED, files.cert, files.key], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as parent:
        assert parent.stdout is not None
        assert parent.stdin is not None
        *ports, one, two = map(int, parent.stdout.readline().split())
        context = files.client()
        session = None
        answered = []
        for port in ports:
            sock = socket.create_connection(("127.0.0.1", port), timeout=10)
            with context.wrap_socket(sock, server_hostname="localhost", session=session) as client:
                client.sendall(b"GET / HTTP/1.1\r\nhost: t\r\n\r\n")
                data = client.recv(65536)
                while b"\r\n\r\n" not in data:
                    data += client.recv(65536)
                answered.append((int(data.partition(b"\r\n\r\n")[2]), client.session_reused))
                session = client.session
        assert answered == [(one, False), (two, True)]
        parent.stdin.close()


@needs("openssl")
@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
def test_sessions_by_openssl(files: Files, tmp_path: Path, version: str) -> None:
    kept = str(tmp_path / "session")
    request = b"GET / HTTP/1.1\r\nhost: t\r\nconnection: close\r\n\r\n"
    with live(describing_app(), tls_cert=files.cert, tls_key=files.key) as server:
        place = ["-connect", f"127.0.0.1:{server.port}", "-servername", "localhost"]
        for way, words in (("-sess_out", b"New, TLS"), ("-sess_in", b"Reused, TLS")):
            server.opened += 1
            done = subprocess.run(
                ["openssl", "s_client", *place, "-CAfile", files.ca, version, "-ign_eof", way, kept],
                input=request,
                capture_output=True,
                timeout=20,
                check=True,
            )
            assert words in done.stdout
            assert b"Verify return code: 0 (ok)" in done.stdout
            assert b"HTTP/1.1 200" in done.stdout
