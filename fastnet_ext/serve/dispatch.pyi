from typing import final

from fastnet_ext.exchange.exchange import Admitter, Guard, Route
from fastnet_ext.routing.table import RoutingTable
from fastnet_ext.serve.http import HttpEndpoint

@final
class Dispatcher(Admitter):
    table: RoutingTable
    not_found: Route
    method_not_allowed: Route
    options: Route
    slash_redirect: Route | None
    gate: Guard | None
    sheds: bool
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
        gate: Guard | None = None,
        sheds: bool = True,
    ) -> None: ...
    def of_listener(self, gate: Guard | None, *, sheds: bool = True) -> Dispatcher: ...
