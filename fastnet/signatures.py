"""Callables taken apart: their parameters with resolved annotations, what calling them gives, where they stand."""

import functools
import inspect
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import CodeType, FrameType
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

from fastnet.params import Dependency, Marker
from fastnet_ext.serve.plan import MISSING

__all__ = ["HandlerError", "Kind", "Parameter", "kind_of", "locate", "name_of", "parameters_of", "return_annotation"]

# What a call gives: a coroutine, a value (after it may have blocked), a generator, an instance.
Kind = Literal["async", "sync", "asyncgen", "gen", "class"]


class HandlerError(TypeError):
    """A handler or a dependency that cannot be called; the message names it, its file and line, and the remedy."""

    def __init__(self, function: Callable[..., Any], problem: str) -> None:
        super().__init__(f"{name_of(function)} ({locate(function)}): {problem}")
        self.function = function
        self.problem = problem


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter: `annotation` is resolved and without its markers; MISSING stands for none."""

    name: str
    annotation: Any
    default: Any
    by_name: bool
    marker: Marker | Dependency | None

    @property
    def required(self) -> bool:
        """Whether the callable has no default for it."""
        return self.default is MISSING


def _underlying(function: Any) -> Any:
    """The function, method or class that holds the code of a callable."""
    while True:
        if isinstance(function, functools.partial):
            function = function.func
        elif hasattr(function, "__wrapped__"):
            function = function.__wrapped__
        else:
            break
    if not inspect.isroutine(function) and not inspect.isclass(function) and callable(function):
        return _underlying(type(function).__call__)
    return function


def name_of(function: Callable[..., Any]) -> str:
    """A callable's name for messages."""
    inner = _underlying(function)
    return getattr(inner, "__qualname__", None) or repr(function)


def locate(function: Callable[..., Any]) -> str:
    """``file:line`` of a callable, or what is known of it."""
    inner = inspect.unwrap(_underlying(function))
    code: CodeType | None = getattr(inner, "__code__", None)
    if code is not None:
        return f"{code.co_filename}:{code.co_firstlineno}"
    try:
        return f"{inspect.getsourcefile(inner)}:{inspect.getsourcelines(inner)[1]}"
    except (TypeError, OSError):
        return f"module {getattr(inner, '__module__', '?')}"


def kind_of(function: Callable[..., Any]) -> Kind:
    """What calling it gives."""
    while isinstance(function, functools.partial):
        function = function.func
    if inspect.isclass(function):
        return "class"
    call = function if inspect.isroutine(function) else type(function).__call__
    if inspect.isasyncgenfunction(call):
        return "asyncgen"
    if inspect.iscoroutinefunction(call):
        return "async"
    if inspect.isgeneratorfunction(call):
        return "gen"
    # A plain wrapper around something asynchronous hands out what that returns.
    inner = getattr(call, "__wrapped__", None)
    wrapped = "sync" if inner is None else kind_of(inner)
    return wrapped if wrapped in ("async", "asyncgen") else "sync"


def _scopes(function: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """The global names of a callable, and the names of its closure."""
    if inspect.isclass(function):
        return vars(sys.modules[function.__module__]), dict(vars(function))
    inner = getattr(function, "__func__", function)
    code, closure = getattr(inner, "__code__", None), getattr(inner, "__closure__", None)
    names: dict[str, Any] = {}
    if code is not None and closure:
        for name, cell in zip(code.co_freevars, closure, strict=True):
            try:
                names[name] = cell.cell_contents
            except ValueError:  # not bound yet
                continue
    return getattr(inner, "__globals__", {}), names


def _enclosing_names(globals_: dict[str, Any]) -> dict[str, Any]:
    """Local names of the functions of that module which are running now, the innermost first.

    A handler under a decorator is registered while the function around it runs; a closure does not
    hold the names that only its annotations use.
    """
    names: dict[str, Any] = {}
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        if frame.f_globals is globals_ and frame.f_locals is not globals_:
            names = {**frame.f_locals, **names}
        frame = frame.f_back
    return names


class _Annotated:
    """Something with annotations and nothing else: what get_type_hints takes."""

    def __init__(self, name: str, annotation: Any) -> None:
        self.__annotations__ = {name: annotation}


def _resolve(function: Any, name: str, annotation: Any) -> Any:
    """An annotation without strings in it. Raises whatever evaluating it raises."""
    holder = _Annotated(name, annotation)
    globals_, names = _scopes(function)
    try:
        return get_type_hints(holder, globals_, names, include_extras=True)[name]
    except NameError:
        names = {**_enclosing_names(globals_), **names}
        return get_type_hints(holder, globals_, names, include_extras=True)[name]


def _split(annotation: Any) -> tuple[Any, Marker | Dependency | None]:
    """An annotation without the markers in its Annotated, and the last of them."""
    if get_origin(annotation) is not Annotated:
        return annotation, None
    base, *extras = get_args(annotation)
    markers = [extra for extra in extras if isinstance(extra, (Marker, Dependency))]
    rest = [extra for extra in extras if not isinstance(extra, (Marker, Dependency))]
    if not markers:
        return annotation, None
    return (Annotated[(base, *rest)] if rest else base), markers[-1]


def _signature(function: Callable[..., Any]) -> inspect.Signature:
    try:
        return inspect.signature(function)
    except (TypeError, ValueError) as error:
        raise HandlerError(function, f"its signature cannot be read: {error}") from error


def parameters_of(function: Callable[..., Any]) -> list[Parameter]:
    """The parameters that a call must fill. Raises HandlerError."""
    owner = _underlying(function)
    bound: Mapping[str, Any] = function.keywords if isinstance(function, functools.partial) else {}
    found = []
    for parameter in _signature(function).parameters.values():
        if parameter.name in bound:
            continue
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            raise HandlerError(
                function,
                f"parameter {parameter}: cannot be filled from a request; "
                "name each parameter, and put functools.wraps on wrappers inside decorators",
            )
        annotation = MISSING if parameter.annotation is parameter.empty else parameter.annotation
        if annotation is not MISSING:
            try:
                annotation = _resolve(owner, parameter.name, annotation)
            except Exception as error:
                raise HandlerError(
                    function,
                    f"parameter {parameter.name}: its annotation {parameter.annotation!r} has no meaning ({error}); "
                    "the names in it must exist at run time: import them outside `if TYPE_CHECKING`, "
                    "and define local types before the handler",
                ) from error
        annotation, marker = _split(annotation)
        default = MISSING if parameter.default is parameter.empty else parameter.default
        if isinstance(default, (Marker, Dependency)):
            if marker is not None:
                raise HandlerError(function, f"parameter {parameter.name}: two markers, in Annotated and as default")
            marker, default = default, MISSING
        found.append(Parameter(parameter.name, annotation, default, parameter.kind is parameter.KEYWORD_ONLY, marker))
    return found


def return_annotation(function: Callable[..., Any]) -> Any:
    """The resolved return annotation; MISSING when there is none, or none that can be resolved."""
    try:
        annotation = inspect.signature(function).return_annotation
    except (TypeError, ValueError):
        return MISSING
    if annotation is inspect.Signature.empty or inspect.isclass(function):
        return MISSING
    try:
        return _resolve(_underlying(function), "return", annotation)
    except Exception:
        return MISSING
