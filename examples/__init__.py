"""One small service per protocol.

``greeter_pb2`` and ``greeter_pb2_grpc`` are protoc's output of ``proto/``, unmodified, in
``examples/generated/`` (``make build`` makes it). That folder is put on the path here, since
generated modules import each other by their bare names.
"""

import sys
from pathlib import Path

_GENERATED = str(Path(__file__).parent / "generated")
if _GENERATED not in sys.path:
    sys.path.insert(0, _GENERATED)
