"""``python -m tests.fuzz`` finds every fuzzer, and one that fails or hangs makes it fail."""

from pathlib import Path

import pytest

from tests.fuzz.__main__ import fuzzers, main


def test_every_fuzzer_is_replayed_by_a_test() -> None:
    names = fuzzers()
    assert names
    assert [name for name in names if not Path(__file__).with_name(f"test_{name}.py").exists()] == []


def test_one_failure_fails_the_run(capsys: pytest.CaptureFixture[str]) -> None:
    asked = []

    def runner(name: str, seconds: float, seed: int) -> int:
        asked.append((name, seconds, seed))
        return 3 if name == fuzzers()[0] else 0

    assert main(["--seconds", "2", "--seed", "7"], runner) == 1
    assert asked == [(name, 2.0, 7) for name in fuzzers()]
    assert f"{fuzzers()[0]} (exit code 3)" in capsys.readouterr().err


def test_all_well(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([fuzzers()[-1], "--seed", "7"], lambda *_: 0) == 0
    assert capsys.readouterr().out.count("--seed 7") == 1


def test_an_unknown_fuzzer_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["fuzz_nothing"], lambda *_: 0)
    assert "fuzz_nothing" in capsys.readouterr().err
