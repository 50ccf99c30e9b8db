"""``fastnet proto compile``: Python modules of .proto files, by grpcio-tools, and typed stubs of their services."""

from __future__ import annotations

import argparse
import importlib
import tempfile
from collections.abc import Iterable, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from fastnet.cli.flags import Parser, UsageError

__all__ = ["add_proto_command", "compile_protos", "service_stubs"]

_DESCRIPTION = """Compile .proto files to name_pb2.py and name_pb2.pyi (messages), name_pb2_grpc.py (stubs and
servicers) and name_pb2_grpc.pyi (their types)."""


def add_proto_command(commands: Any) -> Parser:
    """Add ``proto`` to the subparsers of the command line; returns its parser."""
    proto: Parser = commands.add_parser("proto", help="compile .proto files", usage="fastnet proto compile PATH ...")
    compile_ = proto.add_subparsers(dest="proto_command", metavar="COMMAND", required=True).add_parser(
        "compile", help="compile .proto files", description=_DESCRIPTION
    )
    compile_.add_argument(
        "paths", nargs="+", type=Path, metavar="PATH", help="a folder of .proto files, or one of them"
    )
    compile_.add_argument(
        "--out", type=Path, default=Path(), metavar="DIR", help="where the modules go; the current folder by default"
    )
    compile_.add_argument(
        "-I",
        "--include",
        type=Path,
        action="append",
        default=[],
        metavar="DIR",
        help="another folder in which imported .proto files are looked for",
    )
    compile_.set_defaults(function=_compile)
    return proto


def _compile(options: argparse.Namespace) -> int:
    for path in compile_protos(options.paths, options.out, options.include):
        print(path)
    return 0


def compile_protos(paths: Iterable[Path], out: Path, include: Sequence[Path] = ()) -> list[Path]:
    """Compile .proto files, and all below the folders among ``paths``; returns the modules and stubs in ``out``.

    Folders, and those of single files, are the roots for imports. ``UsageError`` says what is missing or wrong; what
    protoc has to say about the files goes to stderr.
    """
    try:
        protoc = importlib.import_module("grpc_tools.protoc")
        descriptors = importlib.import_module("google.protobuf.descriptor_pb2")
    except ImportError as error:
        raise UsageError("proto compile needs grpcio-tools: pip install 'fastnet-server[proto]'") from error
    roots, sources = _sources(paths)
    if not out.is_dir():
        raise UsageError(f"{out} is no folder: --out is where the modules go")
    imports = [f"-I{folder}" for folder in (*roots, *include, files("grpc_tools") / "_proto")]
    outputs = [f"--{kind}={out}" for kind in ("python_out", "pyi_out", "grpc_python_out")]
    with tempfile.TemporaryDirectory(prefix="fastnet-proto-") as folder:
        described = Path(folder, "descriptors")
        arguments = ["protoc", *imports, *outputs, f"--descriptor_set_out={described}", "--include_imports"]
        if protoc.main([*arguments, *map(str, sources)]) != 0:
            raise UsageError("protoc refuses the files: what it says of them stands above")
        found = descriptors.FileDescriptorSet.FromString(described.read_bytes())
    mine = {_relative(source, roots).as_posix() for source in sources}
    written = []
    for name, stub in service_stubs(found.file).items():
        if name not in mine:
            continue
        base = out / name.removesuffix(".proto")
        written += [base.with_name(base.name + end) for end in ("_pb2.py", "_pb2.pyi", "_pb2_grpc.py")]
        if stub is not None:
            written.append(base.with_name(base.name + "_pb2_grpc.pyi"))
            written[-1].write_text(stub)
    return written


def _sources(paths: Iterable[Path]) -> tuple[list[Path], list[Path]]:
    """The roots for imports, and the files to compile."""
    roots: dict[Path, None] = {}
    sources: dict[Path, None] = {}
    for path in paths:
        if path.is_dir():
            below = sorted(path.rglob("*.proto"))
            if not below:
                raise UsageError(f"there are no .proto files below {path}")
            roots[path] = None
            sources.update(dict.fromkeys(below))
        elif path.suffix == ".proto" and path.is_file():
            roots[path.parent] = None
            sources[path] = None
        else:
            raise UsageError(f"{path} is neither a folder nor a .proto file")
    return list(roots), list(sources)


def _relative(source: Path, roots: Iterable[Path]) -> Path:
    """The name by which protoc knows a file: its path below the first root that has it."""
    return next(source.relative_to(root) for root in roots if source.is_relative_to(root))


# --- the types of services


def service_stubs(described: Iterable[Any]) -> dict[str, str | None]:
    """The .pyi of each file's services by the file's name; None for a file without services.

    ``described``: ``FileDescriptorProto`` of the files and of all that they import.
    """
    described = list(described)
    types: dict[str, tuple[str, str]] = {}
    for file in described:
        prefix = f".{file.package}." if file.package else "."
        for message in file.message_type:
            _name_types(message, prefix, "", _module(file.name), types)
    return {file.name: _stub(file, types) if file.service else None for file in described}


def _name_types(message: Any, prefix: str, outer: str, module: str, types: dict[str, tuple[str, str]]) -> None:
    """Note the module and the Python name of a message and of those inside it, by protobuf's full name."""
    name = f"{outer}{message.name}"
    types[prefix + name] = module, name
    for nested in message.nested_type:
        _name_types(nested, prefix, f"{name}.", module, types)


def _module(file: str) -> str:
    return file.removesuffix(".proto").replace("-", "_").replace("/", ".") + "_pb2"


def _stub(file: Any, types: dict[str, tuple[str, str]]) -> str:
    modules: set[str] = set()

    def python(name: str) -> str:
        module, local = types[name]
        modules.add(module)
        return f"{module}.{local}"

    classes = [text for service in file.service for text in _service(service, python)]
    imports = "\n".join(f"import {module}" for module in sorted({*modules, "grpc", "grpc.aio"}))
    return (
        f'"""The types of the services in {file.name}."""\n\n'
        "from collections.abc import AsyncIterator, Awaitable, Iterator\n"
        "from typing import Any, Protocol\n\n"
        f"{imports}\n\n" + "\n".join(classes)
    )


def _service(service: Any, python: Any) -> list[str]:
    """Stub, servicer and registration of a service."""
    # What a call gives depends on the channel: grpcio's blocking one, or that of asyncio.
    stub = [
        f"class {service.name}Stub:",
        "    def __init__(self, channel: grpc.Channel | grpc.aio.Channel) -> None: ...",
    ]
    # A protocol: a class need not be derived from it to be checked against it. Its context may be ours or grpcio's.
    servicer = [f"class {service.name}Servicer(Protocol):"]
    for method in service.method:
        request, reply = python(method.input_type), python(method.output_type)
        stub.append(f"    {method.name}: Any")
        taken = f"requests: AsyncIterator[{request}]" if method.client_streaming else f"request: {request}"
        if method.server_streaming:
            returned = f"AsyncIterator[{reply}] | Iterator[{reply}] | Awaitable[None]"
        else:
            returned = f"Awaitable[{reply}] | {reply}"
        servicer.append(f"    def {method.name}(self, {taken}, context: Any, /) -> {returned}: ...")
    if not service.method:
        servicer[0] += " ..."
    add = f"def add_{service.name}Servicer_to_server(servicer: {service.name}Servicer, server: Any) -> None: ..."
    return ["\n".join(stub) + "\n", "\n".join(servicer) + "\n", add + "\n"]
