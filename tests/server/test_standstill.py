"""Workers that stand still, and none to be had: what waits for them is served by others, in the end."""

from __future__ import annotations

import os
import resource
import signal
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.server.service import APP, Client, running, until


@pytest.mark.parametrize("sockets", ["reuseport", "shared"])
def test_what_waits_for_a_crashed_worker_is_served_by_its_successor(tmp_path: Path, sockets: str) -> None:
    """Connections that the kernel has completed, with requests in them, and that nobody has accepted yet."""
    with running(tmp_path, APP, "--supervise", "always", "--sockets", sockets) as service, ExitStack() as stack:
        victim = service.ready(1).workers[0]
        os.kill(victim, signal.SIGSTOP)
        clients = [stack.enter_context(Client(service.port)) for _ in range(20)]
        for client in clients:
            client.send()
        os.kill(victim, signal.SIGKILL)
        service.ready(2)
        assert {client.answer() for client in clients} == {(200, str(service.workers[1]))}
        assert service.end() == 0


def test_what_waits_for_a_replaced_worker_is_served_by_its_successor(tmp_path: Path) -> None:
    with running(tmp_path, APP, "--supervise", "always") as service, ExitStack() as stack:
        old = service.ready(1).workers[0]
        service.tell(signal.SIGHUP)
        service.wait_for("replacing the workers")
        # Its successor starts meanwhile.
        os.kill(old, signal.SIGSTOP)
        clients = [stack.enter_context(Client(service.port)) for _ in range(20)]
        for client in clients:
            client.send()
        service.ready(2)
        assert {client.answer() for client in clients} == {(200, str(service.workers[1]))}
        os.kill(old, signal.SIGCONT)
        service.wait_for("all workers are new")
        assert service.end() == 0


def test_who_blocks_the_loop_of_a_worker_is_named(tmp_path: Path) -> None:
    code = APP + "\nimport time\n\n@app.get('/blocks')\nasync def blocks() -> str:\n    time.sleep(1)\n    return ''\n"
    with running(tmp_path, code, "--workers", "2", "--stall-threshold", "200ms") as service:
        service.ready(2)
        service.get("/blocks")
        service.wait_for(r"fastnet.stall\[[01]\]: the event loop has stood still for .*: blocks \(service.py:\d+\)")
        service.wait_for(r"service.py:\d+ in blocks: time.sleep\(1\)")
        assert service.end() == 0


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_worker_that_even_an_abort_does_not_end_is_killed(tmp_path: Path, workers: str) -> None:
    """A stopped process takes no signal but the last."""
    flags = ("--supervise", "always", "--workers", workers, "--worker-heartbeat", "500ms")
    with running(tmp_path, APP, *flags) as service:
        count = int(workers)
        victim = service.ready(count).workers[0]
        os.kill(victim, signal.SIGSTOP)
        service.wait_for(f"worker {victim} has stood still for 0.5 s")
        service.wait_for(f"worker {victim} does not end: it is killed")
        service.wait_for(f"worker {victim} ended by SIGKILL")
        service.ready(count + 1)
        until(lambda: service.get() != str(victim), "an answer of another worker")
        assert service.end() == 0


def test_a_supervisor_that_was_stopped_with_its_workers_kills_none(tmp_path: Path) -> None:
    """As by a terminal's Ctrl-Z, or a frozen container: the beats are old, and nobody is to blame."""
    with running(tmp_path, APP, "--workers", "2", "--worker-heartbeat", "400ms") as service:
        everybody = [service.pid, *service.ready(2).workers]
        with Client(service.port) as client:
            for pid in everybody:
                os.kill(pid, signal.SIGSTOP)
            client.send()
            client.sock.settimeout(3)
            with pytest.raises(TimeoutError):
                client.answer()
            client.sock.settimeout(20)
            for pid in everybody:
                os.kill(pid, signal.SIGCONT)
            status, body = client.answer()
            assert (status, int(body) in service.workers) == (200, True)
        assert len(service.answering(2)) == 2
        assert len(service.workers) == 2
        assert "stood still" not in service.log
        assert service.end() == 0


def test_a_supervisor_that_gets_nothing_from_the_system_keeps_what_it_has(tmp_path: Path) -> None:
    with running(tmp_path, APP, "--workers", "2", "--sockets", "shared") as service:
        first, second = service.ready(2).workers
        soft, hard = resource.prlimit(service.pid, resource.RLIMIT_NOFILE)
        # It may open nothing any more.
        resource.prlimit(service.pid, resource.RLIMIT_NOFILE, (3, hard))
        service.tell(signal.SIGHUP)
        service.wait_for("not reloaded, everything stays as it is: ")
        os.kill(first, signal.SIGKILL)
        service.wait_for("a worker could not be started: .*Too many open files; tried again in 1 s")
        assert service.get() == str(second)
        resource.prlimit(service.pid, resource.RLIMIT_NOFILE, (soft, hard))
        service.ready(3)
        assert service.get() in map(str, service.workers)
        service.tell(signal.SIGHUP)
        service.wait_for("all workers are new")
        assert service.end() == 0
        assert "Traceback" not in service.log
