"""What ends a worker's life, what is shared before it, and what systemd and others are told."""

from __future__ import annotations

import os
import signal
import socket
import sys
from pathlib import Path

import pytest

from tests.server.service import APP, Client, Load, alive, ended, running, until


@pytest.mark.parametrize(
    ("flag", "value", "reason"),
    [
        ("--worker-max-requests", "200", "worker_max_requests"),
        ("--worker-max-age", "1s", "worker_max_age"),
        ("--worker-max-memory", "1MiB", "worker_max_memory"),
    ],
)
def test_a_worker_at_its_limit_is_replaced_without_a_broken_request(
    tmp_path: Path, flag: str, value: str, reason: str
) -> None:
    """One worker suffices for a supervisor then: its successor serves before it leaves."""
    with running(tmp_path, APP, flag, value) as service:
        service.ready(1)
        load = Load(service.port)
        with load.going(4):
            service.wait_for(f"is replaced: .*{reason}")
            service.ready(2)
            first = service.workers[0]
            until(lambda: not alive(first), "the end of the first worker")
            load.more()
        assert load.failures == []
        assert service.end() == 0


def test_limits_of_workers_lie_apart(tmp_path: Path) -> None:
    """Each worker draws its own, at most ``worker_jitter`` below: they do not go together."""
    flags = ("--workers", "4", "--worker-max-requests", "1000", "--worker-jitter", "0.5")
    with running(tmp_path, APP, *flags) as service:
        service.ready(4)
        with Load(service.port).going(8):
            counts = service.wait_for(r"is replaced: it has answered (\d+) requests", 4)
        reached = [int(count) for count in counts[:4]]
        # The beat that notices comes some requests later.
        assert all(count >= 500 for count in reached)
        assert len(set(reached)) > 1
        assert service.end() == 0


def test_a_worker_that_is_told_to_stop_by_hand_is_replaced(tmp_path: Path) -> None:
    with running(tmp_path, APP, "--workers", "2") as service:
        service.ready(2)
        os.kill(service.workers[0], signal.SIGTERM)
        service.ready(3)
        assert service.end() == 0


# --- preload


def test_preload_imports_the_app_once(tmp_path: Path) -> None:
    code = APP + "\nprint('imported by', os.getpid(), file=__import__('sys').stderr, flush=True)\n"
    with running(tmp_path, code, "--workers", "2", "--preload") as service:
        service.ready(2)
        assert service.wait_for(r"imported by (\d+)") == [str(service.pid)]
        assert service.answering(2) == {str(pid) for pid in service.workers}
        # A crashed worker's successor has it too.
        os.kill(service.workers[0], signal.SIGKILL)
        service.ready(3)
        assert service.end() == 0


def test_sighup_brings_new_code_to_preloaded_workers(tmp_path: Path) -> None:
    with running(tmp_path, APP, "--workers", "2", "--preload") as service:
        service.ready(2)
        load = Load(service.port)
        with load.going(4):
            (tmp_path / "service.py").write_text(APP.replace('"one"', '"two"'))
            service.tell(signal.SIGHUP)
            service.wait_for("all workers are new")
            load.more()
        assert load.failures == []
        assert service.get("/version") == "two"
        # And again, in the program that took the place of the first.
        (tmp_path / "service.py").write_text(APP.replace('"one"', '"three"'))
        service.tell(signal.SIGHUP)
        service.wait_for("all workers are new", 2)
        assert service.get("/version") == "three"
        assert service.end() == 0


def test_what_preloaded_workers_share_is_out_of_the_collectors_sight(tmp_path: Path) -> None:
    code = APP + "\nimport gc\n\n@app.get('/frozen')\nasync def frozen() -> int:\n    return gc.get_freeze_count()\n"
    for flags, shared in (((), False), (("--preload",), True)):
        with running(tmp_path, code, "--workers", "2", *flags) as service:
            service.ready(2)
            # All that the import made, at the least.
            assert (int(service.get("/frozen")) > 10_000) is shared
            assert service.end() == 0


@pytest.mark.parametrize(
    ("code", "found"),
    [
        (
            "import threading, time\nthreading.Thread(target=time.sleep, args=(60,), name='busy', daemon=True).start()",
            "'busy'",
        ),
        ("import asyncio\nloop = asyncio.new_event_loop()", "event loop"),
        ("import socket\nsock = socket.socket()", "a socket"),
    ],
    ids=["thread", "loop", "socket"],
)
def test_preload_refuses_what_does_not_survive_a_fork(tmp_path: Path, code: str, found: str) -> None:
    exit_code, log = ended(tmp_path, f"{APP}\n{code}\n", "--workers", "2", "--preload")
    assert exit_code == 3
    last = log.splitlines()[-1]
    assert last.startswith("fastnet: workers cannot be forked from what the app's import left behind: ")
    assert found in last
    assert "Traceback" not in log


# --- settings of the app, and app.run


def test_the_app_may_say_how_many_workers_it_wants(tmp_path: Path) -> None:
    code = APP.replace("App()", 'App(settings={"workers": 2})')
    with running(tmp_path, code) as service:
        service.ready(2)
        assert len(service.answering(2)) == 2
        assert service.end() == 0


RUN = APP + "\nif __name__ == '__main__':\n    app.run(port=0, workers={workers}{more})\n"


def test_app_run_with_workers(tmp_path: Path) -> None:
    command = [sys.executable, "service.py"]
    with running(tmp_path, RUN.format(workers=2, more=""), command=command) as service:
        service.ready(2)
        assert len(service.answering(2)) == 2
        service.tell(signal.SIGHUP)
        service.wait_for("all workers are new")
        service.ready(4)
        assert service.get("/version") == "one"
        assert service.end() == 0


def test_app_run_cannot_reload(tmp_path: Path) -> None:
    code = RUN.format(workers=1, more=", reload=True")
    with running(tmp_path, code, command=[sys.executable, "service.py"]) as service:
        assert service.process.wait(20) == 1
        assert "use `fastnet run module:app --reload`" in service.log.splitlines()[-1]


# --- what others are told


def test_a_pid_file_lasts_as_long_as_the_service(tmp_path: Path) -> None:
    path = tmp_path / "service.pid"
    for workers in ("1", "2"):
        with running(tmp_path, APP, "--pid-file", str(path), "--workers", workers) as service:
            service.wait_for("listening on")
            assert path.read_text() == f"{service.pid}\n"
            if workers == "2":
                service.tell(signal.SIGHUP)
                service.wait_for("all workers are new")
                assert path.read_text() == f"{service.pid}\n"
            assert service.end() == 0
            assert not path.exists()


def test_a_pid_file_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    code, log = ended(tmp_path, APP, "--pid-file", "/no/such/folder/pid")
    assert code == 3
    assert log == "fastnet: pid_file /no/such/folder/pid cannot be written: No such file or directory\n"


@pytest.mark.parametrize("workers", ["1", "2"])
def test_systemd_is_told(tmp_path: Path, workers: str) -> None:
    path = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(path)
        manager.settimeout(20)
        environment = {"NOTIFY_SOCKET": path, "WATCHDOG_USEC": "200000"}
        with running(tmp_path, APP, "--workers", workers, environment=environment) as service:
            told: list[str] = []

            def wait_for(state: str) -> None:
                while state not in told:
                    told.extend(manager.recv(4096).decode().split("\n"))

            wait_for("READY=1")
            told.clear()
            wait_for("WATCHDOG=1")
            if workers == "2":
                service.tell(signal.SIGHUP)
                wait_for("RELOADING=1")
                assert any(line.startswith("MONOTONIC_USEC=") for line in told)
                told.clear()
                wait_for("READY=1")
            service.tell(signal.SIGTERM)
            wait_for("STOPPING=1")
            assert service.process.wait(20) == 0


def test_sighup_without_a_supervisor_keeps_serving(tmp_path: Path) -> None:
    with running(tmp_path) as service, Client(service.port) as client:
        assert client.get("/version") == (200, "one")
        service.tell(signal.SIGHUP)
        service.wait_for("SIGHUP: certificates are read again")
        assert client.get("/version") == (200, "one")
        assert service.end() == 0
