"""``fastnet run`` with applications of others, as processes: interfaces, factories, folders, lifespans."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.architecture.sources import ROOT
from tests.server.service import PLAIN, ended, running, until

ASGI = """
import os, sys

VERSION = "one"

class Application:
    def __init__(self, name="asgi"):
        self.name = name
        self.started = "not"

    async def __call__(self, scope, receive, send):
        if scope["type"] == "lifespan":
            while True:
                message = await receive()
                if message["type"] == "lifespan.startup":
                    self.started = "started"
                    await send({"type": "lifespan.startup.complete"})
                else:
                    print("shut down", file=sys.stderr, flush=True)
                    await send({"type": "lifespan.shutdown.complete"})
                    return
        body = f"{self.name} {self.started} {scope['path']} {scope['root_path']!r} {os.getpid()} {VERSION}".encode()
        headers = [(b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

class Group:
    @staticmethod
    def create(name="made", *, loud=False, extra=()):
        return Application(name.upper() if loud else f"{name}{len(extra)}")

app = Application()

def create_app():
    return Application("factory")

def needs(name):
    return Application(name)

async def later():
    return app

def broken():
    return {}["missing"]

def wrong():
    return 5

def asgi_2(scope):
    return None

async def without_lifespan(scope, receive, send):
    assert scope["type"] == "http"
    await Application("plain")(scope, receive, send)

async def failing(scope, receive, send):
    await receive()
    await send({"type": "lifespan.startup.failed", "message": "no database"})
"""

WSGI = """
import threading

def app(environ, start_response):
    body = f"wsgi {environ['PATH_INFO']} {environ['SCRIPT_NAME']!r} {threading.current_thread().name}".encode()
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]
"""


def test_an_asgi_application_and_its_lifespan(tmp_path: Path) -> None:
    with running(tmp_path, ASGI) as service:
        assert service.get("/a/b/").startswith("asgi started /a/b/ ''")
        assert service.get("/a/b").startswith("asgi started /a/b ''")
        assert service.end() == 0
        assert "shut down" in service.log
    with running(tmp_path, ASGI, "--lifespan", "off", "--interface", "asgi") as service:
        assert service.get("/").startswith("asgi not / ''")
        assert service.end() == 0
        assert "shut down" not in service.log
    with running(tmp_path, ASGI, app="service:without_lifespan") as service:
        assert service.get("/").startswith("plain not /")


def test_a_lifespan_that_is_insisted_on_or_fails(tmp_path: Path) -> None:
    code, log = ended(tmp_path, ASGI, "--lifespan", "on", app="service:without_lifespan")
    assert code == 3
    assert "AssertionError" in log
    code, log = ended(tmp_path, ASGI, app="service:failing")
    assert code == 3
    assert "no database" in log.splitlines()[-1]


def test_a_wsgi_application(tmp_path: Path) -> None:
    with running(tmp_path, WSGI, "--root-path", "/api") as service:
        assert service.get("/a%20b").startswith("wsgi /a b '/api' wsgi")
        assert service.get("/api/c").startswith("wsgi /c '/api' wsgi")
        assert service.end() == 0
    with running(tmp_path, WSGI, "--interface", "wsgi", environment={"FASTNET_WSGI_THREADS": "1"}) as service:
        assert service.get("/") == service.get("/")
        assert service.end() == 0


@pytest.mark.parametrize(
    ("place", "flags", "name"),
    [
        ("service:create_app()", (), "factory"),
        ("service:create_app", ("--factory",), "factory"),
        ("service:Group.create", ("--factory",), "made0"),
        ('service:Group.create("x:y", extra=[1, "(2)"])', (), "x:y2"),
        ("service:Group.create('z', loud=True)", (), "Z"),
    ],
)
def test_factories(tmp_path: Path, place: str, flags: tuple[str, ...], name: str) -> None:
    with running(tmp_path, ASGI, *flags, app=place) as service:
        assert service.get("/").startswith(f"{name} started /")


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("service:create_ap()", "has no 'create_ap'; did you mean 'create_app'?"),
        ("service:create_app(1)", "service:create_app cannot be called like that: create_app() takes 0 positional"),
        ("service:needs()", "missing 1 required positional argument: 'name'"),
        ("service:needs(open('x'))", "with literals alone"),
        ("service:needs(name)", "with literals alone"),
        ("service:needs(**{'name': 1})", "with literals alone"),
        ("service:needs(*[1])", "with literals alone"),
        ("service:create_app()()", "with literals alone"),
        ("service:create_app(", "with literals alone"),
        ("service:a b", "with literals alone"),
        ("service:(lambda: app)()", "with literals alone"),
        ("service:later()", "is async: make the app in a plain function"),
        ("service:VERSION()", "is a str, not a function that makes an app: leave out the call"),
        ("service:wrong()", "service:wrong() is a int, not a fastnet App, and no ASGI or WSGI application"),
        ("service:VERSION", "is a str, not a fastnet App"),
        ("service:create_app", "write it with parentheses or say --factory"),
        ("service:asgi_2", "guarantee_single_callable"),
    ],
)
def test_places_that_give_no_application(tmp_path: Path, place: str, message: str) -> None:
    code, log = ended(tmp_path, ASGI, app=place)
    assert code == 2
    assert message in log
    assert log.count("\n") == 1


def test_more_that_is_refused(tmp_path: Path) -> None:
    assert "leave out --factory" in ended(tmp_path, ASGI, "--factory", app="service:create_app()")[1]
    code, log = ended(tmp_path, ASGI, app="service:broken()")
    assert code == 3
    assert "KeyError: 'missing'" in log
    assert "fastnet/cli" not in log
    assert log.splitlines()[-1] == "fastnet: service:broken could not make the app"
    assert "app_dir 'none' is no folder" in ended(tmp_path, ASGI, "--app-dir", "none")[1]
    assert "choose auto, fastnet, asgi or wsgi" in ended(tmp_path, ASGI, "--interface", "asgi2")[1]
    assert "not a fastnet App" in ended(tmp_path, ASGI, "--interface", "fastnet")[1]


def test_app_dir_comes_first(tmp_path: Path) -> None:
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "service.py").write_text(ASGI.replace('"asgi"', '"from src"'))
    with running(tmp_path, WSGI, "--app-dir", "src") as service:
        assert service.get("/").startswith("from src started")
    code, log = ended(tmp_path, WSGI, "--app-dir", "src", app="nowhere:app")
    assert code == 2
    assert "there is no module 'nowhere' in src" in log


@pytest.mark.parametrize("flags", [(), ("--preload",)])
def test_workers(tmp_path: Path, flags: tuple[str, ...]) -> None:
    """Each worker makes the application from the folder and factory that were told; and so does a reload."""
    folder = tmp_path / "src"
    folder.mkdir()
    (folder / "other.py").write_text(ASGI)
    with running(
        tmp_path, WSGI, "--workers", "2", "--app-dir", "src", *flags, app="other:Group.create('w', extra=(1,))"
    ) as service:
        service.ready()
        seen = service.answering(2)
        assert all(body.startswith("w1 started / ''") and body.endswith("one") for body in seen)
        (folder / "other.py").write_text(ASGI.replace('"one"', '"two"'))
        service.tell(signal.SIGHUP)
        service.ready(4)
        until(lambda: service.get("/").endswith("two"), "the new code")
        assert service.end() == 0
        assert len(service.workers) == 4


def test_reload_watches_app_dir(tmp_path: Path) -> None:
    pytest.importorskip("watchfiles")
    folder, other = tmp_path / "src", tmp_path / "run"
    folder.mkdir()
    other.mkdir()
    (folder / "other.py").write_text(ASGI)
    with running(other, WSGI, "--reload", "--app-dir", str(folder), app="other:app") as service:
        service.ready(1)
        assert service.get("/").endswith("one")
        (folder / "other.py").write_text(ASGI.replace('"one"', '"two"'))
        service.ready(2)
        until(lambda: service.get("/").endswith("two"), "the new code")


def test_settings_from_the_environment_and_files(tmp_path: Path) -> None:
    (tmp_path / "fastnet.toml").write_text('app = "service:create_app"\nfactory = true\ninterface = "asgi"\n')
    (tmp_path / ".env").write_text("FASTNET_LIFESPAN=off\n")
    command = [sys.executable, "-m", "fastnet", "run", "--port", "0", "--env-file", ".env"]
    with running(tmp_path, ASGI, command=command) as service:
        assert service.get("/").startswith("factory not /")


def test_routes_and_config(tmp_path: Path) -> None:
    (tmp_path / "service.py").write_text(ASGI)
    (tmp_path / "legacy.py").write_text(WSGI)

    def show(*arguments: str) -> str:
        path = os.pathsep.join((str(ROOT), os.environ.get("PYTHONPATH", "")))
        done = subprocess.run(
            [sys.executable, "-m", "fastnet", *arguments],
            cwd=tmp_path,
            env={**os.environ, **PLAIN, "PYTHONPATH": path},
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        return done.stdout

    assert show("routes", "service:app") == "*          /{rest:path}  (Application)\n"
    assert show("routes", "service:without_lifespan") == "*          /{rest:path}  (without_lifespan)\n"
    assert show("routes", "legacy:app") == "*          /{rest:path}  (WSGI)\n"
    shown = show("config", "service:create_app()", "--changed", "--interface", "asgi")
    assert 'interface = "asgi"' in shown
