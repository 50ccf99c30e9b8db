"""``--reload``: new code for each change of a source file; what is broken is waited for."""

from __future__ import annotations

import importlib.util
import threading
from pathlib import Path

import pytest

from fastnet.server.reloader import is_source
from tests.server.service import APP, Client, running, until

needs_watchfiles = pytest.mark.skipif(importlib.util.find_spec("watchfiles") is None, reason="watchfiles is missing")


@pytest.mark.parametrize(
    ("path", "counts"),
    [
        ("service.py", True),
        ("package/deep/module.py", True),
        ("templates/page.html", True),
        ("templates/page.jinja2", True),
        (".env", True),
        ("fastnet.toml", True),
        ("notes.txt", False),
        (".venv/lib/module.py", False),
        ("package/__pycache__/module.py", False),
        (".git/hooks/hook.py", False),
        ("node_modules/thing/setup.py", False),
        (".#service.py", False),
    ],
)
def test_which_files_count(path: str, counts: bool) -> None:
    assert is_source(f"/home/.hidden/project/{path}", "/home/.hidden/project") is counts


@needs_watchfiles
def test_changes_bring_new_code_and_errors_are_waited_for(tmp_path: Path) -> None:
    source = tmp_path / "service.py"
    with running(tmp_path, APP, "--reload") as service:
        service.ready(1)
        assert service.get("/version") == "one"
        source.write_text(APP.replace('"one"', '"two"'))
        service.ready(2)
        assert service.get("/version") == "two"
        source.write_text("def broken(:\n")
        service.wait_for("SyntaxError")
        service.wait_for("waiting for a change")
        # Meanwhile connections wait.
        answers: list[str] = []
        waiting = threading.Thread(target=lambda: answers.append(service.get("/version")))
        waiting.start()
        assert service.process.poll() is None
        source.write_text(APP.replace('"one"', '"three"'))
        waiting.join(20)
        assert answers == ["three"]
        assert service.end() == 0


@needs_watchfiles
def test_a_template_counts_and_a_note_does_not(tmp_path: Path) -> None:
    (tmp_path / "templates").mkdir()
    with running(tmp_path, APP, "--reload") as service:
        service.ready(1)
        (tmp_path / "notes.txt").write_text("to do\n")
        (tmp_path / "templates" / "page.html").write_text("<p>hello</p>\n")
        assert service.wait_for("changed: (.*)") == ["templates/page.html"]
        service.ready(2)
        assert service.get("/version") == "one"
        assert service.end() == 0


@needs_watchfiles
def test_a_first_start_that_fails_is_waited_for(tmp_path: Path) -> None:
    with running(tmp_path, "def broken(:\n", "--reload") as service:
        service.wait_for("waiting for a change")
        (tmp_path / "service.py").write_text(APP)
        service.ready(1)
        assert service.get("/version") == "one"


@needs_watchfiles
def test_an_open_stream_does_not_hold_up_a_reload(tmp_path: Path) -> None:
    code = APP + '\n@app.get("/hangs")\nasync def hangs() -> str:\n    await asyncio.sleep(600)\n    return ""\n'
    with running(tmp_path, code, "--reload") as service, Client(service.ready(1).port) as client:
        client.send("/hangs")
        (tmp_path / "service.py").write_text(code.replace('"one"', '"two"'))
        service.ready(2)
        assert service.get("/version") == "two"


@needs_watchfiles
def test_variables_and_settings_are_read_again(tmp_path: Path) -> None:
    code = APP.replace('VERSION = "one"', 'VERSION = os.environ["GREETING"]')
    (tmp_path / ".env").write_text("GREETING=hello\n")
    with running(tmp_path, code, "--reload") as service:
        service.ready(1)
        assert service.get("/version") == "hello"
        (tmp_path / ".env").write_text("GREETING=goodbye\n")
        service.wait_for("all workers are new")
        assert service.get("/version") == "goodbye"
        # Wrong settings do not end it.
        (tmp_path / "fastnet.toml").write_text("timeout_idel = 3\n")
        service.wait_for("there is no setting 'timeout_idel'")
        assert service.get("/version") == "goodbye"
        (tmp_path / "fastnet.toml").write_text("limit_request_line = 200\n")
        service.wait_for("all workers are new", 2)

        def refused() -> bool:
            with Client(service.port) as client:
                return client.get("/" + "x" * 300)[0] == 414

        until(refused, "the new limit")
        assert service.end() == 0


def test_watchfiles_is_named_when_it_is_missing(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        "import importlib.util as util\nfind = util.find_spec\n"
        "util.find_spec = lambda name, *rest: None if name == 'watchfiles' else find(name, *rest)\n"
    )
    environment = {"PYTHONPATH": f"{tmp_path}:{Path(__file__).resolve().parents[2]}"}
    with running(tmp_path, APP, "--reload", environment=environment) as service:
        assert service.process.wait(20) == 3, service.log
        assert service.log.splitlines()[-1] == "fastnet: reload needs watchfiles: install fastnet-server[reload]"
