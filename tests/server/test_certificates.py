"""SIGHUP after certificates were renewed: no request fails, old connections go on, new ones see the new certificate."""

from __future__ import annotations

import os
import shutil
import signal
import ssl
from pathlib import Path

import pytest
import trustme
from cryptography.x509 import load_der_x509_certificate, load_pem_x509_certificate

from tests.server.service import APP, Client, Load, alive, running, until
from tests.wire.tls import Files, issue

SLOW = (
    APP
    + """
@app.get("/slow")
async def slow() -> str:
    print("it is asked", file=__import__("sys").stderr, flush=True)
    await asyncio.sleep(1)
    return "slow"
"""
)


class Renewable:
    """The files that a server is told, and certificates of one authority that they may hold."""

    def __init__(self, folder: Path) -> None:
        self.ca = trustme.CA()
        self.folder = folder
        self.files = issue(folder, self.ca, "served", "localhost")
        self.client = self.files.client()

    @property
    def flags(self) -> tuple[str, ...]:
        return ("--tls-cert", self.files.cert, "--tls-key", self.files.key)

    def renew(self) -> None:
        other = issue(self.folder, self.ca, "renewed", "localhost")
        shutil.copyfile(other.cert, self.files.cert)
        shutil.copyfile(other.key, self.files.key)

    def connect(self, port: int) -> Client:
        return Client(port, tls=self.client)

    def shown(self, port: int) -> int:
        """The serial number of the certificate that a new connection sees, once it has an answer on it."""
        with self.connect(port) as client:
            assert client.get()[0] == 200
            return serial(client)


def serial(client: Client) -> int:
    assert isinstance(client.sock, ssl.SSLSocket)
    shown = client.sock.getpeercert(binary_form=True)
    assert shown is not None
    return load_der_x509_certificate(shown).serial_number


def serial_in(files: Files) -> int:
    return load_pem_x509_certificate(Path(files.cert).read_bytes()).serial_number


@pytest.fixture
def renewable(tmp_path: Path) -> Renewable:
    return Renewable(tmp_path)


@pytest.mark.parametrize("sockets", ["reuseport", "shared"])
@pytest.mark.parametrize("more", [(), ("--preload",)], ids=["", "preload"])
def test_workers_under_load(tmp_path: Path, renewable: Renewable, sockets: str, more: tuple[str, ...]) -> None:
    flags = (*renewable.flags, "--workers", "2", "--sockets", sockets, *more)
    with running(tmp_path, SLOW, *flags) as service:
        service.ready(2)
        old = service.workers
        load = Load(service.port, tls=renewable.client)
        with load.going(6), renewable.connect(service.port) as client:
            before = serial(client)
            assert before == serial_in(renewable.files)
            client.send("/slow")
            service.wait_for("it is asked")
            renewable.renew()
            assert serial_in(renewable.files) != before
            # Who comes before the signal sees the old one still.
            assert renewable.shown(service.port) == before
            service.tell(signal.SIGHUP)
            assert client.answer() == (200, "slow")
            service.wait_for("all workers are new")
            until(lambda: not any(alive(pid) for pid in old), "the end of the old workers")
            load.more(200)
            assert {renewable.shown(service.port) for _ in range(8)} == {serial_in(renewable.files)}
        assert load.failures == []
        # A worker that comes later has it as well.
        os.kill(service.workers[-1], signal.SIGKILL)
        service.ready(5)
        assert {renewable.shown(service.port) for _ in range(8)} == {serial_in(renewable.files)}
        assert service.end() == 0
        assert "Traceback" not in service.log


def test_a_single_process_under_load(tmp_path: Path, renewable: Renewable) -> None:
    with running(tmp_path, SLOW, *renewable.flags) as service:
        load = Load(service.port, tls=renewable.client)
        with load.going(4), renewable.connect(service.port) as client:
            before = serial(client)
            assert client.get()[0] == 200
            renewable.renew()
            service.tell(signal.SIGHUP)
            service.wait_for("SIGHUP: certificates are read again")
            until(lambda: renewable.shown(service.port) == serial_in(renewable.files), "the new certificate")
            # The connection from before goes on, and is not told to end.
            assert client.get()[0] == 200
            assert not client.last
            assert serial(client) == before
            load.more()
        assert load.failures == []
        assert service.end() == 0


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_certificate_that_cannot_be_used_changes_nothing(tmp_path: Path, renewable: Renewable, workers: str) -> None:
    with running(tmp_path, SLOW, *renewable.flags, "--workers", workers) as service:
        service.wait_for("listening")
        before = serial_in(renewable.files)
        whole = Path(renewable.files.cert).read_bytes()
        load = Load(service.port, tls=renewable.client)
        with load.going(4):
            Path(renewable.files.cert).write_text("this is no certificate\n")
            service.tell(signal.SIGHUP)
            service.wait_for("not reloaded, ")
            load.more()
            assert renewable.shown(service.port) == before
        assert load.failures == []
        assert "holds no certificate in PEM" in service.log
        Path(renewable.files.cert).write_bytes(whole)
        renewable.renew()
        service.tell(signal.SIGHUP)
        until(lambda: renewable.shown(service.port) == serial_in(renewable.files), "the new certificate")
        assert service.end() == 0
        assert "Traceback" not in service.log
