"""What is handed out: an sdist, the wheel built from it, and a service in an environment with nothing else.

Takes minutes, so it is not part of ``make test``; ``make dist-check`` runs it, and CI does.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import ProxyHandler, Request, build_opener

import pytest

import fastnet

pytestmark = pytest.mark.dist

ROOT = Path(__file__).resolve().parents[2]

SERVICE = """
from fastnet import App

app = App()


@app.get("/users/{id}")
async def read_user(id: int) -> dict[str, int]:
    return {"id": id}


@app.get("/fails")
async def fails() -> None:
    raise LookupError("nobody is there")
"""


def run(*command: str | Path, cwd: Path) -> str:
    """Run a command away from the checkout; its output."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "FASTNET"))}
    done = subprocess.run(
        command, cwd=cwd, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("dist")


@pytest.fixture(scope="module")
def sdist(folder: Path) -> Path:
    run(sys.executable, "-m", "build", "--sdist", "--outdir", folder, ROOT, cwd=folder)
    (found,) = folder.glob("*.tar.gz")
    return found


@pytest.fixture(scope="module")
def wheel(folder: Path, sdist: Path) -> Path:
    """Built by pip from the sdist, with build requirements from the index, as a user's pip does it."""
    run(sys.executable, "-m", "pip", "wheel", "--no-deps", "--wheel-dir", folder, sdist, cwd=folder)
    (found,) = folder.glob("*.whl")
    return found


@pytest.fixture(scope="module")
def installed(folder: Path, wheel: Path) -> Path:
    """The ``bin`` of an environment with the wheel and what it asks for."""
    run(sys.executable, "-m", "venv", "env", cwd=folder)
    run(folder / "env" / "bin" / "pip", "install", "--quiet", wheel, cwd=folder)
    return folder / "env" / "bin"


def sources(*suffixes: str) -> set[str]:
    """The files of both packages as git would know them: nothing compiled, nothing generated."""
    return {
        str(path.relative_to(ROOT))
        for package in ("fastnet", "fastnet_ext")
        for path in (ROOT / package).rglob("*")
        if path.suffix in suffixes
    }


def test_the_sdist_has_all_sources_and_nothing_built(sdist: Path) -> None:
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    wanted = sources(".py", ".pyx", ".pxd", ".pyi", ".h", ".typed", ".html")
    assert sorted(wanted - names) == []
    assert [name for name in names if name.endswith((".so", ".c", ".pyc")) or name.startswith("build/")] == []
    assert {"setup.py", "pyproject.toml", "README.md", "LICENSE"} <= names


def test_the_wheel_has_modules_stubs_and_markers(wheel: Path) -> None:
    assert wheel.name.startswith(f"fastnet_server-{fastnet.__version__}-")
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    assert sorted(sources(".py", ".pyi", ".typed", ".html") - names) == []
    compiled = {re.sub(r"\.[^/]*\.so$", ".pyx", name) for name in names if name.endswith(".so")}
    assert compiled == sources(".pyx")
    tops = {name.partition("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"fastnet", "fastnet_ext"}
    assert [name for name in names if name.endswith(".c")] == []


def test_metadata_says_name_and_version(folder: Path, installed: Path) -> None:
    program = "import importlib.metadata as m; print(m.version('fastnet-server'))"
    assert run(installed / "python", "-W", "error", "-c", program, cwd=folder).strip() == fastnet.__version__
    assert run(installed / "fastnet", "--version", cwd=folder).strip() == f"fastnet {fastnet.__version__}"


def test_what_is_imported_is_what_was_installed(folder: Path, installed: Path) -> None:
    program = "import fastnet, fastnet_ext.net.connection as c; print(fastnet.__file__, c.__file__, sep='\\n')"
    for path in run(installed / "python", "-W", "error", "-c", program, cwd=folder).split():
        assert Path(path).is_relative_to(folder / "env")


@contextmanager
def serving(folder: Path, installed: Path, *flags: str) -> Iterator[str]:
    (folder / "service.py").write_text(SERVICE)
    command = [str(installed / "fastnet"), "run", "service:app", "--port", "0", *flags]
    with subprocess.Popen(command, cwd=folder, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr is not None
            lines = []
            for line in process.stderr:
                lines.append(line)
                if found := re.search(r"listening on (http://[\d.]+:\d+)", line):
                    yield found[1]
                    break
            else:
                raise AssertionError("the service did not start:\n" + "".join(lines))
        finally:
            process.terminate()
        assert process.wait(30) == 0


def test_the_installed_command_serves(folder: Path, installed: Path) -> None:
    opener = build_opener(ProxyHandler({}))
    with serving(folder, installed) as url, opener.open(f"{url}/users/7", timeout=10) as answer:
        assert (answer.status, answer.read()) == (200, b'{"id":7}')
        assert answer.headers["content-type"] == "application/json"


def test_the_page_for_errors_is_installed(folder: Path, installed: Path) -> None:
    opener = build_opener(ProxyHandler({}))
    with serving(folder, installed, "--debug") as url:
        request = Request(f"{url}/fails", headers={"Accept": "text/html"})
        with pytest.raises(HTTPError) as failed:
            opener.open(request, timeout=10)
        with failed.value as answer:
            assert answer.code == 500
            assert answer.headers["content-type"].startswith("text/html")
            assert b"nobody is there" in answer.read()
