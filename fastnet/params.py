"""Markers that say where a parameter comes from, and what its value must be.

``token: Annotated[str, Header("x-token")]``, or as a default: ``token: str = Header("x-token", default="")``.
What has no marker follows the rules of `fastnet.arguments`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypedDict, Unpack

from fastnet_ext.serve.plan import MISSING

__all__ = ["Body", "Cookie", "Dependency", "Depends", "Header", "Marker", "Path", "Query"]

Location = Literal["path", "query", "header", "cookie", "body"]

_CONSTRAINTS = frozenset({"gt", "ge", "lt", "le", "multiple_of", "pattern", "min_length", "max_length"})


class Options(TypedDict, total=False):
    """What every marker may say."""

    default: Any
    default_factory: Callable[[], Any]
    # What the value must be, as msgspec.Meta checks it. Of a list, the lengths count its items.
    gt: float
    ge: float
    lt: float
    le: float
    multiple_of: float
    pattern: str
    min_length: int
    max_length: int
    # For the documentation.
    title: str
    description: str
    examples: Sequence[Any]
    deprecated: bool
    include_in_schema: bool


@dataclass(frozen=True, slots=True)
class Marker:
    """Where a value comes from; made by Path, Query, Header, Cookie and Body."""

    location: Location
    alias: str | None = None
    default: Any = MISSING
    default_factory: Callable[[], Any] | None = None
    constraints: dict[str, Any] = field(default_factory=dict)  # keywords of msgspec.Meta
    media_type: str | None = None
    title: str | None = None
    description: str | None = None
    examples: Sequence[Any] = ()
    deprecated: bool = False
    include_in_schema: bool = True


@dataclass(frozen=True, slots=True)
class Dependency:
    """A value that another callable makes; made by Depends."""

    dependency: Callable[..., Any] | None
    use_cache: bool = True
    inline: bool = False


def _marker(location: Location, alias: str | None, options: Options, media_type: str | None = None) -> Marker:
    given: dict[str, Any] = dict(options)
    constraints = {name: given.pop(name) for name in list(given) if name in _CONSTRAINTS}
    return Marker(location, alias, constraints=constraints, media_type=media_type, **given)


# These return Any, not Marker: a type checker must accept `token: str = Header()`.


def Path(alias: str | None = None, **options: Unpack[Options]) -> Any:
    """A path parameter; ``alias`` is its name in the path when the handler's differs."""
    return _marker("path", alias, options)


def Query(alias: str | None = None, **options: Unpack[Options]) -> Any:
    """A query parameter. Of several with the name the last one counts; a list takes all of them."""
    return _marker("query", alias, options)


def Header(alias: str | None = None, **options: Unpack[Options]) -> Any:
    """A header field; without ``alias``, the parameter's name with hyphens for underscores.

    Several fields of the name count as one, joined by ``", "``; a list takes each of them.
    """
    return _marker("header", alias, options)


def Cookie(alias: str | None = None, **options: Unpack[Options]) -> Any:
    """A cookie. Of several with the name the first one counts; a list takes all of them."""
    return _marker("cookie", alias, options)


def Body(*, media_type: str | None = None, **options: Unpack[Options]) -> Any:
    """The whole body: as JSON, unless the parameter is ``bytes`` (as it came) or ``str`` (UTF-8 text).

    ``media_type`` is what its Content-Type must be; without it, a JSON type for JSON and any for the rest.
    """
    return _marker("body", None, options, media_type)


def Depends(dependency: Callable[..., Any] | None = None, *, use_cache: bool = True, inline: bool = False) -> Any:
    """What ``dependency`` makes: a function (async or not, with or without ``yield``) or a class.

    Its own parameters are filled by the same rules as a handler's. Without ``dependency``, the
    parameter's annotation is the class. It is called once per request, unless ``use_cache=False``.
    A ``def`` function runs in the pool of threads; ``inline=True`` says that it never blocks.
    Code after ``yield`` runs when the answer is complete, whatever became of it.
    """
    return Dependency(dependency, use_cache, inline)
