"""Where a server listens: families, Unix sockets, passed descriptors, several listeners; and what goes wrong."""

from __future__ import annotations

import os
import signal
import socket
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from fastnet.server import ConfigError
from fastnet.server.addresses import Address, parse_address
from fastnet.server.config import Listener
from fastnet.server.listeners import Listening, _tcp_failure
from tests.loops import NAME
from tests.server.service import APP, Client, alive, ended, running


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:8000", Address("tcp", "127.0.0.1", 8000)),
        ("[::1]:0", Address("tcp", "::1", 0)),
        (":80", Address("tcp", "", 80)),
        ("localhost:80", Address("tcp", "localhost", 80)),
        ("unix:/run/app.sock", Address("unix", "/run/app.sock")),
        ("unix:@name", Address("unix", "@name")),
        ("fd:3", Address("fd", port=3)),
        ("systemd", Address("systemd")),
        ("systemd:web", Address("systemd", "web")),
    ],
)
def test_addresses(text: str, address: Address) -> None:
    assert parse_address(text) == address


@pytest.mark.parametrize(
    "text",
    ["", "8000", "localhost", "::1:8000", "host:http", "host:70000", "unix:", "unix:@", "fd:x", "unix:" + "a" * 104],
)
def test_what_is_no_address_says_how_to_write_one(text: str) -> None:
    with pytest.raises(ValueError, match=r"write it as|brackets|between 0 and 65535|at most 103"):
        parse_address(text)


def open_one(*bind: str, places: int = 1, separate: bool = False, **settings: Any) -> Listening:
    listener = Listener(name="main", bind=bind, **settings)
    return Listening.open([listener], places=places, separate=separate)


def names(listening: Listening, place: int = 0, places: int = 1) -> list[object]:
    return [sock.getsockname() for sock in listening.of(place, places)["main"]]


def test_an_empty_host_is_both_families_on_one_port() -> None:
    listening = open_one(":0")
    found = listening.of(0)["main"]
    assert {sock.family for sock in found} == {socket.AF_INET, socket.AF_INET6}
    assert len({sock.getsockname()[1] for sock in found}) == 1
    # Nagle's delay is switched off only where asyncio sees a TCP socket.
    assert {sock.proto for sock in found} == {socket.IPPROTO_TCP}
    listening.close()


def test_places_share_a_port_and_not_a_socket() -> None:
    listening = open_one("127.0.0.1:0", places=3, separate=True)
    assert len({names(listening, place, 3)[0] for place in range(3)}) == 1
    assert len({listening.of(place, 3)["main"][0].fileno() for place in range(3)}) == 3
    # A place more, and then two fewer, whose sockets the first one serves.
    listening.grow(4)
    assert len(names(listening, 3, 4)) == 1
    assert [len(names(listening, place, 2)) for place in (0, 1)] == [3, 1]
    listening.close()


def test_one_socket_for_all() -> None:
    listening = open_one("127.0.0.1:0", places=3)
    assert len({listening.of(place, 3)["main"][0].fileno() for place in range(3)}) == 1
    listening.close()


@pytest.mark.parametrize("separate", [True, False])
def test_a_taken_port_is_refused(separate: bool) -> None:
    """With SO_REUSEPORT too, which would share it with whoever has it."""
    first = open_one("127.0.0.1:0", separate=separate)
    sock = first.of(0)["main"][0]
    sock.listen()
    port = sock.getsockname()[1]
    with pytest.raises(ConfigError, match=f"127.0.0.1:{port} is taken by another process"):
        open_one(f"127.0.0.1:{port}", separate=separate)
    first.close()


@pytest.mark.parametrize(
    ("bind", "settings", "message"),
    [
        ("no-such-host.invalid:80", {}, "'no-such-host.invalid' cannot be resolved"),
        ("192.0.2.1:8000", {}, "192.0.2.1:8000 is no address of this machine"),
        ("unix:/no/such/folder/app.sock", {}, "there is no folder /no/such/folder"),
        ("fd:999", {}, "fd:999 is not open"),
        ("fd:0", {}, "fd:0 is no socket"),
        ("systemd", {}, "systemd passed no sockets"),
        ("unix:{folder}/a", {"unix_owner": "nobody-of-that-name"}, "there is no user 'nobody-of-that-name'"),
        ("unix:{folder}/a", {"unix_owner": ":no-such-group"}, "there is no group 'no-such-group'"),
        ("nonsense", {}, "write it as 127.0.0.1:8000"),
    ],
)
def test_what_cannot_be_bound_is_one_line(tmp_path: Path, bind: str, settings: dict[str, Any], message: str) -> None:
    with open(os.devnull) as null:
        bind = bind.replace("fd:0", f"fd:{null.fileno()}")
        message = message.replace("fd:0", f"fd:{null.fileno()}")
        with pytest.raises(ConfigError) as caught:
            open_one(bind.format(folder=tmp_path), **settings)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_privileged_port_says_what_to_do() -> None:
    text = _tcp_failure("0.0.0.0", 80, PermissionError(13, "Permission denied"))
    assert text.startswith("0.0.0.0:80 needs privileges: ports below 1024 do; choose one above with --port")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody who may not")
def test_a_privileged_port_ends_the_command_with_3(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    (tmp_path / "service.py").write_text(APP)
    program = (
        "import os, socket, sys, encodings.idna; from fastnet.cli import main\n"
        "open('/proc/sys/net/ipv4/ip_unprivileged_port_start').read().strip() == '0' and sys.exit(77)\n"
        "sys.path.insert(0, sys.argv.pop()); import service; os.setgid(65534); os.setuid(65534)\n"
        "sys.exit(main(['run', 'service:app', '--port', '81', '--workers', sys.argv.pop()]))"
    )
    for workers in ("1", "2"):
        done = subprocess.run(
            [sys.executable, "-c", program, workers, str(tmp_path)],
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        if done.returncode == 77:
            pytest.skip("this machine lets everybody have every port")
        assert (done.returncode, done.stderr.count("\n")) == (3, 1), done.stderr
        assert "127.0.0.1:81 needs privileges" in done.stderr


def test_a_taken_port_ends_the_command_with_3(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        for workers in ("1", "2"):
            code, log = ended(tmp_path, APP, "--workers", workers, port=str(port))
            assert code == 3
            assert log.splitlines()[-1] == (
                f"fastnet: 127.0.0.1:{port} is taken by another process: "
                "stop that one, or choose another port with --port"
            )
            assert "Traceback" not in log


# --- Unix sockets


def over_unix(path: str) -> str:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(20)
        sock.connect(path)
        sock.sendall(b"GET /version HTTP/1.0\r\n\r\n")
        data = b""
        while more := sock.recv(65536):
            data += more
    return data.partition(b"\r\n\r\n")[2].decode()


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_unix_socket_has_its_mode_and_is_removed_at_the_end(tmp_path: Path, workers: str) -> None:
    path = tmp_path / "app.sock"
    flags = ("--bind", f"unix:{path}", "--unix-mode", "640", "--unix-owner", str(os.getuid()), "--workers", workers)
    with running(tmp_path, APP, *flags, port="") as service:
        service.wait_for(f"listening on unix:{path}")
        assert stat.S_IMODE(path.stat().st_mode) == 0o640
        assert over_unix(str(path)) == "one"
        if workers == "2":
            service.ready(2)
            service.tell(signal.SIGHUP)
            service.wait_for("all workers are new")
            assert over_unix(str(path)) == "one"
        assert service.end() == 0
        assert not path.exists()


def test_an_abstract_socket(tmp_path: Path) -> None:
    name = f"@fastnet-test-{os.getpid()}"
    with running(tmp_path, APP, "--bind", f"unix:{name}", port="") as service:
        service.wait_for(f"listening on unix:{name}")
        assert over_unix("\0" + name[1:]) == "one"
        assert service.end() == 0


def test_a_stale_socket_is_replaced_and_a_live_one_is_not(tmp_path: Path) -> None:
    path = str(tmp_path / "app.sock")
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(path)
    listening = open_one(f"unix:{path}")
    listening.of(0)["main"][0].listen()
    with pytest.raises(ConfigError, match="is taken by another process"):
        open_one(f"unix:{path}")
    assert os.path.exists(path)
    listening.close()
    assert not os.path.exists(path)


def test_a_file_that_is_no_socket_stays(tmp_path: Path) -> None:
    path = tmp_path / "precious"
    path.write_text("precious")
    with pytest.raises(ConfigError, match="exists and is no socket"):
        open_one(f"unix:{path}")
    assert path.read_text() == "precious"


def test_somebody_elses_socket_in_its_place_stays(tmp_path: Path) -> None:
    path = str(tmp_path / "app.sock")
    listening = open_one(f"unix:{path}")
    os.unlink(path)
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(path)
        listening.close()
        assert os.path.exists(path)


# --- passed on


def test_an_inherited_descriptor(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        number, port = sock.fileno(), sock.getsockname()[1]
        with running(tmp_path, APP, "--bind", f"fd:{number}", "--workers", "2", pass_fds=(number,), port="") as service:
            assert service.ready(2).port == port
            assert service.get("/version") == "one"
            assert service.end() == 0


def test_sockets_of_systemd_by_their_names(tmp_path: Path) -> None:
    (tmp_path / "fastnet.toml").write_text(
        '[listeners.web]\nbind = "systemd:web"\n[listeners.api]\nbind = "systemd:api"\n'
    )
    with socket.create_server(("127.0.0.1", 0)) as web, socket.create_server(("127.0.0.1", 0)) as api:
        # As systemd does: the sockets are descriptors from 3 on, and LISTEN_PID is the process itself.
        script = (
            f"exec 3<&{web.fileno()} 4<&{api.fileno()}; LISTEN_PID=$$ LISTEN_FDS=2 LISTEN_FDNAMES=web:api "
            f'exec "$0" -m fastnet run service:app --loop {NAME}'
        )
        descriptors = (web.fileno(), api.fileno())
        command = ["/bin/bash", "-c", script, sys.executable]
        with running(tmp_path, APP, command=command, pass_fds=descriptors) as service:
            service.wait_for("listening", 2)
            for sock, name in ((web, "web"), (api, "api")):
                port = sock.getsockname()[1]
                assert f"127.0.0.1:{port} ({name})" in service.log
                with Client(port) as client:
                    assert client.get("/version") == (200, "one")
            assert service.end() == 0


# --- several


TOML = """
[listeners.main]
bind = "127.0.0.1:0"
[listeners.strict]
bind = "127.0.0.1:0"
limit_head = 256
limit_request_line = 128
[listeners.v6]
bind = "[::1]:0"
"""


@pytest.mark.parametrize("workers", ["1", "2"])
def test_listeners_have_their_own_settings(tmp_path: Path, workers: str) -> None:
    (tmp_path / "fastnet.toml").write_text(TOML)
    with running(tmp_path, APP, "--workers", workers, port="") as service:
        service.wait_for("listening", 3)
        ports = [int(port) for port in service.wait_for(r"listening on http://\S*:(\d+)")]
        large = "x-large: " + "x" * 300
        with Client(ports[0]) as client:
            assert client.get("/version", large) == (200, "one")
        with Client(ports[1]) as client:
            assert client.get("/version", large)[0] == 431
        with Client(ports[1]) as client:
            assert client.get("/version") == (200, "one")
        with Client(ports[2], "::1") as client:
            assert client.get("/version") == (200, "one")
        assert service.end() == 0


def test_a_listener_that_cannot_be_bound_is_named(tmp_path: Path) -> None:
    (tmp_path / "fastnet.toml").write_text('[listeners.api]\nbind = "unix:/no/such/folder/a"\n')
    code, log = ended(tmp_path)
    assert code == 3
    message = "unix:/no/such/folder/a cannot be made: there is no folder /no/such/folder"
    assert log.splitlines()[-1] == f"fastnet: listener 'api': {message}"


READY = (
    APP
    + """
@app.get("/ready/{value}")
async def set_ready(value: bool) -> bool:
    app.ready = value
    return app.ready
"""
)


def test_the_admin_listener_tells_life_readiness_and_counters(tmp_path: Path) -> None:
    with running(tmp_path, READY, "--admin-bind", "0") as service:
        port = int(service.wait_for(r"listening on http://127.0.0.1:(\d+) \(admin\)")[0])
        with Client(port) as admin:
            assert admin.get("/live") == (200, '{"status":"live"}')
            assert admin.get("/ready")[0] == 200
            service.get("/ready/false")
            status, body = admin.get("/ready")
            assert (status, '"not ready"' in body) == (503, True)
            service.get("/ready/true")
            assert admin.get("/ready")[0] == 200
            assert '"requests":' in admin.get("/counters")[1]
            assert admin.get("/version")[0] == 404
        # It is not on the public one.
        with Client(service.port) as client:
            assert client.get("/live")[0] == 404
        assert service.end() == 0


def test_the_admin_listener_knows_all_workers(tmp_path: Path) -> None:
    with running(tmp_path, READY, "--admin-bind", "0", "--workers", "2") as service:
        service.ready(2)
        port = int(service.wait_for(r"listening on http://127.0.0.1:(\d+) \(admin\)")[0])
        with Client(port) as admin:
            status, body = admin.get("/ready")
            assert status == 200
            assert all(f'"pid":{pid}' in body for pid in service.workers)
        assert service.end() == 0
        assert not any(alive(pid) for pid in service.workers)
