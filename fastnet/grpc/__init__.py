"""gRPC: services under ``app.grpc``, and what their handlers see."""

from fastnet.grpc.health import Health
from fastnet.grpc.interceptors import InterceptedCall, Interceptor, Next
from fastnet.grpc.server import GrpcServer
from fastnet_ext.serve.grpc_context import ServicerContext
from fastnet_ext.serve.grpc_threads import SyncServicerContext
from fastnet_ext.serve.grpc_values import Metadatum, Peer

__all__ = [
    "GrpcServer",
    "Health",
    "InterceptedCall",
    "Interceptor",
    "Metadatum",
    "Next",
    "Peer",
    "ServicerContext",
    "SyncServicerContext",
]
