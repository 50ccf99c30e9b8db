"""What protoc makes of the files in proto/, made once per run: nothing generated is kept in the tree."""

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


@functools.cache
def compiled(name: str) -> tuple[ModuleType, ModuleType]:
    """``name_pb2`` and ``name_pb2_grpc`` of proto/name.proto, unmodified; skips the test without grpcio-tools."""
    protoc = pytest.importorskip("grpc_tools.protoc")
    target = tempfile.mkdtemp(prefix="fastnet-protos-")
    atexit.register(shutil.rmtree, target, ignore_errors=True)
    included = str(files("grpc_tools") / "_proto")
    arguments = ["protoc", f"-I{PROTO}", f"-I{included}", f"--python_out={target}", f"--grpc_python_out={target}"]
    assert protoc.main([*arguments, str(PROTO / f"{name}.proto")]) == 0
    sys.path.insert(0, target)
    try:
        with warnings.catch_warnings():
            # Generated code warns about versions; that is between grpcio and its tools.
            warnings.simplefilter("ignore")
            return importlib.import_module(f"{name}_pb2"), importlib.import_module(f"{name}_pb2_grpc")
    finally:
        sys.path.remove(target)


def greeter() -> tuple[ModuleType, ModuleType]:
    """``greeter_pb2`` and ``greeter_pb2_grpc``."""
    return compiled("greeter")


def user() -> tuple[ModuleType, ModuleType]:
    """``user_pb2`` and ``user_pb2_grpc``."""
    return compiled("user")
