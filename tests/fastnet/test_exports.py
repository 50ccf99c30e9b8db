"""The public names: listed, sorted, there, and typed as the contract is written."""

import ast
from pathlib import Path

import fastnet


def test_all_is_sorted_and_true() -> None:
    assert fastnet.__all__ == sorted(fastnet.__all__)
    for name in fastnet.__all__:
        assert hasattr(fastnet, name)


def test_whatever_is_imported_is_listed() -> None:
    tree = ast.parse(Path(fastnet.__file__).read_text())
    imported = {
        alias.asname or alias.name for node in tree.body if isinstance(node, ast.ImportFrom) for alias in node.names
    }
    assert imported <= set(fastnet.__all__)


def test_streaming_response_is_stream() -> None:
    assert fastnet.StreamingResponse is fastnet.Stream
