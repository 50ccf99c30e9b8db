"""Listeners of one server, each with TLS and protocols of its own."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest

from tests.server.service import running
from tests.wire.live import Peer
from tests.wire.tls import Files
from tests.wire.tools import curl, needs, run

APP = """
from fastnet import App, Request

app = App()

@app.get("/")
async def index(request: Request) -> str:
    return f"{request.scheme} {request.http_version} {request.tls is not None and request.tls.subject[:8]}"
"""

TOML = """
[listeners.clear]
bind = "127.0.0.1:0"
protocols = ["http/1.1"]

[listeners.modern]
bind = "127.0.0.1:0"
protocols = ["h2"]
tls_cert = "{cert}"
tls_key = "{key}"
tls_min_version = "1.3"

[listeners.mutual]
bind = "127.0.0.1:0"
tls_cert = "{cert}"
tls_key = "{key}"
tls_client_ca = "{ca}"
tls_client_verify = "required"
"""


@needs("curl")
def test_each_has_its_own_tls_and_protocols(tmp_path: Path, files: Files, alice: Files) -> None:
    (tmp_path / "fastnet.toml").write_text(TOML.format(cert=files.cert, key=files.key, ca=files.ca))
    with running(tmp_path, APP, port="") as service:
        clear, modern, mutual = map(int, service.wait_for(r"listening on https?://127.0.0.1:(\d+)", 3))
        trust = ("--cacert", files.ca)
        assert curl(f"http://localhost:{clear}/").body == b"http 1.1 False"
        assert run("curl", "-sS", "--http2-prior-knowledge", f"http://localhost:{clear}/").returncode != 0
        assert curl(f"https://localhost:{modern}/", "--http2", *trust).body == b"https 2 "
        # Who offers HTTP/1.1 alone, and who speaks an older TLS, are turned away by this one only.
        assert run("curl", "-sS", "--http1.1", *trust, f"https://localhost:{modern}/").returncode != 0
        assert run("curl", "-sS", "--tls-max", "1.2", *trust, f"https://localhost:{modern}/").returncode != 0
        shown = ("--cert", alice.cert, "--key", alice.key, "--tls-max", "1.2")
        assert curl(f"https://localhost:{mutual}/", "--http1.1", *trust, *shown).body == b"https 1.1 CN=alice"
        with pytest.raises((ssl.SSLError, OSError, EOFError)), Peer(mutual, context=files.client()) as stranger:
            stranger.get("/").answer()
