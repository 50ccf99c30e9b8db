"""Starts the demo service on a free port and drives it over the wire, with clients that are not ours.

Prints a transcript; exits with 0 when every answer was right, with 1 and a message otherwise.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

READY = re.compile(r"listening on (http://[^\s\"]+)")
START_LIMIT = 30  # seconds until the service must be listening
STOP_LIMIT = 15  # seconds it may take to stop


class WrongAnswer(Exception):
    """An answer was not what it must be."""


def main() -> int:
    if shutil.which("curl") is None:
        print("the demo drives the service with curl: install it and run make demo again", file=sys.stderr)
        return 1
    try:
        with service() as url:
            print(f"The demo service listens on {url}\n")
            for talk in (over_http1, over_http2, bad_input, over_websocket, over_grpc):
                talk(url)
    except WrongAnswer as error:
        print(f"\nThe demo failed: {error}", file=sys.stderr)
        return 1
    print("\nThe service stopped cleanly. Every answer was right.")
    return 0


@contextlib.contextmanager
def service() -> Iterator[str]:
    """The service in a process of its own; it is stopped by SIGTERM and must exit with 0."""
    command = [sys.executable, "-m", "fastnet", "run", "examples.demo.service:app", "--port", "0"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    lines: list[str] = []
    ready = threading.Event()

    def read() -> None:
        assert process.stderr is not None
        for line in process.stderr:
            lines.append(line)
            if READY.search(line):
                ready.set()
        ready.set()

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    try:
        ready.wait(START_LIMIT)
        found = READY.search("".join(lines))
        if found is None:
            raise WrongAnswer("the service did not start:\n" + "".join(lines))
        yield found[1]
        process.send_signal(signal.SIGTERM)
        if process.wait(STOP_LIMIT) != 0:
            raise WrongAnswer(f"the service ended with exit code {process.returncode}:\n" + "".join(lines))
    except subprocess.TimeoutExpired:
        raise WrongAnswer(f"the service did not stop within {STOP_LIMIT} s of SIGTERM") from None
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        reader.join(STOP_LIMIT)


# --- the conversations


def over_http1(url: str) -> None:
    heading("HTTP/1.1, by curl")
    curl(url, "/hello", expect="Hello, World!")
    curl(url, "/users/1?verbose=true", expect={"id": 1, "name": "Ada", "age": 36})
    body = '{"name": "Grace", "age": 42}'
    curl(url, "/users", "-d", body, "-H", "content-type: application/json", status=201,
         expect={"name": "Grace", "age": 42, "id": 2})  # fmt: skip
    curl(url, "/me", "-H", "authorization: Bearer Ada", expect={"name": "Ada", "age": 0})
    curl(url, "/report", expect="line 0\nline 1\nline 2\n")
    curl(url, "/upload", "-H", "transfer-encoding: chunked", "--data-binary", "x" * 1000,
         expect=lambda answer: json.loads(answer)["bytes"] == 1000)  # fmt: skip
    curl(url, "/", expect=lambda answer: "<title>fastnet demo</title>" in answer, shown="(the start page)")


def over_http2(url: str) -> None:
    heading("HTTP/2 on the same port, by curl --http2-prior-knowledge")
    if "HTTP2" not in subprocess.run(["curl", "--version"], capture_output=True, text=True, check=True).stdout:
        print("  skipped: this curl was built without HTTP/2")
        return
    curl(url, "/hello?name=HTTP/2", "--http2-prior-knowledge", expect="Hello, HTTP/2!")
    body = '{"name": "Edsger", "age": 72}'
    curl(url, "/users", "--http2-prior-knowledge", "-d", body, "-H", "content-type: application/json", status=201,
         expect={"name": "Edsger", "age": 72, "id": 3})  # fmt: skip


def bad_input(url: str) -> None:
    heading("What bad input gets")
    curl(url, "/users/abc", status=422, expect=lambda answer: json.loads(answer)["errors"][0]["loc"] == ["path", "id"])
    curl(url, "/users", "-d", '{"name": ""}', "-H", "content-type: application/json", status=422,
         expect=lambda answer: json.loads(answer)["errors"][0]["loc"] == ["body", "name"])  # fmt: skip
    curl(url, "/me", "-H", "authorization: Basic x", status=401, expect=lambda answer: "Bearer" in answer)
    curl(url, "/nowhere", status=404, expect=lambda answer: json.loads(answer)["status"] == 404)
    curl(url, "/hello", "-X", "DELETE", status=405, expect=lambda answer: json.loads(answer)["status"] == 405)


def over_websocket(url: str) -> None:
    heading("WebSocket, by websockets")
    from websockets.asyncio.client import connect

    async def talk() -> None:
        async with connect(url.replace("http", "ws", 1) + "/echo") as socket:
            messages: list[str | bytes] = ["ping", b"\x00\x01\x02", "a longer text, " * 5000]
            for message in messages:
                await socket.send(message)
                check_same(f"> {shorten(message)}", await socket.recv(), message)
            await socket.send(["in ", "three ", "fragments"])
            check_same("> 'in ' 'three ' 'fragments'", await socket.recv(), "in three fragments")
            await (await socket.ping())
            print("  > ping\n  < pong")
        if socket.close_code != 1000:
            raise WrongAnswer(f"the WebSocket closed with {socket.close_code}, not 1000")
        print("  closed with code 1000")

    asyncio.run(talk())


def over_grpc(url: str) -> None:
    heading("gRPC, by grpcio")
    import greeter_pb2 as pb
    import greeter_pb2_grpc as pb_grpc
    import grpc

    with grpc.insecure_channel(url.removeprefix("http://")) as channel:
        stub = pb_grpc.GreeterStub(channel)
        reply = stub.SayHello(pb.HelloRequest(name="Ada"), timeout=10)
        check_same("> SayHello(name='Ada')", reply.message, "Hello, Ada!")
        try:
            stub.SayHello(pb.HelloRequest(), timeout=10)
        except grpc.RpcError as error:
            check_same("> SayHello()", f"{error.code().name}: {error.details()}",
                       "INVALID_ARGUMENT: a greeting needs a name")  # fmt: skip
        else:
            raise WrongAnswer("SayHello() without a name was answered, not refused")
        replies = stub.SayHelloStream(pb.HelloRequest(name="Ada"), timeout=10)
        check_same("> SayHelloStream(name='Ada')", [reply.message for reply in replies], ["0: Ada", "1: Ada", "2: Ada"])
        requests = (pb.HelloRequest(name=name) for name in ("Ada", "Grace"))
        summary = stub.RecordGreetings(requests, timeout=10)
        check_same("> RecordGreetings of Ada, Grace", (summary.count, summary.summary), (2, "Ada, Grace"))
        messages = (pb.ChatMessage(user="Ada", content=text) for text in ("hello", "bye"))
        answers = [message.content for message in stub.Chat(messages, timeout=10)]
        check_same("> Chat of 'hello', 'bye'", answers, ["HELLO", "BYE"])


# --- asking and checking


def curl(
    url: str,
    path: str,
    *options: str,
    expect: str | dict[str, Any] | Callable[[str], bool],
    status: int = 200,
    shown: str | None = None,
) -> None:
    """Ask by curl and check status and body; text must be equal, JSON equal as a value."""
    command = ["curl", "--silent", "--show-error", "--max-time", "10", "--write-out", "\n%{http_code}", *options]
    done = subprocess.run(
        [*command, url + path], capture_output=True, text=True, env={**os.environ, "no_proxy": "*"}, check=False
    )
    if done.returncode != 0:
        raise WrongAnswer(f"curl {path}: {done.stderr.strip()}")
    answer, _, code = done.stdout.rpartition("\n")
    words = [f"'{shorten(option)}'" if " " in option or '"' in option else shorten(option) for option in options]
    print(f"  $ curl {' '.join([*words, path])}")
    print(f"    {code} {shown or shorten(answer)}")
    if int(code) != status:
        raise WrongAnswer(f"{path} was answered with {code}, not {status}: {answer}")
    if callable(expect):
        right = expect(answer)
    else:
        right = (json.loads(answer) if isinstance(expect, dict) else answer) == expect
    if not right:
        raise WrongAnswer(f"{path} was answered with {answer!r}, not {expect!r}")


def check_same(asked: str, answer: object, expected: object) -> None:
    print(f"  {asked}\n  < {shorten(answer)}")
    if answer != expected:
        raise WrongAnswer(f"{asked} was answered with {shorten(answer)}, not {shorten(expected)}")


def heading(text: str) -> None:
    print(f"\n{text}")


def shorten(value: object) -> str:
    text = value.rstrip("\n").replace("\n", "\\n") if isinstance(value, str) else repr(value)
    return text if len(text) <= 110 else f"{text[:100]}… ({len(text)} characters)"


if __name__ == "__main__":
    sys.exit(main())
