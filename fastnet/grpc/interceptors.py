"""Interceptors around gRPC methods: our own, ``async def interceptor(call, next)``, and grpcio's, in one chain.

The chain is the engine's; here is what may stand in it, and what of it needs grpcio.
"""

from __future__ import annotations

import contextlib
import importlib
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from itertools import pairwise
from typing import Any, TypeAlias, TypeVar

from fastnet.grpc.methods import HandlerCallDetails, MethodHandler
from fastnet.signatures import HandlerError, kind_of
from fastnet_ext.serve.grpc import GrpcEndpoint
from fastnet_ext.serve.grpc_interceptors import HandlerLink, InterceptedCall, InterceptorLink, Link, ServiceLink

__all__ = ["InterceptedCall", "Interceptor", "InterceptorT", "Next", "Surface", "check_interceptor", "link"]

# What an interceptor goes on with. The answer is a message; where the method streams it, an asynchronous iterator.
Next: TypeAlias = Callable[[InterceptedCall], Awaitable[Any]]
Interceptor: TypeAlias = Callable[[InterceptedCall, Next], Awaitable[Any]]
# Either kind: a function of ours, or an object of grpcio's.
InterceptorT = TypeVar("InterceptorT")


class Surface:
    """What grpcio's interceptors see, for the engine, which knows no grpcio.

    ``lookup(details)`` gives the endpoint of the method that they name, None when nobody serves it.
    """

    def __init__(self, lookup: Callable[[Any], GrpcEndpoint | None]) -> None:
        self.lookup = lookup
        grpc = importlib.import_module("grpc")
        self._makers: dict[tuple[bool, bool], Callable[..., Any]] = {
            (False, False): grpc.unary_unary_rpc_method_handler,
            (False, True): grpc.unary_stream_rpc_method_handler,
            (True, False): grpc.stream_unary_rpc_method_handler,
            (True, True): grpc.stream_stream_rpc_method_handler,
        }

    def details(self, method: str, metadata: tuple[Any, ...]) -> HandlerCallDetails:
        """What an interceptor is asked with."""
        return HandlerCallDetails(method, metadata)

    def handler(
        self,
        function: Callable[..., Any],
        request_streaming: bool,
        response_streaming: bool,
        deserialize: Callable[[bytes], Any] | None,
        serialize: Callable[[Any], bytes] | None,
    ) -> MethodHandler:
        """A ``grpc.RpcMethodHandler``."""
        made: MethodHandler = self._makers[request_streaming, response_streaming](function, deserialize, serialize)
        return made

    def function(
        self, proceeding: Callable[[Any, Any], Awaitable[Any]], response_streaming: bool
    ) -> Callable[[Any, Any], Any]:
        """The rest of a chain as a function of request and context; it is asynchronous to ``inspect`` too."""

        async def answer(request: Any, context: Any) -> Any:
            return await proceeding(request, context)

        async def messages(request: Any, context: Any) -> AsyncIterator[Any]:
            async with contextlib.aclosing(await proceeding(request, context)) as source:
                async for message in source:
                    yield message

        return messages if response_streaming else answer

    def is_async(self, function: Callable[..., Any]) -> bool:
        """Whether a handler runs on the loop; others run in a thread."""
        return kind_of(function) in ("async", "asyncgen")


def check_interceptor(interceptor: object) -> None:
    """Raise ``TypeError`` for what is neither ``async def interceptor(call, next)`` nor an interceptor of grpcio's."""
    if isinstance(interceptor, type):
        raise TypeError(f"an interceptor is an instance, not a class: {interceptor.__name__}()")
    if _of_grpcio(interceptor):
        return
    if not callable(interceptor):
        raise TypeError(
            f"{interceptor!r} is no interceptor: that is an async function (call, next), or an object with the "
            "method intercept_service(continuation, handler_call_details)"
        )
    if kind_of(interceptor) != "async":
        raise HandlerError(interceptor, "an interceptor is async: async def interceptor(call, next)")
    try:
        inspect.signature(interceptor).bind(None, None)
    except TypeError:
        raise HandlerError(interceptor, "an interceptor takes two arguments: (call, next)") from None


def link(interceptors: Sequence[Any]) -> Link:
    """The chain of some interceptors, the first outermost, with the handler behind them."""
    chain: Link = HandlerLink()
    for group in reversed(_groups(interceptors)):
        if _of_grpcio(group[0]):
            chain = ServiceLink(group, [_blocking(one) for one in group], chain)
        else:
            chain = InterceptorLink(group[0], chain)
    return chain


def _groups(interceptors: Sequence[Any]) -> list[list[Any]]:
    """Interceptors of grpcio's that ask each other for a handler, together; all others one by one."""
    groups = [[one] for one in interceptors[:1]]
    for before, one in pairwise(interceptors):
        # A plain function cannot wait for what an asynchronous one answers: it gets a handler that does.
        if _of_grpcio(before) and _of_grpcio(one) and (not _blocking(before) or _blocking(one)):
            groups[-1].append(one)
        else:
            groups.append([one])
    return groups


def _of_grpcio(interceptor: object) -> bool:
    return callable(getattr(interceptor, "intercept_service", None))


def _blocking(interceptor: Any) -> bool:
    """Whether an interceptor of grpcio's is one of its synchronous servers'."""
    if kind_of(interceptor.intercept_service) == "async":
        return False
    return isinstance(interceptor, importlib.import_module("grpc").ServerInterceptor)
