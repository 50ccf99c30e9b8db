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

from tests import loops
from tests.conformance import go

pytest.importorskip("grpc_tools.protoc")

pytestmark = pytest.mark.long

MODULE, VERSION = "connectrpc.com/conformance", "v1.0.5"
SECONDS = 580

ON_STOCK_LOOP = loops.NAME == "asyncio"
"""There, calls in cleartext and without compression will do: nothing of the protocols is the loop's."""
LEAST_CASES = (
    {"GRPC": 196, "GRPC_WEB": 198, "CONNECT": 416}
    if ON_STOCK_LOOP
    else {"GRPC": 743, "GRPC_WEB": 1066, "CONNECT": 2396}
)
"""What the lists come to, by protocol."""
STREAM_TYPES = ["UNARY", "CLIENT_STREAM", "SERVER_STREAM", "HALF_DUPLEX_BIDI_STREAM", "FULL_DUPLEX_BIDI_STREAM"]
COMPRESSIONS = ["IDENTITY"] if ON_STOCK_LOOP else ["IDENTITY", "GZIP", "DEFLATE"]

EXPECTED: dict[str, str] = {}
"""Patterns of cases in which the specification allows our answer and the suite does not, each with its reason."""


def configuration(protocol: str) -> str:
    # gRPC is never asked for over HTTP/1.1, and JSON only by Connect.
    versions = ["2"] if protocol == "GRPC" else ["1", "2"]
    codecs = ["PROTO", "JSON"] if protocol == "CONNECT" else ["PROTO"]
    lists = {
        "versions": [f"HTTP_VERSION_{version}" for version in versions],
        "protocols": [f"PROTOCOL_{protocol}"],
        "codecs": [f"CODEC_{name}" for name in codecs],
        "compressions": [f"COMPRESSION_{name}" for name in COMPRESSIONS],
        "stream_types": [f"STREAM_TYPE_{name}" for name in STREAM_TYPES],
    }
    lines = ["features:", *(f"  {key}: [{', '.join(values)}]" for key, values in lists.items())]
    lines += [f"  supports_{name}: {str(not ON_STOCK_LOOP).lower()}" for name in ("tls", "tls_client_certs")]
    others = ("h2c", "message_receive_limit", "connect_get", "half_duplex_bidi_over_http1")
    return "\n".join([*lines, *(f"  supports_{name}: true" for name in others), ""])


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


@pytest.mark.parametrize("protocol", LEAST_CASES)
def test_server(protos: Path, tmp_path: Path, protocol: str) -> None:
    judge = go.program(f"{MODULE}/cmd/connectconformance", VERSION)
    (tmp_path / "features.yaml").write_text(configuration(protocol))
    argv = [str(judge), "--mode", "server", "--conf", str(tmp_path / "features.yaml"), "--max-servers", "2"]
    argv += [f"--known-failing={pattern}" for pattern in EXPECTED]
    argv += ["--", sys.executable, "-m", "tests.conformance.connect_server", str(protos)]
    finished = subprocess.run(argv, capture_output=True, text=True, timeout=SECONDS, check=False)
    told = finished.stdout + finished.stderr
    assert finished.returncode == 0, told[-20_000:]
    total = re.search(r"Total cases: (\d+)", told)
    # What was switched on, so that an empty choice is no success.
    assert total is not None, told
    assert int(total[1]) >= LEAST_CASES[protocol], told
