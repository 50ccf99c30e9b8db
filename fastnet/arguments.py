"""From a parameter to its compiled Argument: where the value comes from, and how its text converts.

The rules, in order:

1. A type that stands for an object (`Request`, `Call`, `App` …) gets that object.
2. A marker (`Query`, `Header` …) says where the value comes from.
3. A name in the path is a path parameter.
4. Text types (str, numbers, bool, enums, Literal, dates, UUID, Decimal), unions of them, and lists,
   sets and tuples of them come from the query.
5. `bytes` is the body as it came. Everything else that can be built from JSON is the JSON body.
"""

import collections.abc
import dataclasses
import enum
import functools
import inspect
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from types import NoneType, UnionType
from typing import Annotated, Any, Final, Literal, NamedTuple, Union, get_args, get_origin, is_typeddict
from uuid import UUID

import msgspec

from fastnet.params import Dependency, Marker
from fastnet.signatures import HandlerError, Parameter
from fastnet_ext.exchange.request import Call, Request
from fastnet_ext.exchange.values import State
from fastnet_ext.serve.plan import (
    MISSING,
    Argument,
    BodyArgument,
    CallArgument,
    CookieArgument,
    HeaderArgument,
    PathArgument,
    QueryArgument,
    RequestArgument,
    StateArgument,
)
from fastnet_ext.serve.validation import explain_body

__all__ = ["Context", "Provider", "argument_for", "is_body"]

# What makes the Argument for a parameter of a type: (name, annotation) -> Argument.
Provider = Callable[[str, Any], Argument]

PROVIDERS: Final[Mapping[type, Provider]] = {
    Request: lambda name, annotation: RequestArgument(name),
    Call: lambda name, annotation: CallArgument(name),
    State: lambda name, annotation: StateArgument(name),
}

_FAST = {str: "str", int: "int", float: "float", bool: "bool"}
_TEXT = (str, int, float, bool, enum.Enum, date, datetime, time, timedelta, UUID, Decimal)
_GATHERED = {
    list: None,
    set: set,
    frozenset: frozenset,
    collections.abc.Sequence: None,
    collections.abc.Iterable: None,
    collections.abc.Collection: None,
    collections.abc.Set: frozenset,
}


@dataclasses.dataclass(frozen=True, slots=True)
class Context:
    """What the parameters of one route have in common."""

    path_params: tuple[str, ...] = ()
    methods: tuple[str, ...] = ()
    providers: Mapping[type, Provider] = dataclasses.field(default_factory=dict)
    dec_hook: Callable[[type, Any], Any] | None = None


class _Type(NamedTuple):
    """An annotation taken apart: `base` without Annotated, NewType, aliases and ``| None``."""

    base: Any
    extras: tuple[Any, ...]
    optional: bool


def _take_apart(annotation: Any) -> _Type:
    extras: tuple[Any, ...] = ()
    optional = False
    while True:
        origin = get_origin(annotation)
        if origin is Annotated:
            annotation, *more = get_args(annotation)
            extras = (*more, *extras)
        elif origin in (Union, UnionType):
            arms = [arm for arm in get_args(annotation) if arm is not NoneType]
            if len(arms) == len(get_args(annotation)):
                break
            optional = True
            annotation = Union[tuple(arms)]  # noqa: UP007 - built from a list
        elif hasattr(annotation, "__supertype__"):  # NewType
            annotation = annotation.__supertype__
        elif type(annotation).__name__ == "TypeAliasType":
            annotation = annotation.__value__
        else:
            break
    return _Type(annotation, extras, optional)


def _with_extras(base: Any, extras: Sequence[Any]) -> Any:
    return Annotated[(base, *extras)] if extras else base


# --- what kind of type it is


def _is_text(annotation: Any) -> bool:
    """Whether a value of that type stands in a URL or a header as one text."""
    base = _take_apart(annotation).base
    if get_origin(base) is Literal:
        return True
    if get_origin(base) in (Union, UnionType):
        return all(_is_text(arm) for arm in get_args(base))
    return inspect.isclass(base) and issubclass(base, _TEXT)


def _items(annotation: Any) -> Any:
    """The items' type of a list, set or tuple of texts, MISSING for other types."""
    base = _take_apart(annotation).base
    arguments = get_args(base)
    if get_origin(base) is tuple:
        if len(arguments) == 2 and arguments[1] is Ellipsis:
            arguments = arguments[:1]
        elif not arguments or not all(_is_text(each) for each in arguments):
            return MISSING
        else:
            return str  # of several types: converted as a whole
    elif get_origin(base) not in _GATHERED:
        return MISSING
    return arguments[0] if arguments and _is_text(arguments[0]) else MISSING


def _is_pydantic(annotation: Any) -> bool:
    """Whether pydantic has to do with a type; it is known by what it puts there, since it may not be installed."""
    if "pydantic" not in sys.modules:
        return False
    taken = _take_apart(annotation)
    if hasattr(taken.base, "__pydantic_validator__"):
        return True
    if any(type(extra).__module__.split(".")[0] in ("pydantic", "annotated_types") for extra in taken.extras):
        return True
    return any(_is_pydantic(argument) for argument in get_args(taken.base))


def is_body(annotation: Any) -> bool:
    """Whether values of that type are built from a JSON body."""
    base = _take_apart(annotation).base
    origin = get_origin(base) or base
    if origin in (Union, UnionType):
        return any(is_body(arm) for arm in get_args(base))
    if origin in _GATHERED or origin is tuple:
        return _items(base) is MISSING
    if not inspect.isclass(origin):
        return False
    return (
        issubclass(origin, (msgspec.Struct, dict, list, tuple, set, frozenset, collections.abc.Mapping))
        or dataclasses.is_dataclass(origin)
        or is_typeddict(origin)
        or hasattr(origin, "__attrs_attrs__")
        or hasattr(origin, "__pydantic_validator__")
    )


# --- from text to value


def _wanted(base: Any) -> str | None:
    """What a value of few choices may be, for messages."""
    if get_origin(base) is Literal:
        choices: list[Any] = list(get_args(base))
    elif inspect.isclass(base) and issubclass(base, enum.Enum):
        choices = [member.value for member in base]
    else:
        return None
    return "expected one of " + ", ".join(repr(choice) for choice in choices)


def _adapter(annotation: Any) -> Any:
    from pydantic import TypeAdapter  # an extra of the user's: only types of pydantic lead here

    return TypeAdapter(annotation)


def _one_text(annotation: Any, dec_hook: Callable[[type, Any], Any] | None) -> dict[str, Any]:
    """The options of a TextArgument for one value. Raises TypeError for what msgspec cannot build."""
    base, extras, _ = _take_apart(annotation)
    if _is_pydantic(annotation):
        return {"kind": "other", "convert": _adapter(_with_extras(base, extras)).validate_python}
    extras = tuple(extra for extra in extras if isinstance(extra, msgspec.Meta))
    whole = _with_extras(base, extras)
    msgspec.json.Decoder(whole, dec_hook=dec_hook)
    if dec_hook is None and isinstance(msgspec.inspect.type_info(base), msgspec.inspect.CustomType):
        raise TypeError(f"a value of {base!r} cannot be made from text without App(dec_hook=...)")
    fast = _FAST.get(base)
    if fast is not None:
        check = functools.partial(msgspec.convert, type=whole) if extras else None
        return {"kind": fast, "convert": check}
    convert = functools.partial(msgspec.convert, type=whole, strict=False, dec_hook=dec_hook)
    return {"kind": "other", "convert": convert, "wanted": _wanted(base)}


def _texts(annotation: Any, items: Any, dec_hook: Callable[[type, Any], Any] | None) -> dict[str, Any]:
    """The same for a value that stands there several times."""
    base, extras, _ = _take_apart(annotation)
    extras = tuple(extra for extra in extras if isinstance(extra, msgspec.Meta))
    options = {**_one_text(items, dec_hook), "many": True}
    origin = get_origin(base)
    if extras or (origin is tuple and get_args(base)[-1] is not Ellipsis):
        whole = _with_extras(base, extras)
        msgspec.json.Decoder(whole, dec_hook=dec_hook)
        options["gather"] = functools.partial(msgspec.convert, type=whole, strict=False, dec_hook=dec_hook)
    else:
        options["gather"] = tuple if origin is tuple else _GATHERED[origin]
    return options


def _default(parameter: Parameter, marker: Marker | None) -> dict[str, Any]:
    """The options of an Argument that say what stands in for an absent value."""
    default = parameter.default
    if marker is not None:
        if marker.default_factory is not None:
            return {"factory": marker.default_factory}
        if default is MISSING:
            default = marker.default
    if default is MISSING or default is Ellipsis:
        return {}
    if isinstance(default, (list, dict, set, bytearray)):
        # One object for all requests would carry changes from one to the next.
        return {"factory": default.copy}
    return {"default": default}


# --- from parameter to Argument


def argument_for(function: Callable[..., Any], parameter: Parameter, context: Context) -> Argument:
    """The Argument of a parameter that is no dependency. Raises HandlerError when it cannot be filled."""
    marker = parameter.marker
    assert not isinstance(marker, Dependency)
    annotation = _annotation_of(function, parameter, context)
    provider = _provider(annotation, context)
    if provider is not None:
        return provider(parameter.name, annotation)
    if marker is not None and marker.constraints:
        annotation = _constrained(annotation, _meta(function, marker))
    location = marker.location if marker is not None else _location(function, parameter, annotation, context)
    try:
        if location == "body":
            return _body(function, parameter, annotation, marker, context)
        return _text(function, parameter, annotation, location, marker, context)
    except HandlerError:
        raise
    except (TypeError, ValueError, RuntimeError) as error:
        raise HandlerError(function, f"parameter {parameter.name}: {error}") from error


def _constrained(annotation: Any, meta: msgspec.Meta) -> Any:
    base, extras, optional = _take_apart(annotation)
    constrained = _with_extras(base, (*extras, meta))
    return constrained | None if optional else constrained


def _meta(function: Callable[..., Any], marker: Marker) -> msgspec.Meta:
    try:
        return msgspec.Meta(**marker.constraints)
    except (TypeError, ValueError, re.error) as error:
        raise HandlerError(function, f"the constraints {marker.constraints}: {error}") from error


def _annotation_of(function: Callable[..., Any], parameter: Parameter, context: Context) -> Any:
    """The annotation, or what a parameter without one may be taken for."""
    if parameter.annotation is not MISSING:
        return parameter.annotation
    if parameter.marker is not None or parameter.name in context.path_params:
        return str
    if parameter.name == "request":
        return Request
    if type(parameter.default) in _FAST:
        return type(parameter.default)
    raise HandlerError(
        function,
        f"parameter {parameter.name}: nothing says what it is; annotate it, for instance `{parameter.name}: str` "
        "for a query parameter, or with Depends",
    )


def _provider(annotation: Any, context: Context) -> Provider | None:
    base = _take_apart(annotation).base
    cls = get_origin(base) or base
    if not inspect.isclass(cls):
        return None
    for known in cls.__mro__:
        provider = context.providers.get(known) or PROVIDERS.get(known)
        if provider is not None:
            return provider
    return None


def _location(function: Callable[..., Any], parameter: Parameter, annotation: Any, context: Context) -> str:
    if parameter.name in context.path_params:
        return "path"
    base = _take_apart(annotation).base
    if base is bytes or is_body(annotation):
        return "body"
    if _is_text(annotation) or _items(annotation) is not MISSING:
        return "query"
    if context.dec_hook is not None and inspect.isclass(base) and base is not object:
        return "query"
    raise HandlerError(
        function,
        f"parameter {parameter.name}: a value of {annotation!r} cannot be made from a request; "
        "use a type that JSON or text converts to, or say with Depends what makes it",
    )


def _text(
    function: Callable[..., Any],
    parameter: Parameter,
    annotation: Any,
    location: str,
    marker: Marker | None,
    context: Context,
) -> Argument:
    name = parameter.name
    alias = (marker.alias if marker is not None else None) or name
    options = _default(parameter, marker)
    items = _items(annotation)
    if items is MISSING:
        if is_body(annotation):
            raise HandlerError(function, f"parameter {name}: {annotation!r} does not fit into one {location} parameter")
        options |= _one_text(annotation, context.dec_hook)
    elif location == "path":
        raise HandlerError(function, f"parameter {name}: a path parameter is one value, not a list")
    else:
        options |= _texts(annotation, items, context.dec_hook)
    if location == "path":
        if alias not in context.path_params:
            known = ", ".join(context.path_params) or "none"
            raise HandlerError(function, f"parameter {name}: the path has no parameter {alias!r} (it has {known})")
        return PathArgument(name, context.path_params.index(alias), alias, **options)
    if location == "header":
        if marker is None or marker.alias is None:
            alias = name.replace("_", "-")
        return HeaderArgument(name, alias, **options)
    return CookieArgument(name, alias, **options) if location == "cookie" else QueryArgument(name, alias, **options)


def _body(
    function: Callable[..., Any], parameter: Parameter, annotation: Any, marker: Marker | None, context: Context
) -> Argument:
    bodiless = [method for method in ("GET", "HEAD") if method in context.methods]
    if bodiless:
        raise HandlerError(
            function,
            f"parameter {parameter.name}: {annotation!r} comes from the body, which {bodiless[0]} does not have; "
            "use another method, or take single values from the query",
        )
    options = _default(parameter, marker)
    media_type = marker.media_type if marker is not None else None
    base, extras, _ = _take_apart(annotation)
    if base is bytes and not extras:
        return BodyArgument(parameter.name, media_type=media_type, **options)
    if base is str:
        check = functools.partial(msgspec.convert, type=annotation) if extras else None
        return BodyArgument(
            parameter.name,
            decode=functools.partial(_decode_text, check),
            explain=explain_body,
            media_type=media_type,
            **options,
        )
    decode: Callable[[bytes], Any]
    if _is_pydantic(annotation):
        decode = _adapter(annotation).validate_json
        explain: Callable[[Exception, bytes], Exception] = explain_body
    else:
        decode = msgspec.json.Decoder(annotation, dec_hook=context.dec_hook).decode
        explain = functools.partial(explain_body, type=annotation, dec_hook=context.dec_hook)
    media_type = media_type or "application/json"
    return BodyArgument(parameter.name, decode=decode, explain=explain, media_type=media_type, **options)


def _decode_text(check: Callable[[str], str] | None, body: bytes) -> str:
    text = body.decode("utf-8")
    return text if check is None else check(text)
