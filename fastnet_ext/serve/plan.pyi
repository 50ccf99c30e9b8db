from collections.abc import Callable, Iterable
from typing import Any, Final, Literal, final

from fastnet_ext.exchange.exchange import Exchange

__all__ = [
    "MISSING",
    "AppArgument",
    "Argument",
    "BodyArgument",
    "CallArgument",
    "CallPlan",
    "CookieArgument",
    "DependentPlan",
    "ExchangeArgument",
    "HeaderArgument",
    "PathArgument",
    "ProtocolArgument",
    "ProvidedArgument",
    "QueryArgument",
    "RequestArgument",
    "SlotArgument",
    "StateArgument",
    "TextArgument",
    "max_arguments",
]

Kind = Literal["str", "int", "float", "bool", "other"]

MISSING: Final[Any]
max_arguments: Final[int]

class Argument:
    @property
    def name(self) -> str: ...
    @property
    def location(self) -> str: ...
    @property
    def alias(self) -> str: ...
    @property
    def slot(self) -> int: ...
    def __init__(self, name: str, location: str, alias: str | None = None) -> None: ...
    def value(self, x: Exchange) -> Any: ...

class TextArgument(Argument):
    @property
    def wanted(self) -> str | None: ...
    @property
    def many(self) -> bool: ...
    @property
    def required(self) -> bool: ...
    @property
    def default(self) -> Any: ...
    def __init__(
        self,
        name: str,
        location: str,
        alias: str | None = None,
        *,
        kind: Kind = "str",
        convert: Callable[[Any], Any] | None = None,
        wanted: str | None = None,
        many: bool = False,
        gather: Callable[[list[Any]], Any] | None = None,
        default: Any = ...,
        factory: Callable[[], Any] | None = None,
    ) -> None: ...

@final
class PathArgument(TextArgument):
    @property
    def index(self) -> int: ...
    def __init__(self, name: str, index: int, alias: str | None = None, **options: Any) -> None: ...

@final
class QueryArgument(TextArgument):
    def __init__(self, name: str, alias: str | None = None, **options: Any) -> None: ...

@final
class HeaderArgument(TextArgument):
    def __init__(self, name: str, alias: str, **options: Any) -> None: ...

@final
class CookieArgument(TextArgument):
    def __init__(self, name: str, alias: str | None = None, **options: Any) -> None: ...

@final
class BodyArgument(Argument):
    @property
    def required(self) -> bool: ...
    @property
    def default(self) -> Any: ...
    def __init__(
        self,
        name: str,
        *,
        decode: Callable[[bytes], Any] | None = None,
        explain: Callable[[Exception, bytes], Exception] | None = None,
        media_type: str | None = None,
        default: Any = ...,
        factory: Callable[[], Any] | None = None,
    ) -> None: ...

@final
class RequestArgument(Argument):
    def __init__(self, name: str) -> None: ...

@final
class CallArgument(Argument):
    def __init__(self, name: str) -> None: ...

@final
class ProtocolArgument(Argument):
    def __init__(self, name: str) -> None: ...

@final
class StateArgument(Argument):
    def __init__(self, name: str) -> None: ...

@final
class AppArgument(Argument):
    def __init__(self, name: str) -> None: ...

@final
class ExchangeArgument(Argument):
    def __init__(self, name: str) -> None: ...

@final
class ProvidedArgument(Argument):
    def __init__(self, name: str, provide: Callable[[Exchange], Any]) -> None: ...

@final
class SlotArgument(Argument):
    def __init__(self, name: str, slot: int) -> None: ...

class CallPlan:
    @property
    def function(self) -> Callable[..., Any]: ...
    @property
    def arguments(self) -> list[Argument]: ...
    @property
    def positional(self) -> int: ...
    @property
    def needs_body(self) -> bool: ...
    @property
    def takes_request(self) -> bool: ...
    def __init__(
        self, function: Callable[..., Any], arguments: Iterable[Argument] = (), positional: int | None = None
    ) -> None: ...
    def invoke(self, x: Exchange, slots: list[Any] | None = None) -> Any: ...
    def invoke_repeatedly(self, x: Exchange, times: int) -> None: ...

@final
class DependentPlan(CallPlan):
    def __init__(
        self,
        function: Callable[..., Any],
        arguments: Iterable[Argument],
        positional: int | None,
        *,
        run: Callable[[Exchange, list[Any] | None], Any],
        needs_body: bool,
        takes_request: bool,
    ) -> None: ...
