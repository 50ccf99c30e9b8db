"""How settings are written, in text and in TOML's own types."""

import pickle
from pathlib import Path
from typing import Any

import pytest

from fastnet.server.values import (
    DURATION,
    FLAG,
    INTEGER,
    LIST,
    MODE,
    NETWORKS,
    PART,
    RATE,
    SECRET,
    SIZE,
    TEXT,
    Kind,
    Secret,
    choice,
    format_duration,
    format_size,
    parse_duration,
    parse_size,
)

WORDS = choice("red", "green", "blue")


@pytest.mark.parametrize(
    ("kind", "written", "value"),
    [
        (DURATION, "30s", 30.0),
        (DURATION, "5m", 300.0),
        (DURATION, "250ms", 0.25),
        (DURATION, "1.5h", 5400.0),
        (DURATION, " 2d ", 172800.0),
        (DURATION, "7", 7.0),
        (DURATION, "0", 0.0),
        (DURATION, 30, 30.0),
        (DURATION, 0.5, 0.5),
        (SIZE, "64KiB", 65536),
        (SIZE, "1MiB", 1048576),
        (SIZE, "1GiB", 2**30),
        (SIZE, "12B", 12),
        (SIZE, "12", 12),
        (SIZE, 4096, 4096),
        (RATE, "1KiB/s", 1024),
        (RATE, "240", 240),
        (RATE, 240, 240),
        (INTEGER, "42", 42),
        (INTEGER, 42, 42),
        (PART, "0.25", 0.25),
        (PART, 1, 1.0),
        (FLAG, "yes", True),
        (FLAG, "OFF", False),
        (FLAG, True, True),
        (TEXT, "x", "x"),
        (LIST, "a, b,,c", ("a", "b", "c")),
        (LIST, ["a,b", "c"], ("a,b", "c")),
        (LIST, 9000, ("9000",)),
        (MODE, "660", 0o660),
        (MODE, "0o600", 0o600),
        (MODE, 660, 0o660),
        (MODE, 777, 0o777),
        (WORDS, "green", "green"),
    ],
)
def test_what_can_be_written(kind: Kind, written: Any, value: Any) -> None:
    read = kind.read(written)
    assert read == value
    assert type(read) is type(value)


@pytest.mark.parametrize(
    ("kind", "written", "message"),
    [
        (DURATION, "30 seconds", "write it as 30s"),
        (DURATION, "-1s", "write it as 30s"),
        (DURATION, -1, "0 or more"),
        (DURATION, float("inf"), "no duration"),
        (DURATION, float("nan"), "no duration"),
        (DURATION, True, "true is no duration"),
        (SIZE, "64KB", "64KiB"),
        (SIZE, 1.5, "1.5 is no size"),
        (RATE, "fast", "240B/s"),
        (INTEGER, "many", "'many' is no whole number"),
        (INTEGER, "-1", "no whole number from 0"),
        (INTEGER, 1.5, "1.5 is no whole number"),
        (INTEGER, True, "true is no whole number"),
        (INTEGER, 2**80, "no whole number"),
        (INTEGER, "9" * 30, "no whole number"),
        (PART, "2", "from 0 to 1"),
        (PART, True, "from 0 to 1"),
        (FLAG, "maybe", "neither true nor false"),
        (FLAG, 1, "neither true nor false"),
        (TEXT, 5, "put it in quotes"),
        (TEXT, ["a"], "put it in quotes"),
        (LIST, {"a": 1}, "no list of texts"),
        (LIST, [True], "no list of texts"),
        (LIST, [["a"]], "no list of texts"),
        (MODE, "668", "octal digits"),
        (MODE, 440, "octal digits"),
        (MODE, 0o660, "octal digits"),
        (MODE, True, "octal digits"),
        (NETWORKS, "10.0.0.1/8", "has host bits set"),
        (NETWORKS, "example.org", "write it as 10.0.0.0/8"),
        (NETWORKS, 10, "no list of networks"),
        (WORDS, "pink", "choose red, green or blue"),
        (WORDS, 1, "choose red, green or blue"),
    ],
)
def test_what_is_refused(kind: Kind, written: Any, message: str) -> None:
    with pytest.raises(ValueError) as caught:
        kind.read(written)
    assert message in str(caught.value)


def test_networks_and_the_two_words() -> None:
    assert [str(one) for one in NETWORKS.read("10.0.0.0/8, ::1, unix, *")] == ["10.0.0.0/8", "::1/128", "unix", "*"]
    assert NETWORKS.write(NETWORKS.read(["192.0.2.1"])) == ["192.0.2.1/32"]


@pytest.mark.parametrize("seconds", [0, 0.001, 0.07, 0.25, 1, 1.5, 30, 60, 90, 3600, 86400, 100000.5, 1234567.000001])
def test_durations_come_back(seconds: float) -> None:
    assert parse_duration(format_duration(seconds)) == pytest.approx(seconds, abs=1e-9)


@pytest.mark.parametrize("size", [0, 1, 1000, 1024, 65536, 65537, 2**20, 2**30, 3 * 2**30])
def test_sizes_come_back(size: int) -> None:
    assert parse_size(format_size(size)) == size


def test_a_secret_is_never_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "key").write_text("hunter2\n")
    monkeypatch.setenv("PASSWORD_OF_KEY", "hunter3")
    for source, revealed in (
        (f"file:{tmp_path}/key", "hunter2"),
        ("env:PASSWORD_OF_KEY", "hunter3"),
        ("hunter4", "hunter4"),
    ):
        secret = SECRET.read(source)
        assert secret.reveal() == revealed
        assert secret == Secret(source)
        for shown in (str(secret), repr(secret), f"{secret}", f"{secret!r}", SECRET.write(secret), repr([secret])):
            assert "hunter" not in shown
        assert pickle.loads(pickle.dumps(secret)).reveal() == revealed
    with pytest.raises(ValueError, match="cannot be read"):
        Secret(f"file:{tmp_path}/none").reveal()
    with pytest.raises(ValueError, match="is not set"):
        Secret("env:NO_SUCH_VARIABLE").reveal()
    with pytest.raises(ValueError) as caught:
        SECRET.read(12345)
    assert "12345" not in str(caught.value)
