"""The certificate that all servers of a TLS scenario show: ECDSA P-256, self-signed, made for one run."""

import functools
import ssl
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from benches.load import peers

DAYS = "30"


@dataclass(frozen=True)
class Certificate:
    """Certificate and key in PEM."""

    cert: Path
    key: Path

    def client_context(self) -> ssl.SSLContext:
        """What a client needs to trust this certificate and nothing else."""
        context = ssl.create_default_context(cafile=str(self.cert))
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        return context


@functools.cache
def _folder() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="fastnet-bench-tls-")


@functools.cache
def certificate() -> Certificate:
    """The certificate of this run, for localhost and 127.0.0.1. Raises NotAvailable when openssl cannot make it."""
    peers.require_command("openssl")
    folder = Path(_folder().name)
    # A server's worker may be another user (nginx started by root); its master reads the key.
    folder.chmod(0o755)
    made = Certificate(folder / "cert.pem", folder / "key.pem")
    argv = ["openssl", "req", "-x509", "-nodes", "-days", DAYS, "-subj", "/CN=localhost"]
    argv += ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]
    argv += ["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    argv += ["-keyout", str(made.key), "-out", str(made.cert)]
    finished = subprocess.run(argv, capture_output=True, text=True, timeout=30, check=False)
    if finished.returncode != 0:
        raise peers.NotAvailable(f"openssl made no certificate: {finished.stderr[-300:]}")
    return made
