"""The command line, as a process: what it shows, what it refuses and with which exit code."""

import os
import re
import signal
import subprocess
import sys
import time
import tomllib
from pathlib import Path
from urllib.request import urlopen

import orjson
import pytest

from fastnet.server.config import SETTINGS, Config
from tests.architecture.sources import ROOT

SERVICE = """
from fastnet import App
app = App(settings={"timeout_idle": "20s", "log_level": "warning"})

@app.get("/")
async def index() -> str:
    return "hello"

@app.post("/users/{id}")
async def user(id: int) -> int:
    return id
"""


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("service.py").write_text(SERVICE)


def fastnet(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "fastnet", *arguments],
        env=clean_environment() | variables,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def clean_environment() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("FASTNET_")}
    return {**kept, "PYTHONPATH": str(ROOT)}


def refused(code: int, *arguments: str, **variables: str) -> str:
    done = fastnet(*arguments, **variables)
    assert done.returncode == code, done.stderr
    assert done.stdout == ""
    assert done.stderr.startswith("fastnet: ")
    assert done.stderr.count("\n") == 1
    return done.stderr.removeprefix("fastnet: ").rstrip()


# --- what is refused


def test_a_wrong_setting_is_one_line_and_exit_code_2() -> None:
    assert refused(2, "run", "service:app", "--prot", "80") == "there is no flag --prot; did you mean --port?"
    assert refused(2, "run", "service:app", "--port=x") == "port (flag --port): 'x' is no whole number from 0 on"
    assert refused(2, "run", "service:app", "--workers", "many").startswith("workers (flag --workers): 'many'")
    assert "did you mean FASTNET_PORT?" in refused(2, "run", "service:app", FASTNET_PRT="80")
    assert "choose auto, uvloop or asyncio" in refused(2, "run", "service:app", "--loop", "x")
    assert "expected one argument" in refused(2, "run", "service:app", "--port")
    assert "one argument too many" in refused(2, "run", "service:app", "other:app")
    Path("fastnet.toml").write_text("limt_head = 1")
    assert refused(2, "run", "service:app").endswith("there is no setting 'limt_head'; did you mean 'limit_head'?")
    assert refused(2, "run", "service:app", "--config", "none.toml") == "there is no configuration file none.toml"


def test_no_command_or_a_wrong_one() -> None:
    assert "COMMAND" in refused(2)
    assert "invalid choice: 'rnu'" in refused(2, "rnu")


def test_a_secret_on_the_command_line_is_refused_and_not_repeated() -> None:
    message = refused(2, "run", "service:app", "--tls-key-password", "hunter2")
    assert "file:PATH or env:NAME" in message
    assert "hunter2" not in message


def test_where_the_app_is() -> None:
    assert "which app?" in refused(2, "run")
    assert "write it as module:app" in refused(2, "run", "service")
    assert "has no 'ap'; its app is 'app'" in refused(2, "run", "service:ap")
    assert "there is no module 'servic'" in refused(2, "routes", "servic:app")
    assert "GET" in fastnet("routes", FASTNET_APP="service:app").stdout
    Path("fastnet.toml").write_text('app = "service:app"')
    assert fastnet("routes").stdout == "GET        /\nPOST       /users/{id}\n"
    assert "app (fastnet.toml): 1 is no text" in (Path("fastnet.toml").write_text("app = 1"), refused(2, "run"))[1]


def test_an_app_that_fails_shows_its_own_traceback_only() -> None:
    Path("broken.py").write_text("import helper\n")
    Path("helper.py").write_text("def f():\n    return {}['missing']\nf()\n")
    done = fastnet("run", "broken:app")
    assert done.returncode == 3
    assert done.stderr.splitlines()[0] == "Traceback (most recent call last):"
    assert "KeyError: 'missing'" in done.stderr
    assert done.stderr.splitlines()[-1] == "fastnet: 'broken' could not be imported"
    assert "importlib" not in done.stderr
    assert "fastnet/cli" not in done.stderr
    Path("wrong.py").write_text("app = (\n")
    done = fastnet("run", "wrong:app")
    assert done.returncode == 3
    assert "SyntaxError" in done.stderr
    assert "fastnet/cli" not in done.stderr
    Path("needs.py").write_text("import no_such_library\n")
    done = fastnet("run", "needs:app")
    assert done.returncode == 3
    assert "No module named 'no_such_library'" in done.stderr


# --- help


def test_help_names_every_setting_with_its_variable_and_choices() -> None:
    text = " ".join(fastnet("run", "--help", COLUMNS="200").stdout.split())
    for name, setting in SETTINGS.items():
        if name != "app":
            assert f"--{name.replace('_', '-')}" in text
        assert f"FASTNET_{name.upper()}" in text
        assert " ".join(setting.help.split()) in text or name == "app"
    assert "--reload, --no-reload" in text
    assert "{auto,uvloop,asyncio}" in text
    assert "default 64KiB" in text
    assert "listening:" in text
    assert "proxies in front:" in text


# --- fastnet config


def test_config_shows_values_and_sources_as_toml() -> None:
    Path("fastnet.toml").write_text(
        'app = "service:app"\nport = 9001\nlimit_head = 32768\ntls_cert = "c"\ntls_key = "k"\n'
        'tls_key_password = "hunter2"\n[listeners.internal]\nbind = "127.0.0.1:9009"\ntimeout_idle = 1\n'
    )
    done = fastnet("config", "--log-mask", "a", "--log-mask", 'b"', "--no-reload", FASTNET_TIMEOUT_BODY="90s")
    assert done.returncode == 0, done.stderr
    lines = [" ".join(line.split()) for line in done.stdout.splitlines()]
    assert "port = 9001 # fastnet.toml" in lines
    assert 'limit_head = "32KiB" # fastnet.toml' in lines
    assert 'timeout_body = "90s" # FASTNET_TIMEOUT_BODY' in lines
    assert 'timeout_idle = "20s" # App(settings=)' in lines
    assert 'log_mask = ["a", "b\\""] # flag --log-mask' in lines
    assert "reload = false # flag --no-reload" in lines or "reload = false # flag --reload" in lines
    assert "workers = 1 # default" in lines
    assert 'tls_key_password = "***" # fastnet.toml' in lines
    assert "hunter2" not in done.stdout
    assert 'bind = ["127.0.0.1:9009"] # fastnet.toml, [listeners.internal]' in lines
    assert 'timeout_idle = "1s" # fastnet.toml, [listeners.internal]' in lines
    for name in SETTINGS:
        assert any(line.removeprefix("# ").startswith(f"{name} =") for line in lines), name


def test_what_config_shows_can_be_read_back() -> None:
    Path("fastnet.toml").write_text(
        'port = 9001\nunix_mode = "660"\nworker_jitter = 0.2\nlimit_memory = "1GiB"\ntrusted_proxies = ["10.0.0.0/8"]\n'
        'admin_bind = "9002"\n[listeners."odd name"]\nbind = "127.0.0.1:9009"\nlimit_head = "16KiB"\n'
    )
    shown = fastnet("config").stdout
    tomllib.loads(shown)
    first = Config.load({}, {})
    Path("again.toml").write_text(shown.replace("bind = []", "", 1))
    again = Config.load({}, {}, file="again.toml")
    assert again.listeners == first.listeners
    assert all(getattr(again, name) == getattr(first, name) for name in SETTINGS)


def test_config_as_json_and_only_what_changed() -> None:
    found = orjson.loads(fastnet("config", "service:app", "--json", "--port", "5").stdout)
    assert found["settings"]["port"] == {"value": 5, "source": "flag --port"}
    assert found["settings"]["timeout_idle"] == {"value": "20s", "source": "App(settings=)"}
    assert found["settings"]["limit_head"] == {"value": "64KiB", "source": "default"}
    assert found["listeners"]["main"]["bind"] == {"value": ["127.0.0.1:5"], "source": "flag --port"}
    assert set(SETTINGS) == set(found["settings"])
    changed = fastnet("config", "--changed", "--port", "5").stdout
    assert "port = 5" in changed
    assert "workers" not in changed
    assert "timeout_idle" not in changed


def test_config_needs_no_app() -> None:
    assert fastnet("config").returncode == 0


# --- run


def test_run_takes_its_settings_from_everywhere() -> None:
    Path("fastnet.toml").write_text('host = "127.0.0.1"\nport = 1\n')
    Path(".env").write_text("GREETING=hi\n")
    Path("service.py").write_text(SERVICE.replace('"hello"', '__import__("os").environ["GREETING"]'))
    process = subprocess.Popen(
        [sys.executable, "-m", "fastnet", "run", "--port", "0", "--debug"],
        env=clean_environment() | {"FASTNET_APP": "service:app"},
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stderr is not None
        url = ""
        deadline = time.monotonic() + 20
        while "listening on " not in url and time.monotonic() < deadline:
            url = process.stderr.readline()
        address = re.search(r"http://[0-9.:]+", url)
        assert address is not None
        with urlopen(address[0], timeout=10) as answer:
            assert answer.read() == b"hi"
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
    finally:
        process.kill()
        process.communicate()
