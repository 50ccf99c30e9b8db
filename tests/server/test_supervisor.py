"""Workers under a supervisor: real processes, real signals, and clients that notice every broken request."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from tests.server.service import APP, Client, Load, alive, ended, running, until


def test_two_workers_answer_on_one_port(tmp_path: Path) -> None:
    with running(tmp_path, APP, "--workers", "2") as service:
        service.ready(2)
        assert service.answering(2) == {str(pid) for pid in service.workers}
        assert service.end() == 0
        assert "stopped" in service.log
        assert not any(alive(pid) for pid in service.workers)


@pytest.mark.parametrize("sockets", ["reuseport", "shared"])
def test_kill_of_a_worker_under_load_breaks_its_own_connections_only(tmp_path: Path, sockets: str) -> None:
    with running(tmp_path, APP, "--workers", "2", "--sockets", sockets) as service:
        service.ready(2)
        load = Load(service.port)
        with load.going(8):
            load.more()
            # One that has connections: of a shared socket a single worker may take them all.
            victim = int(sorted(load.bodies)[0])
            os.kill(victim, signal.SIGKILL)
            service.ready(3)
            load.more(500)
        # Each client has one connection at a time: what was in flight on that worker, and nothing else. A connection
        # that had no answer yet may have been accepted by it just then.
        assert len(load.failures) <= 8
        assert not [failure for failure in load.failures if "Refused" in failure or "status" in failure]
        assert set(load.failed_at) <= {str(victim), ""}
        assert load.failed_at.count("") <= 1
        assert f"worker {victim} ended by SIGKILL" in service.log
        assert service.end() == 0


@pytest.mark.parametrize("sockets", ["reuseport", "shared"])
def test_rolling_restart_under_load_breaks_nothing_and_brings_new_code(tmp_path: Path, sockets: str) -> None:
    with running(tmp_path, APP, "--workers", "2", "--sockets", sockets) as service:
        service.ready(2)
        old = service.workers
        load = Load(service.port)
        with load.going(8):
            load.more()
            assert service.get("/version") == "one"
            (tmp_path / "service.py").write_text(APP.replace('"one"', '"two"'))
            service.tell(signal.SIGHUP)
            service.wait_for("all workers are new")
            load.more(500)
            until(lambda: not any(alive(pid) for pid in old), "the end of the old workers")
        assert load.failures == []
        assert service.get("/version") == "two"
        # It is the same process still.
        assert alive(service.pid)
        assert service.end() == 0


def test_broken_new_code_changes_nothing(tmp_path: Path) -> None:
    with running(tmp_path, APP, "--workers", "2") as service:
        service.ready(2)
        (tmp_path / "service.py").write_text("this is no Python\n")
        service.tell(signal.SIGHUP)
        service.wait_for("not reloaded")
        service.wait_for("SyntaxError")
        assert all(alive(pid) for pid in service.workers)
        assert service.get("/version") == "one"
        # Mended, it works again.
        (tmp_path / "service.py").write_text(APP.replace('"one"', '"two"'))
        service.tell(signal.SIGHUP)
        service.wait_for("all workers are new")
        assert service.get("/version") == "two"
        assert service.end() == 0


def test_new_code_that_fails_in_its_lifespan_changes_nothing(tmp_path: Path) -> None:
    with running(tmp_path, APP, "--workers", "2") as service:
        service.ready(2)
        old = service.workers
        (tmp_path / "service.py").write_text(APP + FAILING_LIFESPAN)
        service.tell(signal.SIGHUP)
        service.wait_for("not reloaded, the other workers stay")
        assert all(alive(pid) for pid in old)
        assert service.get() in map(str, old)
        assert service.end() == 0


FAILING_LIFESPAN = """
@app.lifespan
async def lifespan(app: App) -> AsyncIterator[None]:
    raise RuntimeError("no database")
    yield
"""


@pytest.mark.parametrize("workers", ["1", "2", "4"])
@pytest.mark.parametrize(
    ("code", "message"),
    [
        (APP + FAILING_LIFESPAN, "RuntimeError: no database"),
        ("import nothing_of_that_name\n", "ModuleNotFoundError: No module named 'nothing_of_that_name'"),
        ("def broken(:\n", "SyntaxError: invalid syntax"),
    ],
    ids=["lifespan", "import", "syntax"],
)
def test_a_start_that_fails_ends_with_3_and_says_so_once(tmp_path: Path, workers: str, code: str, message: str) -> None:
    exit_code, log = ended(tmp_path, code, "--workers", workers)
    assert exit_code == 3
    assert log.count("Traceback") <= 1
    assert log.splitlines().count(message) == 1
    assert log.rstrip().splitlines()[-1].startswith("fastnet: ")


def test_a_wrong_place_ends_with_2_and_one_line(tmp_path: Path) -> None:
    for workers in ("1", "2"):
        exit_code, log = ended(tmp_path, APP, "--workers", workers, app="service:application")
        assert exit_code == 2
        assert "Traceback" not in log
        assert log.rstrip().splitlines()[-1] == "fastnet: module 'service' has no 'application'; its app is 'app'"


def test_a_worker_that_dies_while_it_starts_ends_with_3(tmp_path: Path) -> None:
    exit_code, log = ended(tmp_path, "import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)\n", "--workers", "2")
    assert exit_code == 3
    assert "SIGSEGV" in log


def test_a_crash_loop_is_slowed_down(tmp_path: Path) -> None:
    """The first restart comes at once, the next ones after a time."""
    with running(tmp_path, APP, "--workers", "2") as service:
        service.ready(2)
        for count in (3, 4):
            os.kill(service.workers[-1], signal.SIGKILL)
            service.ready(count)
        assert "another one is started in 0 s" in service.log
        assert "another one is started in 1 s" in service.log


def test_workers_drain_when_their_supervisor_is_killed(tmp_path: Path) -> None:
    with running(tmp_path, APP, "--workers", "2") as service:
        service.ready(2)
        os.kill(service.pid, signal.SIGKILL)
        until(lambda: not any(alive(pid) for pid in service.workers), "the end of the workers")
        assert "the supervisor is gone" in service.log


def test_more_and_fewer_workers(tmp_path: Path) -> None:
    with running(tmp_path, APP, "--workers", "1", "--supervise", "always") as service:
        service.ready(1)
        first = service.workers[0]
        load = Load(service.port)
        with load.going(4):
            service.tell(signal.SIGTTIN)
            service.ready(2)
            service.answering(2)
            service.tell(signal.SIGTTOU)
            # The first worker is replaced by one that serves the other's socket as well.
            service.ready(3)
            until(lambda: not alive(first) and not alive(service.workers[1]), "the end of the old workers")
            load.more()
        assert load.failures == []
        assert {service.get() for _ in range(20)} == {str(service.workers[2])}
        service.tell(signal.SIGTTOU)
        service.wait_for("the last worker stays")
        assert service.end() == 0


STUCK = (
    APP
    + """
@app.get("/stuck")
async def stuck() -> str:
    import time
    def frames_of_the_culprit() -> None:
        while True:
            time.sleep(1)
    frames_of_the_culprit()
    return "never"
"""
)


def test_a_stuck_worker_shows_its_stacks_and_is_replaced(tmp_path: Path) -> None:
    with running(tmp_path, STUCK, "--workers", "2", "--worker-heartbeat", "500ms") as service:
        service.ready(2)
        with Client(service.port) as client:
            client.send("/stuck")
            service.wait_for("has stood still for 0.5 s")
            service.wait_for("frames_of_the_culprit")
            service.ready(3)
        assert len(service.workers) == 3
        assert service.get() in map(str, service.workers)
        assert service.end() == 0


def test_a_start_up_may_take_longer_than_the_heartbeat(tmp_path: Path) -> None:
    code = APP + FAILING_LIFESPAN.replace('raise RuntimeError("no database")', "import time; time.sleep(1.5)")
    with running(tmp_path, code, "--workers", "2", "--worker-heartbeat", "300ms") as service:
        service.ready(2)
        assert "stood still" not in service.log
        assert service.end() == 0


SLOW = (
    APP
    + """
@app.get("/slow")
async def slow() -> str:
    await asyncio.sleep(1.0)
    return "slow"

@app.get("/hangs")
async def hangs() -> str:
    await asyncio.sleep(600)
    return "never"

@app.lifespan
async def lifespan(app: App) -> AsyncIterator[None]:
    yield
    print("the lifespan has ended", file=__import__("sys").stderr, flush=True)
"""
)


@pytest.mark.parametrize("workers", ["1", "2"])
def test_sigterm_drains(tmp_path: Path, workers: str) -> None:
    with running(tmp_path, SLOW, "--workers", workers) as service, Client(service.port) as client:
        service.wait_for("ready" if workers == "2" else "listening")
        assert client.get()[0] == 200
        client.send("/slow")
        client.sock.settimeout(0.3)
        with pytest.raises(TimeoutError):
            client.answer()
        client.sock.settimeout(20)
        service.tell(signal.SIGTERM)
        assert client.answer() == (200, "slow")
        assert client.last
        assert service.process.wait(20) == 0
        assert service.log.count("the lifespan has ended") == int(workers)


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_second_sigint_ends_at_once(tmp_path: Path, workers: str) -> None:
    with running(tmp_path, SLOW, "--workers", workers) as service, Client(service.port) as client:
        assert client.get()[0] == 200
        client.send("/hangs")
        service.tell(signal.SIGINT)
        service.wait_for(r"stopping \(SIGINT\)")
        service.tell(signal.SIGINT)
        assert service.process.wait(10) == -signal.SIGINT
        until(lambda: not any(alive(pid) for pid in service.workers), "the end of the workers")


def test_what_hangs_is_cut_off_at_the_deadline(tmp_path: Path) -> None:
    with running(tmp_path, SLOW, "--workers", "2", "--timeout-drain", "300ms") as service:
        with Client(service.port) as client:
            client.send("/hangs")
            service.ready(2)
            until(lambda: service.get() != "", "an answer")
            assert service.end() == 0
            with pytest.raises((EOFError, ConnectionResetError)):
                client.answer()
        assert "were cut off" in service.log
        assert service.log.count("the lifespan has ended") == 2


HANGING_END = """    yield
    await asyncio.sleep(600)
"""


def test_a_lifespan_that_hangs_at_shutdown_is_ended(tmp_path: Path) -> None:
    code = APP + FAILING_LIFESPAN.replace('    raise RuntimeError("no database")\n    yield', HANGING_END)
    with running(tmp_path, code, "--workers", "2", "--timeout-drain", "100ms") as service:
        service.get()
        assert service.end() == 0
        assert "the lifespan's shutdown was ended" in service.log


def test_sigterm_ends_a_start_up_that_hangs(tmp_path: Path) -> None:
    for workers in ("1", "2"):
        code = APP + FAILING_LIFESPAN.replace(
            'raise RuntimeError("no database")',
            "print('it hangs', file=__import__('sys').stderr, flush=True); await asyncio.sleep(600)",
        )
        with running(tmp_path, code, "--workers", workers) as service:
            service.wait_for("it hangs")
            assert service.end() == 0


def test_sigusr1_reaches_the_workers(tmp_path: Path) -> None:
    with running(tmp_path, APP, "--workers", "2") as service:
        service.ready(2)
        service.tell(signal.SIGUSR1)
        service.wait_for("what this process is at", 2)
        assert service.get("/version") == "one"
        assert service.end() == 0
