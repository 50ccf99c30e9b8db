"""The bench's application with what an application of some size imports beside fastnet."""

import grpc

from benches.load.servers.fastnet_app import app

__all__ = ["app", "grpc"]
