"""What a validation library says about a value, as failures with a place, a wish and a kind."""

import dataclasses
import re
from collections.abc import Callable, Sequence
from types import NoneType, UnionType
from typing import (
    Annotated,
    Any,
    Final,
    NotRequired,
    Required,
    Union,
    get_args,
    get_origin,
    get_type_hints,
    is_typeddict,
)

import msgspec

from fastnet_ext.serve.errors import ArgumentError, Failure, MalformedBody

__all__ = ["explain_body", "failures_of"]

# msgspec ends a message with " - at `$.items[0].price`", or " - at `key` in `$.tags`" for a key.
_PLACE = re.compile(r" - at (`key` in )?`\$([^`]*)`$")
_STEP = re.compile(r"\.([^.\[\]]+)|\[(\d+|\.\.\.)\]")
_MISSING = re.compile(r"^Object missing required field `([^`]*)`$")
_UNKNOWN = re.compile(r"^Object contains unknown field `([^`]*)`$")
_POSITION = re.compile(r"\(byte (\d+)\)$")

MAX_FAILURES: Final = 50
MAX_DEPTH: Final = 16
MAX_ITEMS: Final = 1000

_CLASS = type


def failures_of(error: ValueError, wanted: str | None = None) -> list[Failure]:
    """The failures that a ValueError of msgspec, pydantic or anybody else stands for.

    ``wanted`` replaces a message that only says that the value is wrong.
    """
    if isinstance(error, msgspec.ValidationError):
        return [_msgspec_failure(str(error), wanted)]
    if callable(getattr(error, "errors", None)):
        return _pydantic_failures(error)
    return [((), wanted or str(error) or "Invalid value", "value_error")]


def _msgspec_failure(message: str, wanted: str | None = None) -> Failure:
    at: tuple[str | int, ...] = ()
    if place := _PLACE.search(message):
        message = message[: place.start()]
        steps = _STEP.findall(place[2])
        at = tuple(name or (int(index) if index.isdigit() else index) for name, index in steps)
        if place[1]:
            at = (*at, "[key]")
    if found := _MISSING.match(message):
        return (*at, found[1]), "Field required", "missing"
    if found := _UNKNOWN.match(message):
        return (*at, found[1]), "Unknown field", "unknown_field"
    if message.startswith("Invalid enum value"):
        return at, f"{message}; {wanted}" if wanted else message, "enum"
    return at, message, "type_error" if ", got `" in message else "value_error"


def _pydantic_failures(error: Any) -> list[Failure]:
    """pydantic need not be installed: its error is known by what it offers."""
    return [
        (tuple(each["loc"]), each["msg"], each["type"])
        for each in error.errors(include_url=False, include_context=False, include_input=False)[:MAX_FAILURES]
    ]


def _malformed(error: Exception) -> MalformedBody | None:
    """The 400 for what is not JSON at all, None for JSON of another shape."""
    if isinstance(error, RecursionError):
        return MalformedBody("the body is JSON nested too deeply")
    if isinstance(error, UnicodeDecodeError):
        return MalformedBody("the body is not UTF-8")
    if isinstance(error, msgspec.DecodeError) and not isinstance(error, msgspec.ValidationError):
        found = _POSITION.search(str(error))
        return MalformedBody(f"the body is not JSON: {error}", int(found[1]) if found else None)
    return None


def explain_body(
    error: Exception,
    body: bytes,
    type: Any = None,
    dec_hook: Callable[[type, Any], Any] | None = None,
) -> Exception:
    """What to raise for a body that did not decode into ``type``: ArgumentError or MalformedBody.

    A decoder stops at the first field that is wrong; with ``type``, what was to be decoded as JSON,
    all of them are looked for.
    """
    if (malformed := _malformed(error)) is not None:
        return malformed
    if not isinstance(error, ValueError):
        return error
    failures = failures_of(error)
    if not isinstance(error, msgspec.ValidationError):
        if failures[0][2] == "json_invalid":
            return MalformedBody(f"the body is not JSON: {failures[0][1]}")
        return ArgumentError.of(failures)
    if type is None:
        return ArgumentError.of(failures)
    try:
        plain = msgspec.json.decode(body)
    except (ValueError, RecursionError) as worse:
        return _malformed(worse) or worse
    found: list[Failure] = []
    _Search(dec_hook, found).look(plain, type, ())
    return ArgumentError.of(found or failures)


class _Search:
    """Looks for everything that is wrong with a plain value, part by part.

    Its work is bounded: a peer chooses the value. It goes down MAX_DEPTH levels, and into lists
    of MAX_ITEMS; below that, the first failure stands for the rest.
    """

    def __init__(self, dec_hook: Callable[[type, Any], Any] | None, found: list[Failure]) -> None:
        self.dec_hook = dec_hook
        self.found = found

    def look(self, value: Any, type: Any, at: tuple[str | int, ...]) -> None:
        if len(self.found) >= MAX_FAILURES:
            return
        try:
            msgspec.convert(value, type, dec_hook=self.dec_hook, str_keys=True)
        except msgspec.ValidationError as error:
            known = len(self.found)
            if len(at) < MAX_DEPTH:
                self._look_inside(value, _bare(type), at)
            if len(self.found) == known:
                where, message, kind = _msgspec_failure(str(error))
                self.found.append(((*at, *where), message, kind))

    def _look_inside(self, value: Any, type: Any, at: tuple[str | int, ...]) -> None:
        if isinstance(value, list):
            items = get_args(type)
            if get_origin(type) in (list, set, frozenset, Sequence) and items and len(value) <= MAX_ITEMS:
                for index, item in enumerate(value):
                    self.look(item, items[0], (*at, index))
        elif isinstance(value, dict):
            for name, part, required in _fields(type):
                if name in value:
                    self.look(value[name], part, (*at, name))
                elif required:
                    self.found.append(((*at, name), "Field required", "missing"))


def _bare(type: Any) -> Any:
    """A type without Annotated and without ``| None``."""
    while get_origin(type) in (Annotated, Required, NotRequired):
        type = get_args(type)[0]
    if get_origin(type) in (Union, UnionType):
        others = [each for each in get_args(type) if each is not NoneType]
        if len(others) == 1:
            return _bare(others[0])
    return type


def _fields(type: Any) -> list[tuple[str, Any, bool]]:
    """``(name in JSON, type, required)`` of each field of a class; none for other types."""
    cls = get_origin(type) or type
    if not isinstance(cls, _CLASS):
        return []
    if issubclass(cls, msgspec.Struct):
        return [(field.encode_name, field.type, field.required) for field in msgspec.structs.fields(type)]
    if dataclasses.is_dataclass(cls):
        hints = get_type_hints(cls, include_extras=True)
        return [
            (
                field.name,
                hints[field.name],
                field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING,
            )
            for field in dataclasses.fields(cls)
            if field.init
        ]
    if is_typeddict(cls):
        hints = get_type_hints(cls, include_extras=True)
        required: frozenset[str] = getattr(cls, "__required_keys__")  # noqa: B009 - type checkers do not know it
        return [(name, _bare(hint), name in required) for name, hint in hints.items()]
    return []
