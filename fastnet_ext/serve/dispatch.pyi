from collections.abc import Sequence
from typing import final

from fastnet_ext.exchange.exchange import Observer, Route
from fastnet_ext.routing.table import RoutingTable
from fastnet_ext.serve.http import HttpEndpoint

@final
class Dispatcher:
    table: RoutingTable
    not_found: Route
    method_not_allowed: Route
    options: Route
    slash_redirect: Route | None
    def __init__(
        self,
        table: RoutingTable,
        *,
        not_found: Route,
        method_not_allowed: Route,
        options: Route,
        slash_redirect: Route | None = None,
        grpc_not_found: Route | None = None,
        refusals: HttpEndpoint,
        observers: Sequence[Observer] = (),
    ) -> None: ...
