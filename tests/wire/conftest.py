"""Certificates that the tests of TLS share: a server's, a client's, and a stranger's."""

from __future__ import annotations

from pathlib import Path

import pytest
import trustme

from tests.wire.tls import Files, issue


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("certificates")


@pytest.fixture(scope="session")
def ca() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="session")
def files(folder: Path, ca: trustme.CA) -> Files:
    """The server's certificate."""
    return issue(folder, ca, "server", "localhost", "127.0.0.1")


@pytest.fixture(scope="session")
def alice(folder: Path, ca: trustme.CA) -> Files:
    """A client's certificate, issued by an authority below the one that is trusted."""
    return issue(folder, ca.create_child_ca(), "alice", "alice@example.com", common_name="alice, of x")


@pytest.fixture(scope="session")
def stranger(folder: Path) -> Files:
    """The same of an authority that nobody trusts."""
    return issue(folder, trustme.CA(), "stranger", "mallory@example.com", common_name="mallory")
