"""connectconformance judges ``app.grpc``: https://github.com/connectrpc/conformance, by ``go install``.

What is switched on stands in the lists below; a case may fail only where EXPECTED names it, with its reason, and must
fail there.
"""

import re
import subprocess
import sys
from importlib.resources import files
from pathlib import Path

import pytest

from tests.conformance import go

pytest.importorskip("grpc_tools.protoc")

MODULE, VERSION = "connectrpc.com/conformance", "v1.0.5"
SECONDS = 580

PROTOCOLS = ["GRPC"]
"""Of GRPC, GRPC_WEB and CONNECT, those that are served."""
STREAM_TYPES = ["UNARY", "CLIENT_STREAM", "SERVER_STREAM", "HALF_DUPLEX_BIDI_STREAM", "FULL_DUPLEX_BIDI_STREAM"]
COMPRESSIONS = ["IDENTITY", "GZIP", "DEFLATE"]

LEAST_CASES = 743
"""What the lists come to, at least."""

EXPECTED: dict[str, str] = {}
"""Patterns of cases in which the specification allows our answer and the suite does not, each with its reason."""


def configuration() -> str:
    # gRPC is never asked for over HTTP/1.1, and JSON only by Connect.
    versions = ["1", "2"] if PROTOCOLS != ["GRPC"] else ["2"]
    codecs = ["PROTO", "JSON"] if "CONNECT" in PROTOCOLS else ["PROTO"]
    lists = {
        "versions": [f"HTTP_VERSION_{version}" for version in versions],
        "protocols": [f"PROTOCOL_{name}" for name in PROTOCOLS],
        "codecs": [f"CODEC_{name}" for name in codecs],
        "compressions": [f"COMPRESSION_{name}" for name in COMPRESSIONS],
        "stream_types": [f"STREAM_TYPE_{name}" for name in STREAM_TYPES],
    }
    lines = ["features:", *(f"  {key}: [{', '.join(values)}]" for key, values in lists.items())]
    lines += ["  supports_h2c: true", "  supports_tls: true", "  supports_tls_client_certs: true"]
    return "\n".join([*lines, "  supports_message_receive_limit: true", ""])


@pytest.fixture(scope="module")
def protos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """protoc's output for the suite's own messages."""
    target = tmp_path_factory.mktemp("protos")
    roots = [go.sources(MODULE, VERSION) / "proto", Path(__file__).parent, Path(str(files("grpc_tools") / "_proto"))]
    names = ["config", "server_compat", "service"]
    inputs = [f"connectrpc/conformance/v1/{name}.proto" for name in names]
    options = [*(f"-I{root}" for root in roots), f"--python_out={target}"]
    go.python("-m", "grpc_tools.protoc", *options, *inputs, "status.proto")
    return target


def test_server(protos: Path, tmp_path: Path) -> None:
    judge = go.program(f"{MODULE}/cmd/connectconformance", VERSION)
    (tmp_path / "features.yaml").write_text(configuration())
    argv = [str(judge), "--mode", "server", "--conf", str(tmp_path / "features.yaml"), "--max-servers", "2"]
    argv += [f"--known-failing={pattern}" for pattern in EXPECTED]
    argv += ["--", sys.executable, "-m", "tests.conformance.connect_server", str(protos)]
    finished = subprocess.run(argv, capture_output=True, text=True, timeout=SECONDS, check=False)
    told = finished.stdout + finished.stderr
    assert finished.returncode == 0, told[-20_000:]
    total = re.search(r"Total cases: (\d+)", told)
    # What the lists above switch on, so that an empty choice is no success.
    assert total is not None, told
    assert int(total[1]) >= LEAST_CASES, told
