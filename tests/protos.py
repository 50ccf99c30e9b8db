"""What protoc makes of .proto files, made once per run: nothing generated is kept in the tree."""

import atexit
import functools
import importlib
import shutil
import sys
import tempfile
import warnings
from importlib.resources import files
from pathlib import Path
from types import ModuleType

import pytest

PROTO = Path(__file__).resolve().parent.parent / "proto"


def greeter() -> tuple[ModuleType, ModuleType]:
    """``greeter_pb2`` and ``greeter_pb2_grpc``, unmodified; skips the test without grpcio-tools."""
    return compiled(PROTO / "greeter.proto")


@functools.cache
def compiled(source: Path) -> tuple[ModuleType, ModuleType]:
    """Messages and services of a .proto file, unmodified; skips the test without grpcio-tools."""
    protoc = pytest.importorskip("grpc_tools.protoc")
    target = tempfile.mkdtemp(prefix="fastnet-protos-")
    atexit.register(shutil.rmtree, target, ignore_errors=True)
    included = str(files("grpc_tools") / "_proto")
    arguments = [
        "protoc",
        f"-I{source.parent}",
        f"-I{included}",
        f"--python_out={target}",
        f"--grpc_python_out={target}",
    ]
    assert protoc.main([*arguments, str(source)]) == 0
    sys.path.insert(0, target)
    try:
        with warnings.catch_warnings():
            # Generated code warns about versions; that is between grpcio and its tools.
            warnings.simplefilter("ignore")
            return importlib.import_module(f"{source.stem}_pb2"), importlib.import_module(f"{source.stem}_pb2_grpc")
    finally:
        sys.path.remove(target)


def user() -> tuple[ModuleType, ModuleType]:
    """``user_pb2`` and ``user_pb2_grpc``."""
    return compiled(PROTO / "user.proto")
