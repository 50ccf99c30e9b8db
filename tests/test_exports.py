"""What ``import fastnet`` brings, and what it must not: seen from a fresh interpreter."""

from __future__ import annotations

import importlib
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import fastnet
import fastnet_ext

pytestmark = pytest.mark.long

ROOT = Path(__file__).resolve().parents[1]

# Extras, and what only tests and examples use: a service that does not need one does not pay for it.
NOT_IMPORTED = (
    *("grpc", "google.protobuf", "jinja2", "jwt", "redis", "opentelemetry", "watchfiles", "pydantic"),
    *("pytest", "hypothesis", "h11", "h2", "websockets", "Cython"),
)


def fresh(program: str) -> str:
    """Run a program in an interpreter of its own, where warnings are errors; what it prints."""
    command = [sys.executable, "-W", "error", "-c", program]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


def modules() -> list[str]:
    """Every module of both packages."""
    return sorted(
        found.name
        for package in (fastnet, fastnet_ext)
        for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}.")
        if not found.name.endswith("__main__")
    )


def test_importing_brings_no_extras() -> None:
    loaded = fresh("import sys, fastnet; print(*sys.modules)").split()
    assert "fastnet" in loaded
    assert [name for name in NOT_IMPORTED if name in loaded] == []


def test_a_star_import_gives_the_public_names() -> None:
    given = fresh("from fastnet import *; print(*(name for name in dir() if name[:2] != '__'))").split()
    assert sorted(given) == sorted(name for name in fastnet.__all__ if not name.startswith("__"))


def test_nothing_public_is_left_out_of_all() -> None:
    public = {name for name, value in vars(fastnet).items() if not name.startswith("_")}
    folders = {found.name for found in pkgutil.iter_modules(fastnet.__path__)}
    assert public - folders == {name for name in fastnet.__all__ if not name.startswith("_")}


def test_every_module_can_be_imported_first() -> None:
    """No module relies on another having been imported before it, nor warns."""
    assert modules()
    program = (
        "import importlib, sys\n"
        "for name in {names!r}:\n"
        "    for loaded in [one for one in sys.modules if one.partition('.')[0] == 'fastnet']:\n"
        "        del sys.modules[loaded]\n"
        "    importlib.import_module(name)\n"
    )
    fresh(program.format(names=[name for name in modules() if name.startswith("fastnet.")]))


@pytest.mark.parametrize("name", [name for name in modules() if name.startswith("fastnet.")])
def test_all_of_each_module_is_true(name: str) -> None:
    module = importlib.import_module(name)
    listed = getattr(module, "__all__", [])
    assert [entry for entry in listed if not hasattr(module, entry)] == []
    assert len(listed) == len(set(listed))


def test_both_packages_say_that_they_are_typed() -> None:
    for package in (fastnet, fastnet_ext):
        assert (Path(package.__path__[0]) / "py.typed").is_file()
