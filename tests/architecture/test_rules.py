"""The rules of the house hold, and each of them finds a violation planted for it."""

from __future__ import annotations

import ast
import importlib
import inspect
from pathlib import Path

import pytest

from tests.architecture import rules
from tests.architecture.sources import ROOT, Import, imports_of, module_name


def _import(importer: str, imported: str, *, nested: bool = False) -> Import:
    return Import(importer, imported, 1, nested)


def test_dependencies_point_down() -> None:
    assert rules.wrong_edges(rules.all_imports()) == []


@pytest.mark.parametrize(
    ("importer", "imported"),
    [
        ("fastnet_ext.core.headers", "fastnet_ext.http1.reader"),
        ("fastnet_ext.http1.reader", "fastnet_ext.http2.hpack"),
        ("fastnet_ext.routing.table", "fastnet_ext.exchange.exchange"),
        ("fastnet_ext.exchange.exchange", "fastnet_ext.serve.plan"),
        ("fastnet_ext.serve.http", "fastnet_ext.net.connection"),
        ("fastnet_ext.serve.http", "fastnet.app"),
        ("fastnet_ext.cellar.new", "fastnet_ext.core.headers"),
    ],
)
def test_a_wrong_edge_is_found(importer: str, imported: str) -> None:
    assert rules.wrong_edges([_import(importer, imported)])


def test_no_module_imports_in_a_ring() -> None:
    assert rules.cycles(rules.all_imports()) == []


def test_a_ring_is_found() -> None:
    ring = [_import("fastnet.a", "fastnet.b"), _import("fastnet.b", "fastnet.c"), _import("fastnet.c", "fastnet.a")]
    assert rules.cycles(ring)
    assert not rules.cycles(ring[:2])


def test_no_import_hides_in_a_function() -> None:
    assert rules.hidden_imports(rules.all_imports()) == []


def test_a_hidden_import_is_found() -> None:
    folder = ROOT / "build" / "planted" / "fastnet"
    folder.mkdir(parents=True, exist_ok=True)
    plain, cython = folder / "planted.py", folder / "planted.pyx"
    plain.write_text("def f() -> None:\n    from fastnet.app import App\n")
    cython.write_text("def f():\n    from fastnet.app import App\n")
    for path in (plain, cython):
        found = imports_of(path, folder.parent)
        assert rules.hidden_imports(found), path
        path.unlink()


def test_imports_for_type_checkers_do_not_count() -> None:
    folder = ROOT / "build" / "planted" / "fastnet"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "typed.py"
    path.write_text("from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from fastnet.app import App\n")
    assert imports_of(path, folder.parent) == []
    path.unlink()


def test_machines_are_free_of_io() -> None:
    assert rules.io_in_machines(rules.read("pyx") + rules.read("pxd")) == []


@pytest.mark.parametrize("line", ["import asyncio", "from socket import socket", "from libc.time cimport time"])
def test_io_in_a_machine_is_found(line: str) -> None:
    assert rules.io_in_machines([("fastnet_ext.http1.planted", line)])
    assert not rules.io_in_machines([("fastnet_ext.net.planted", line)])


def test_every_cdef_says_how_it_fails() -> None:
    assert rules.silent_failures(rules.read("pyx") + rules.read("pxd")) == []


@pytest.mark.parametrize(
    "line", ["cdef int f(self):\n", "cdef void f(self, int a):\n", "cdef char* f(\n    int a\n):\n"]
)
def test_a_silent_cdef_is_found(line: str) -> None:
    assert rules.silent_failures([("fastnet_ext.http1.planted", line)])
    loud = line.replace("):", ") noexcept:")
    assert not rules.silent_failures([("fastnet_ext.http1.planted", loud)])


def test_every_module_declares_free_threading() -> None:
    assert rules.missing_free_threading(rules.read("pyx")) == []


def test_a_missing_declaration_is_found() -> None:
    assert rules.missing_free_threading([("fastnet_ext.http1.planted", '"""A module."""\n')])


def _stub_problems(name: str, stub: str, public: set[str]) -> list[str]:
    """Classes and functions that a stub has and its module has not, and the other way round."""
    declared = set()
    for node in ast.parse(stub).body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            declared.add(node.name)
    declared = {item for item in declared if not item.startswith("_")}
    return [f"{name}.pyi declares {item}, which the module has not" for item in sorted(declared - public)] + [
        f"{name}.pyi lacks {item}" for item in sorted(public - declared)
    ]


def _public_names(name: str) -> set[str]:
    module = importlib.import_module(name)
    return {
        key
        for key, value in vars(module).items()
        if not key.startswith("_") and not inspect.ismodule(value) and getattr(value, "__module__", None) == name
    }


@pytest.mark.parametrize("path", sorted(ROOT.glob("fastnet_ext/**/*.pyx")), ids=module_name)
def test_stubs_say_what_the_module_has(path: Path) -> None:
    stub = path.with_suffix(".pyi")
    name = module_name(path)
    public = _public_names(name)
    if not public and not stub.exists():
        return
    assert stub.exists(), f"{name} has public names {sorted(public)} and no .pyi"
    assert _stub_problems(name, stub.read_text(), public) == []


def test_a_wrong_stub_is_found() -> None:
    assert _stub_problems("m", "def gone() -> None: ...\n", set())
    assert _stub_problems("m", "", {"missing"})
    assert not _stub_problems("m", "def there() -> None: ...\n", {"there"})


def test_tests_mirror_the_sources() -> None:
    """Every folder of the engine has a folder of tests with its name."""
    tests = ROOT / "tests"
    names = {path.name for path in tests.iterdir() if path.is_dir()}
    # `grpc` would shadow the library of that name for the tests beside it.
    names |= {"grpc"} if "grpc_framing" in names else set()
    folders = {path.parent.name for path in ROOT.glob("fastnet_ext/*/*.pyx")}
    assert folders <= names
