"""A page in Chromium, over TLS and HTTP/2: what browsers make of every kind of handler, told by the page itself."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import shutil
import signal
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

import grpc
import orjson
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from fastnet import App, HTMLResponse, Request
from fastnet.compression import CODINGS, Compression
from fastnet.websocket import WebSocket
from tests.protos import greeter, user
from tests.wire.live import Live, live, until
from tests.wire.tls import Files

PATIENCE = 60
"""Seconds for a browser to start, on a machine that does other work."""

pb, _ = greeter()
user_pb, _ = user()

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")

PAGE = """<!doctype html><meta charset="utf-8"><title>what a browser sees</title><script>
const text = async (target, options) => (await fetch(target, options)).text();
const concat = (...parts) => new Uint8Array(parts.flatMap(part => [...part]));

const checks = {
  async plain() {
    const answer = await fetch("/plain");
    return [answer.status, answer.headers.get("content-type"), await answer.text()];
  },
  async many() {
    const answers = await Promise.all([...Array(200).keys()].map(n => text(`/number/${n}`)));
    return answers.every((answer, n) => answer === String(n));
  },
  async upload() {
    const body = new Uint8Array(3 << 20).map((_, n) => n * 7);
    return await text("/upload", {method: "POST", body});
  },
  async stream() {
    // The second half waits for another request of the same connection.
    const reader = (await fetch("/halves")).body.pipeThrough(new TextDecoderStream()).getReader();
    let seen = (await reader.read()).value;
    const first = seen;
    await text("/go", {method: "POST"});
    for (let next; !(next = await reader.read()).done;) seen += next.value;
    return [first, seen];
  },
  async codings() {
    const found = [];
    for (const coding of ["gzip", "deflate", "br", "zstd", "all"]) {
      const answer = await fetch(`/coded/${coding}`);
      found.push([answer.headers.get("content-encoding"), (await answer.text()).length]);
    }
    return found;
  },
  async events() {
    // The second event waits until the first has been seen: it is not held back by what compresses them.
    const source = new EventSource("/ticks"), got = [];
    await new Promise((resolve, reject) => {
      source.onmessage = event => {
        if (got.push(event.data) === 1) fetch("/tick", {method: "POST"});
        else { source.close(); resolve(); }
      };
      source.onerror = () => reject(new Error("the stream failed"));
    });
    return got;
  },
  async abort() {
    const control = new AbortController();
    const answer = await fetch("/endless", {signal: control.signal});
    await answer.body.getReader().read();
    control.abort();
    return await text("/plain");
  },
  async failure() {
    const answer = await fetch("/missing");
    return [answer.status, answer.headers.get("content-type")];
  },
  async websocket() {
    const socket = new WebSocket(`wss://${location.host}/echo`);
    const got = [];
    await new Promise((resolve, reject) => {
      socket.onopen = () => { socket.send("Åsa"); socket.send("x".repeat(100000)); };
      socket.onmessage = event => { if (got.push(event.data) === 3) socket.close(3000, "done"); };
      socket.onclose = event => { got.push(event.code, event.wasClean); resolve(); };
      socket.onerror = () => reject(new Error("the WebSocket failed"));
    });
    return got.map(each => each.length > 1000 ? each.length : each);
  },
  async connect() {
    const options = {method: "POST", headers: {"content-type": "application/json", "connect-protocol-version": "1"}};
    const call = async name => {
      const answer = await fetch("/greeter.Greeter/SayHello", {...options, body: JSON.stringify({name})});
      return [answer.status, answer.headers.get("content-encoding"), await answer.json()];
    };
    const query = `encoding=json&message=${encodeURIComponent('{"id": 7}')}`;
    const found = await (await fetch(`/user.UserService/GetUser?${query}`)).json();
    return [await call("Ada"), await call("nobody"), found];
  },
  async web(origin = "") {
    const name = new TextEncoder().encode("Ada");
    const message = concat([10, name.length], name);
    const answer = await fetch(`${origin}/greeter.Greeter/SayHelloStream`, {
      method: "POST",
      headers: {"content-type": "application/grpc-web+proto", "x-grpc-web": "1", "mine": "yours"},
      body: concat([0, 0, 0, 0, message.length], message),
    });
    const bytes = new Uint8Array(await answer.arrayBuffer());
    const found = [answer.headers.get("shown"), answer.headers.get("hidden")];
    for (let at = 0; at < bytes.length;) {
      const size = new DataView(bytes.buffer).getUint32(at + 1);
      const flag = bytes[at], payload = bytes.subarray(at + 5, at + 5 + size);
      found.push([flag, new TextDecoder().decode(flag ? payload : payload.subarray(2))]);
      at += 5 + size;
    }
    return found;
  },
  async other() {
    // Another origin, at the same port: the browser asks it first whether the page may.
    return await checks.web(`https://127.0.0.1:${location.port}`);
  },
};

(async () => {
  const told = {};
  for (const [name, check] of Object.entries(checks)) {
    try { told[name] = await check(); } catch (error) { told[name] = String(error); }
  }
  const entries = [...performance.getEntriesByType("resource"), ...performance.getEntriesByType("navigation")];
  told.protocols = [...new Set(entries.map(entry => entry.nextHopProtocol).filter(Boolean))];
  await fetch("/told", {method: "POST", body: JSON.stringify(told)});
})();
</script>"""


class Seen:
    """What handlers noticed, and what the page told."""

    def __init__(self) -> None:
        self.told: SimpleQueue[bytes] = SimpleQueue()
        self.go = asyncio.Event()
        self.tick = asyncio.Event()
        self.left = 0


class Greeter:
    async def SayHello(self, request: Any, context: Any) -> Any:
        context.set_compression(grpc.Compression.Gzip)
        if request.name == "nobody":
            await context.abort(grpc.StatusCode.NOT_FOUND, "nobody")
        return pb.HelloReply(message=f"Hello, {request.name}!")

    async def SayHelloStream(self, request: Any, context: Any) -> AsyncIterator[Any]:
        sent = dict(context.invocation_metadata())["mine"]
        await context.send_initial_metadata([("shown", sent), ("hidden", sent)])
        for number in range(2):
            yield pb.HelloReply(message=f"{number} {request.name}")


class Users:
    async def GetUser(self, request: Any, context: Any) -> Any:
        return user_pb.User(id=request.id, name="Ada")


@pytest.fixture(scope="module")
def seen() -> Seen:
    return Seen()


@pytest.fixture(scope="module")
def server(seen: Seen, files: Files) -> Iterator[Live]:
    app = App(max_body=8 << 20)

    @app.get("/")
    async def page() -> HTMLResponse:
        return HTMLResponse(PAGE)

    @app.get("/plain")
    async def plain(request: Request) -> str:
        return f"HTTP/{request.http_version}"

    @app.get("/number/{n}")
    async def number(n: int) -> str:
        return str(n)

    @app.post("/upload")
    async def upload(body: bytes) -> str:
        return f"{len(body)} {hashlib.sha256(body).hexdigest()}"

    @app.get("/halves")
    async def halves() -> AsyncIterator[str]:
        yield "first"
        await seen.go.wait()
        yield " second"

    @app.post("/go")
    async def go() -> None:
        seen.go.set()

    for coding in (*CODINGS, None):

        @app.get(
            f"/coded/{coding or 'all'}", compress=Compression(codings=[coding] if coding else ("zstd", "br", "gzip"))
        )
        async def coded() -> str:
            return "line by line\n" * 1000

    @app.sse("/ticks", compress=Compression(codings=["zstd"]))
    async def ticks() -> AsyncIterator[str]:
        yield "first"
        await seen.tick.wait()
        yield "second"

    @app.post("/tick")
    async def tick() -> None:
        seen.tick.set()

    @app.get("/endless")
    async def endless() -> AsyncIterator[bytes]:
        try:
            while True:
                yield bytes(1000)
                await asyncio.sleep(0.001)
        finally:
            seen.left += 1

    @app.websocket("/echo")
    async def echo(ws: WebSocket) -> None:
        # RFC 8441, 5: over HTTP/2 a WebSocket has no key.
        await ws.send("HTTP/1.1" if "sec-websocket-key" in ws.headers else "HTTP/2")
        async for message in ws:
            await ws.send(message)

    @app.post("/told")
    async def told(body: bytes) -> None:
        seen.told.put(body)

    app.grpc.service("greeter.Greeter")(Greeter)
    app.grpc.add(Users(), "user.UserService")
    app.grpc.cors("*", expose=["shown"])
    with live(app, tls_cert=files.cert, tls_key=files.key) as running:
        yield running


def pin(files: Files) -> str:
    """The hash of the certificate's key, by which Chromium takes it although it knows no authority of ours."""
    key = x509.load_pem_x509_certificate(Path(files.cert).read_bytes()).public_key()
    raw = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return base64.b64encode(hashlib.sha256(raw).digest()).decode()


@contextmanager
def browsing(url: str, folder: Path, key: str) -> Iterator[Path]:
    """Chromium without a window, at that address; where it writes what it has to say."""
    said = folder / "said"
    command = [str(CHROMIUM), "--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--no-proxy-server"]
    command += ["--disable-dev-shm-usage", "--disable-background-networking", "--remote-debugging-port=0"]
    command += [f"--user-data-dir={folder / 'profile'}", f"--ignore-certificate-errors-spki-list={key}", url]
    with said.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, start_new_session=True)
    try:
        yield said
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@pytest.fixture(scope="module")
def told(server: Live, seen: Seen, files: Files, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    with browsing(f"https://localhost:{server.port}/", tmp_path_factory.mktemp("chromium"), pin(files)) as said:
        try:
            found = seen.told.get(timeout=PATIENCE)
        except Empty:
            pytest.fail(f"the page told nothing; Chromium said: {said.read_text(errors='replace')[-3000:]}")
    result: dict[str, Any] = orjson.loads(found)
    return result


UPLOAD = bytes(n * 7 % 256 for n in range(256)) * (3 << 12)
STREAM = ["yours", "yours", [0, "0 Ada"], [0, "1 Ada"], [0x80, "grpc-status: 0\r\n"]]
EXPECTED: dict[str, Any] = {
    "plain": [200, "text/plain; charset=utf-8", "HTTP/2"],
    "many": True,
    "upload": f"{len(UPLOAD)} {hashlib.sha256(UPLOAD).hexdigest()}",
    "stream": ["first", "first second"],
    "codings": [["gzip", 13000], ["deflate", 13000], ["br", 13000], ["zstd", 13000], ["zstd", 13000]],
    "events": ["first", "second"],
    "abort": "HTTP/2",
    "failure": [404, "application/problem+json"],
    "websocket": ["HTTP/2", "Åsa", 100000, 3000, True],
    "connect": [
        [200, "gzip", {"message": "Hello, Ada!"}],
        [404, None, {"code": "not_found", "message": "nobody"}],
        {"id": "7", "name": "Ada"},
    ],
    "web": STREAM,
    # What is not exposed, a page of another origin does not see.
    "other": ["yours", None, *STREAM[2:]],
    "protocols": ["h2"],
}


@pytest.mark.parametrize("check", EXPECTED)
def test_a_page(told: dict[str, Any], check: str) -> None:
    assert told[check] == EXPECTED[check]


def test_nothing_stays_behind(told: dict[str, Any], server: Live, seen: Seen) -> None:
    assert told["abort"]
    until(lambda: seen.left == 1)
    counters = server.settle()
    assert (counters["requests_active"], counters["internal"], counters["limit_flood"]) == (0, 0, 0)
