"""The harness judges servers; here it is judged: what is right passes, what is wrong is found out and says why."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from email.utils import formatdate
from pathlib import Path
from typing import cast

import pytest

from benches.load import (
    client,
    h2load,
    handshakes,
    limits,
    machine,
    peers,
    processes,
    report,
    restart,
    runner,
    steady,
    switches,
    targets,
    workers,
    wrk,
)
from benches.load.latency import percentile_99
from benches.load.scenarios import ASGI, BY_NAME, HELLO, TLS, Request
from benches.load.servers import catalog
from benches.load.swarm import Swarm
from fastnet.server.config import Config

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
            told = answer(Server.count)
            if told is None:
                return self.transport.close()
            status, body, more = told
            date = email.utils.formatdate(usegmt=True)
            self.transport.write((f"HTTP/1.1 {status} X\\r\\nContent-Type: text/plain; charset=utf-8\\r\\n"
                f"Date: {date}\\r\\nContent-Length: {len(body)}\\r\\n{more}\\r\\n{body}").encode())
async def main(port):
    loop = asyncio.get_running_loop()
    await (await loop.create_server(Server, "127.0.0.1", port)).serve_forever()
asyncio.run(main(int(sys.argv[1])))
"""


def misbehaving(answer: str) -> catalog.Server:
    """A server whose answer to request number n is the Python expression ``answer``: status, body, more fields.

    None closes the connection instead.
    """
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


@pytest.mark.parametrize("name", sorted(catalog.FLOOR.scenarios))
def test_floor_answers_every_plain_scenario(name: str) -> None:
    with ExitStack() as stack:
        standing = runner.start(stack, catalog.FLOOR, BY_NAME[name], NO_PINNING)
        assert standing.answer_size == len(catalog.fixed_answer(BY_NAME[name]))


def test_floor_takes_requests_in_any_pieces() -> None:
    scenario = BY_NAME["post"]
    with ExitStack() as stack:
        standing = runner.start(stack, catalog.FLOOR, scenario, NO_PINNING)
        wire = scenario.request.wire(standing.port)
        expected = catalog.fixed_answer(scenario)
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
        # Right for the first 100 and in every length but the average one.
        ('(200, "Hello, World!" + "!" * (n > 100 and n % 2), "")', "bytes on average"),
        ('(200, "Hello, World!", "") if n < 100 else sys.exit()', ""),
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
    server = misbehaving('(200, "Hello, World!" if n < 100 else "Hello, Moon!!", "")')
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
        seen = process.memory()
        assert seen.pss <= seen.rss
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


@pytest.mark.parametrize("name", sorted(BY_NAME.keys() - catalog.HTTP2))
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


# --- TLS and HTTP/2

H2LOAD = """
finished in 1.00s, 164902.00 req/s, 13.52MB/s
requests: 164902 total, 164982 started, {done} done, 164902 succeeded, {failed} failed, 0 errored, 0 timeout
status codes: {right} 2xx, 0 3xx, 0 4xx, 0 5xx
traffic: 13.52MB (14181964) total, 8.65MB (9069610) headers (space savings 48.60%), 2.04MB ({size}) data
"""


def told(**changes: int) -> str:
    return H2LOAD.format(**{"done": 1000, "failed": 0, "right": 1000, "size": 13_000, **changes})


def test_h2load_is_read() -> None:
    load = h2load.parse(told(), 1.0, 0.5)
    assert (load.requests, load.seconds, load.bytes, load.cpu) == (1000, 1.0, 13_000, 0.5)
    load.require_clean(13, 80)


@pytest.mark.parametrize(
    ("changes", "word"), [({"failed": 1}, "failed"), ({"right": 999}, "status"), ({"size": 14_100}, "bytes on average")]
)
def test_h2load_finds_what_is_wrong(changes: dict[str, int], word: str) -> None:
    with pytest.raises(wrk.LoadFailed, match=word):
        h2load.parse(told(**changes), 1.0, 0.5).require_clean(13, 80)
    with pytest.raises(wrk.LoadFailed, match="said nothing"):
        h2load.parse("h2load: unknown option", 1.0, 0.5)


def missing_for_tls() -> str:
    """Why TLS and HTTP/2 cannot be measured here."""
    try:
        for tool in ("openssl", "wrk", "h2load", "nghttp"):
            peers.require_command(tool)
        peers.compiled("handshakes.c", *handshakes.LIBRARIES)
    except peers.NotAvailable as error:
        return str(error)
    return ""


needs_tls = pytest.mark.skipif(missing_for_tls() != "", reason=missing_for_tls())


@needs_tls
@pytest.mark.parametrize("name", [scenario.name for scenario in TLS])
def test_every_protocol_is_checked_and_loaded(name: str) -> None:
    (result,) = runner.run_scenario(BY_NAME[name], [catalog.FASTNET], PLAN)
    assert result.fault == ""
    (sample,) = result.samples
    assert sample.requests > BY_NAME[name].connections


WRONG_GREETING = """
from fastnet import App
app = App()
count = 0
@app.get("/")
async def index() -> str:
    global count
    count += 1
    return "Hello, World!" if count < {first} else "Hello, Moon!!"
"""


@needs_tls
@pytest.mark.parametrize(("name", "first"), [("handshakes", 100), ("h2", 1), ("tls", 1)])
def test_wrong_answers_over_tls_are_found(name: str, first: int, tmp_path: Path) -> None:
    (tmp_path / "wrong.py").write_text(WRONG_GREETING.format(first=first))

    def command(launch: catalog.Launch) -> list[str]:
        argv = [sys.executable, "-m", "fastnet", "run", "wrong:app", "--port", str(launch.port)]
        tls = launch.tls
        assert tls is not None
        return [*argv, "--tls-cert", str(tls.cert), "--tls-key", str(tls.key)]

    # Run from elsewhere, it has to find what is built in place.
    found = ["env", f"PYTHONPATH={machine.ROOT}"]
    scenarios = frozenset({name})
    server = catalog.Server("wrong", "wrong", lambda launch: found + command(launch), scenarios, cwd=tmp_path)
    (result,) = runner.run_scenario(BY_NAME[name], [server], PLAN)
    assert result.fault.startswith("disqualified: ")
    assert "Moon" in result.fault or "answer errors" in result.fault


# --- one ASGI application under several servers

RAW = [scenario.name for scenario in ASGI if not scenario.needs]


@pytest.mark.parametrize("name", RAW)
def test_fastnet_answers_every_raw_application(name: str) -> None:
    with ExitStack() as stack:
        standing = runner.start(stack, catalog.FASTNET, BY_NAME[name], NO_PINNING)
        assert standing.answer_size > len(BY_NAME[name].expected.body or b"")


@needs_wrk
def test_bodies_that_are_no_argument_of_a_program_are_sent_whole() -> None:
    # The answer is the length that came: another one would be of another size, or no answer at all.
    scenario = BY_NAME["asgi-in-1024k"]
    (result,) = runner.run_scenario(scenario, [catalog.FASTNET], PLAN)
    assert result.fault == ""
    assert len(scenario.request.body) == 1024 * 1024
    assert result.samples[0].requests > scenario.connections


def test_body_that_is_counted_and_not_kept_is_found(tmp_path: Path) -> None:
    (tmp_path / "careless.py").write_text(
        "import hashlib\n"
        "from fastnet import App, Request\n"
        "app = App()\n"
        "@app.post('/length')\n"
        "async def length(request: Request) -> str:\n"
        "    return str(len(await request.body()))\n"
        "@app.post('/digest')\n"
        "async def digest(request: Request) -> str:\n"
        "    return hashlib.sha256(bytes(len(await request.body()))).hexdigest()\n"
    )
    argv = ["env", f"PYTHONPATH={machine.ROOT}", sys.executable, "-m", "fastnet", "run", "careless:app", "--port"]
    server = catalog.Server(
        "careless", "careless", lambda launch: [*argv, str(launch.port)], frozenset({"asgi-in-64k"}), cwd=tmp_path
    )
    with ExitStack() as stack, pytest.raises(client.WrongAnswer, match="/digest"):
        runner.start(stack, server, BY_NAME["asgi-in-64k"], NO_PINNING)


def test_applications_are_those_that_every_server_can_be_given() -> None:
    for scenario in ASGI:
        assert (catalog.APPS / f"{scenario.application}.py").exists()
        assert set(scenario.needs) <= set(peers.pinned())
        able = {server.name for server in catalog.ALL if scenario.name in server.scenarios}
        assert {"fastnet", "uvicorn", "granian-asgi"} <= able


# --- rate limits


def test_a_rate_limit_is_compared_within_a_repetition() -> None:
    found = limits.Costs({limits.FREE: [10.0, 20.0], limits.LIMITED: [10.2, 20.4], limits.TOLD: [11.0, 22.0]})
    (verdict,) = limits.cost_verdicts(found)
    assert verdict.measured == pytest.approx(1.02)
    assert (verdict.limit, verdict.word) == (1.03, "PASS")
    found.fault = "disqualified: because"
    (verdict,) = limits.cost_verdicts(found)
    assert (verdict.word, verdict.remark) == ("not measured", "disqualified")


@pytest.mark.parametrize(("admitted", "word"), [(20_000, "PASS"), (20_020, "PASS"), (19_979, "miss"), (20_022, "miss")])
def test_what_is_admitted_may_be_off_by_a_thousandth(admitted: int, word: str) -> None:
    assert limits.kept_verdict(limits.Kept(admitted, 90_000, 10.0)).word == word


def test_what_workers_admitted_is_read_from_their_files(tmp_path: Path) -> None:
    for number in range(3):
        (tmp_path / str(number)).write_bytes((10 + number).to_bytes(8, sys.byteorder))
    assert limits.counted(tmp_path)[1] == 33


# --- switches, workers, restarts


def test_the_interval_of_a_median_is_that_of_its_order_statistics() -> None:
    # Tables of the sign test: 6 values need all of them, 14 may leave out the two outermost on each side.
    assert switches.median_interval([1.0, 2.0, 3.0, 4.0, 5.0]) is None
    assert switches.median_interval([6.0, 5.0, 4.0, 3.0, 2.0, 1.0]) == (1.0, 6.0)
    assert switches.median_interval([float(value) for value in range(1, 15)]) == (3.0, 12.0)


def test_switches_compare_variants_of_the_same_repetition() -> None:
    turns = switches.Turns({"limits on": [10.2, 20.4], "limits off": [10.0, 20.0], "access log": [11.22, 22.44]})
    limits, log = (switches.verdict(switch, turns, "") for switch in switches.SWITCHES)
    assert limits.measured == pytest.approx(1.02)
    assert (limits.limit, limits.word) == (1.03, "PASS")
    assert log.measured == pytest.approx(1.10)
    missing = switches.verdict(switches.SWITCHES[0], switches.Turns(), "not available: because")
    assert (missing.word, missing.remark) == ("not measured", "not available")
    turns.unlogged = "disqualified: a log of 0 bytes"
    limits, log = (switches.verdict(switch, turns, "") for switch in switches.SWITCHES)
    assert (limits.word, log.word, log.remark) == ("PASS", "not measured", "disqualified")


def test_variants_are_settings_that_exist() -> None:
    limits = switches.limit_names()
    for name, settings in (switches.VARIANTS | workers.SCALED | workers.SHARED | restart.MODES).items():
        config = Config.load(settings, {}, file="")
        if name == "limits off":
            assert set(limits) <= set(settings)
            assert {getattr(config, name) for name in set(limits) - set(switches.HIGHEST)} == {0}


def test_least_verdicts() -> None:
    assert report.Verdict("t", 1.8, 1.8, least=True).word == "PASS"
    assert report.Verdict("t", 1.8, 1.7, least=True).word == "miss"
    assert "≥ 1.80" in report.Verdict("t", 1.8, 1.7, least=True).cells()


def test_workers_that_are_not_there_are_noticed() -> None:
    process = started(PARENT)
    try:
        workers.require_workers(process, {"workers": "1"})
        with pytest.raises(processes.ServerFailed, match="1 processes below the first, 2 workers"):
            workers.require_workers(process, {"workers": "2"})
    finally:
        process.stop()


def steadily(answer: str, seconds: float = 1.0) -> steady.Steady:
    with ExitStack() as stack:
        standing = runner.start(stack, misbehaving(answer), BY_NAME["hello"], NO_PINNING)
        argv = [sys.executable, "-m", "benches.load.steady", str(standing.port), "100", str(seconds)]
        told = subprocess.run(argv, capture_output=True, text=True, timeout=30, check=True, cwd=machine.ROOT)
        return steady.Steady(**json.loads(told.stdout.splitlines()[-1]))


def test_steady_asks_each_request_in_its_time() -> None:
    seen = steadily(RIGHT)
    assert (seen.failed, seen.raced, len(seen.latencies)) == (0, 0, 100)
    dues = [due for due, _ in sorted(seen.latencies)]
    assert dues[-1] - dues[0] == pytest.approx(0.99)
    assert all(latency > 0 for _, latency in seen.latencies)


def test_steady_counts_what_fails() -> None:
    seen = steadily('(500 if n > 50 and n % 10 == 0 else 200, "Hello, World!", "")')
    assert seen.failed > 0
    assert seen.failed + len(seen.latencies) == 100
    assert "500" in seen.failures[0]


def test_steady_asks_again_where_a_kept_connection_closes_and_fails_where_a_new_one_does() -> None:
    seen = steadily('None if 60 <= n < 65 else (200, "Hello, World!", "")')
    assert seen.failed + len(seen.latencies) == 100
    assert seen.raced > 0
    assert seen.failed > 0
    # Each of the five either ended a request or was made good by asking again.
    assert seen.raced + seen.failed == 5


def test_what_a_restart_adds() -> None:
    felt = restart.Felt(calm=[1.0, 2.0, 3.0], restarting=[1.0, 40.0])
    added, failed = restart.verdicts("two workers", felt)
    assert (added.measured, added.word, failed.word) == (37.0, "PASS", "PASS")
    felt.failed = 1
    assert restart.verdicts("two workers", felt)[1].word == "miss"
    assert restart.quantile([float(value) for value in range(1, 1001)], 0.999) == 999.0


def test_cores_are_shared_or_apart() -> None:
    apart = machine.Cores(0, 1)
    assert apart.apart
    assert apart.numbers() == {0, 1}
    assert not apart.shared().apart
    assert apart.shared().server == frozenset({0, 1})
    assert machine.Cores(None, None).shared() == machine.Cores(None, None)
