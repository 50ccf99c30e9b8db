"""The harness judges servers; here it is judged: what is right passes, what is wrong is found out and says why."""

import json
import os
import shutil
import signal
import socket
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from email.utils import formatdate
from pathlib import Path
from typing import cast

import pytest

from benches.load import client, machine, peers, processes, report, runner, targets
from benches.load.latency import percentile_99
from benches.load.scenarios import BY_NAME, HELLO, Request
from benches.load.servers import catalog
from benches.load.swarm import Swarm

needs_wrk = pytest.mark.skipif(shutil.which("wrk") is None, reason="no wrk on the PATH")
NO_PINNING = machine.Cores(None, None)
PLAN = runner.Plan(repetitions=1, seconds=1, warm_up=1, cores=NO_PINNING)

# Answers each request by `answer(number)`, counted over all connections; always the same head otherwise.
MISBEHAVING = """
import asyncio, sys, email.utils
class Server(asyncio.Protocol):
    count = 0
    def connection_made(self, transport):
        self.transport, self.carry = transport, b""
    def data_received(self, data):
        *requests, self.carry = (self.carry + data).split(b"\\r\\n\\r\\n")
        for _ in requests:
            Server.count += 1
            status, body, more = answer(Server.count)
            date = email.utils.formatdate(usegmt=True)
            self.transport.write((f"HTTP/1.1 {status} X\\r\\nContent-Type: text/plain; charset=utf-8\\r\\n"
                f"Date: {date}\\r\\nContent-Length: {len(body)}\\r\\n{more}\\r\\n{body}").encode())
async def main(port):
    loop = asyncio.get_running_loop()
    await (await loop.create_server(Server, "127.0.0.1", port)).serve_forever()
asyncio.run(main(int(sys.argv[1])))
"""


def misbehaving(answer: str) -> catalog.Server:
    """A server whose answer to request number n is the Python expression ``answer``: status, body, more fields."""
    program = f"def answer(n): return {answer}\n{MISBEHAVING}"
    return catalog.Server(
        "fake", "fake", lambda launch: [sys.executable, "-c", program, str(launch.port)], catalog.EVERY
    )


RIGHT = '(200, "Hello, World!", "")'


def hello(changes: dict[str, str]) -> client.Answer:
    fields = {"Content-Type": "text/plain; charset=utf-8", "Date": formatdate(usegmt=True), **changes}
    return client.Answer(200, tuple(fields.items()), b"Hello, World!", 100)


def test_right_answer_has_no_faults() -> None:
    assert client.faults(hello({}), HELLO) == []


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"Content-Type": "text/html; charset=utf-8"}, "content type"),
        ({"Content-Type": "text/plain"}, "content type"),
        ({"Date": "Sun, 06 Nov 1994 08:49:37 GMT"}, "Date"),
        ({"Date": "yesterday"}, "Date"),
    ],
)
def test_wrong_fields_are_found(changes: dict[str, str], word: str) -> None:
    (fault,) = client.faults(hello(changes), HELLO)
    assert word in fault


def test_wrong_status_body_and_missing_date_are_all_found() -> None:
    answer = client.Answer(404, (("Content-Type", "text/plain; charset=utf-8"),), b"Hello", 100)
    found = " ".join(client.faults(answer, HELLO))
    assert "status 404" in found
    assert "body" in found
    assert "0 Date fields" in found


def test_fixed_server_may_send_any_date() -> None:
    assert client.faults(hello({"Date": "Sun, 06 Nov 1994 08:49:37 GMT"}), HELLO, live=False) == []


@pytest.mark.parametrize("name", BY_NAME)
def test_floor_answers_every_scenario(name: str) -> None:
    with ExitStack() as stack:
        standing = runner.start(stack, catalog.FLOOR, BY_NAME[name], NO_PINNING)
        assert standing.answer_size == len(catalog.fixed_answer(BY_NAME[name]).encode())


def test_floor_takes_requests_in_any_pieces() -> None:
    scenario = BY_NAME["post"]
    with ExitStack() as stack:
        standing = runner.start(stack, catalog.FLOOR, scenario, NO_PINNING)
        wire = scenario.request.wire(standing.port)
        expected = catalog.fixed_answer(scenario).encode()
        for size in (1, 7, len(wire) - 1, 3 * len(wire)):
            with socket.create_connection(("127.0.0.1", standing.port), 5) as sock:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                stream = wire * 3
                for at in range(0, len(stream), size):
                    sock.sendall(stream[at : at + size])
                got = b""
                while len(got) < 3 * len(expected):
                    got += sock.recv(65536)
                assert got == expected * 3


def test_repeating_server_fails_the_probes() -> None:
    scenario = BY_NAME["typed"]
    repeating = catalog.Server("fake", "fake", catalog.FLOOR.command, catalog.EVERY, live=True)
    with ExitStack() as stack, pytest.raises(client.WrongAnswer, match="Date"):
        runner.start(stack, repeating, scenario, NO_PINNING)


@pytest.mark.parametrize(
    ("answer", "word"),
    [
        ('(200, "Hello, World?", "")', "body"),
        ('(500 if n == 7 else 200, "Hello, World!", "")', "status 500"),
        ('(200, "Hello, World!", "Connection: close\\r\\n")', "ends the connection"),
        ('(200, "Hello, World!", "X: y\\r\\n" if n == 7 else "")', "bytes"),
    ],
)
def test_wrong_answers_end_the_start(answer: str, word: str) -> None:
    with ExitStack() as stack, pytest.raises(client.WrongAnswer, match=word):
        runner.start(stack, misbehaving(answer), BY_NAME["hello"], NO_PINNING)


@needs_wrk
@pytest.mark.parametrize(
    ("answer", "word"),
    [
        ('(500 if n % 100 == 50 else 200, "Hello, World!", "")', "status"),
        # Right for the first 500 and in every length but the average one.
        ('(200, "Hello, World!" + "!" * (n > 500 and n % 2), "")', "bytes on average"),
        ('(200, "Hello, World!", "") if n < 500 else sys.exit()', ""),
    ],
)
def test_wrong_under_load_is_disqualified(answer: str, word: str) -> None:
    (result,) = runner.run_scenario(BY_NAME["hello"], [misbehaving(answer)], PLAN)
    assert result.fault.startswith("disqualified: ")
    assert word in result.fault
    assert result.samples == []


@needs_wrk
def test_wrong_after_the_load_is_disqualified(monkeypatch: pytest.MonkeyPatch) -> None:
    # The same length throughout, so that only the client that compares can see it.
    server = misbehaving('(200, "Hello, World!" if n < 500 else "Hello, Moon!!", "")')
    (result,) = runner.run_scenario(BY_NAME["hello"], [server], PLAN)
    assert result.fault.startswith("disqualified: after the load: ")
    assert "Moon" in result.fault
    assert result.samples == []


@needs_wrk
def test_right_server_is_measured_beside_the_floor_and_one_that_is_not_there() -> None:
    absent = catalog.Server("absent", "absent", lambda _: ["/nonexistent/server"], catalog.EVERY)
    servers = [catalog.FLOOR, misbehaving(RIGHT), absent]
    floor, fake, missing = runner.run_scenario(BY_NAME["hello"], servers, PLAN)
    assert missing.fault.startswith("not available: ")
    assert floor.fault == fake.fault == ""
    assert 0 < floor.median < fake.median
    assert 0 < fake.samples[0].cpu <= fake.samples[0].seconds * 1.2


BURNING_CHILD = """
import sys, time
sys.stdin.readline()
end = time.process_time() + 0.2
while time.process_time() < end: pass
sys.stdin.readline()
"""
PARENT = f"""
import signal, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", {BURNING_CHILD!r}], stdin=subprocess.PIPE)
def line(*_):
    child.stdin.write(b"\\n")
    child.stdin.flush()
signal.signal(signal.SIGUSR1, line)
signal.signal(signal.SIGUSR2, lambda *_: (child.kill(), child.wait()))
print("up", flush=True)
while True: time.sleep(0.01)
"""


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def started(program: str) -> processes.Process:
    """A program of two processes, once it has said that it is up."""
    process = processes.Process([sys.executable, "-c", program], core=None)
    wait_for(lambda: "up" in process.last_words() and len(process.tree()) == 2)
    return process


def test_cpu_of_children_counts_and_their_end_voids_the_measure() -> None:
    process = started(PARENT)
    try:
        meter = processes.CpuMeter(process)
        os.kill(process.pid, signal.SIGUSR1)
        wait_for(lambda: meter.spent() >= 0.2)
        os.kill(process.pid, signal.SIGUSR2)
        wait_for(lambda: len(process.tree()) == 1)
        with pytest.raises(processes.ServerFailed, match="changed"):
            meter.spent()
    finally:
        process.stop()


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_stop_ends_children_too() -> None:
    process = started(PARENT)
    tree = process.tree()
    process.stop()
    process.stop()
    wait_for(lambda: not any(alive(pid) for pid in tree))


def test_memory_sees_what_a_process_takes() -> None:
    process = started(PARENT.replace("time.sleep(0.01)", "time.sleep(0.01); kept = bytearray(64 << 20)"))
    try:
        wait_for(lambda: process.memory().rss > 64 << 20)
        assert process.memory().pss <= process.memory().rss
    finally:
        process.stop()


def test_swarm_compares_every_answer() -> None:
    with ExitStack() as stack:
        standing = runner.start(stack, misbehaving(RIGHT), BY_NAME["hello"], NO_PINNING)
        with Swarm(standing.port, Request("/"), 20) as swarm:
            swarm.ask_all(3)
            swarm.require_open()
    with ExitStack() as stack:
        bad = misbehaving('(200, "Hello, World!" if n != 70 else "Hello, world!", "")')
        standing = runner.start(stack, bad, BY_NAME["hello"], NO_PINNING)
        with pytest.raises(client.WrongAnswer, match="world"), Swarm(standing.port, Request("/"), 10) as swarm:
            swarm.ask_all(5)


def test_swarm_notices_a_closed_idle_connection() -> None:
    with ExitStack() as stack:
        standing = runner.start(stack, catalog.FLOOR, BY_NAME["hello"], NO_PINNING)
        swarm = stack.enter_context(Swarm(standing.port, Request("/"), 3))
        swarm.require_open()
        standing.process.stop()
        with pytest.raises(client.WrongAnswer, match="idle connection"):
            swarm.require_open()


def sampled(server: catalog.Server, *costs: float) -> runner.Result:
    return runner.Result(server, [runner.Sample(1000, 1.0, cost / 1000, 0.1, 0.0) for cost in costs])


def test_targets_compare_turns_of_the_same_repetition() -> None:
    # The second repetition was disturbed for everybody; the ratio stays.
    results = {
        "hello": {
            "floor": sampled(catalog.FLOOR, 5.0, 10.0, 5.0),
            "fastnet": sampled(catalog.FASTNET, 8.0, 16.0, 8.0),
        }
    }
    (verdict,) = targets.of_scenarios(results, ["hello"])["hello"]
    assert verdict.measured == pytest.approx(1.6)
    assert verdict.limit == 1.6


@pytest.mark.parametrize("name", BY_NAME)
def test_every_scenario_has_a_target_and_says_why_it_is_not_measured(name: str) -> None:
    missing = runner.Result(catalog.FASTNET, fault="not available: because")
    verdicts = targets.of_scenarios({name: {"fastnet": missing}}, [name])[name]
    assert verdicts
    for verdict in verdicts:
        assert verdict.word == "not measured"
        assert verdict.remark


@pytest.mark.parametrize(
    ("measured", "below", "spread", "word"),
    [
        (2.0, False, None, "PASS"),
        (2.0, True, None, "miss"),
        (2.1, False, None, "miss"),
        (1.9, False, (1.8, 2.1), "PASS (close)"),
        (2.1, False, (1.9, 2.2), "miss (close)"),
        (1.5, False, (1.4, 1.6), "PASS"),
        (None, False, None, "not measured"),
    ],
)
def test_verdicts(measured: float | None, below: bool, spread: tuple[float, float] | None, word: str) -> None:
    assert report.Verdict("t", 2.0, measured, below=below, spread=spread).word == word


def test_noise_is_said_beside_the_verdict() -> None:
    assert report.Verdict("t", 2.0, 1.0, noisy=True).word == "PASS (noisy)"
    assert report.Verdict("t", 2.0, 3.0, noisy=True, spread=(1.0, 4.0)).word == "miss (close, noisy)"
    assert report.noise_note(0.2, 0.1).startswith("NOISY")


def test_quiet_turn_takes_the_least_disturbed(monkeypatch: pytest.MonkeyPatch) -> None:
    samples = [runner.Sample(1000, 1.0, cost, 0.1, others) for cost, others in ((1.0, 0.9), (3.0, 0.5), (2.0, 0.7))]
    taken = iter(samples)
    monkeypatch.setattr(runner, "turn", lambda *_: next(taken))
    standing = cast(runner.Standing, None)
    assert runner.quiet_turn(standing, BY_NAME["hello"], 1.0, NO_PINNING) is samples[1]
    quiet = runner.Sample(1000, 1.0, 9.0, 0.1, 0.0)
    taken = iter([quiet])
    assert runner.quiet_turn(standing, BY_NAME["hello"], 1.0, NO_PINNING) is quiet


def test_report_is_written_as_markdown_and_json(tmp_path: Path) -> None:
    section = report.Section("hello", ["server", "µs"], [["a | b", "1.00"]], notes=["a note"], data={"x": [1.0]})
    section.verdicts = [report.Verdict("t", 2.0, 1.0, "×")]
    described = {"date": "2026-01-01", "revision": "worktree"}
    path = report.write([section], described, "--quick", "quick", tmp_path)
    assert path.name == "2026-01-01-worktree-quick.md"
    assert "| a \\| b | 1.00 |" in path.read_text()
    assert "PASS" in path.read_text()
    data = json.loads(path.with_suffix(".json").read_text())
    assert data["sections"][0]["verdicts"][0]["met"] is True
    assert data["sections"][0]["data"] == {"x": [1.0]}


def test_percentile_is_the_smallest_value_that_99_in_100_do_not_exceed() -> None:
    assert percentile_99([float(value) for value in range(1, 101)]) == 99.0
    assert percentile_99([float(value) for value in range(1, 1001)]) == 990.0
    assert percentile_99([1.0]) == 1.0


def test_every_server_of_the_catalogue_answers_known_scenarios() -> None:
    for server in catalog.ALL:
        assert server.scenarios <= set(BY_NAME)
        for need in server.needs:
            assert need in peers.pinned()
    with pytest.raises(ValueError, match="nobody"):
        catalog.choose("floor,nobody")
    assert [server.name for server in catalog.choose("uvicorn,floor")] == ["floor", "uvicorn"]
