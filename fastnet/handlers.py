"""A handler's signature becomes a call plan: once, at registration, where every mistake is refused."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast

from fastnet.arguments import Context, Provider
from fastnet.dependencies import Graph, Overrides, Resolution, Way, dependencies_of
from fastnet.params import Dependency, Marker
from fastnet.signatures import HandlerError, kind_of, locate, name_of, return_annotation
from fastnet_ext.serve.plan import BodyArgument, CallPlan, DependentPlan, TextArgument

__all__ = ["Description", "HandlerError", "ParameterInfo", "build_plan", "locate"]


@dataclass(frozen=True, slots=True)
class ParameterInfo:
    """One value that a request brings, for the documentation. `default` is MISSING when it is required."""

    name: str
    alias: str  # the name on the wire
    location: Literal["path", "query", "header", "cookie", "body"]
    annotation: Any
    required: bool
    default: Any
    marker: Marker | None


@dataclass(frozen=True, slots=True)
class Description:
    """What is known of a handler after its plan was built."""

    function: Callable[..., Any]
    name: str
    location: str  # file:line
    doc: str | None
    parameters: tuple[ParameterInfo, ...]  # of its dependencies too
    returns: Any  # MISSING when it is not annotated
    # How an endpoint calls the plan: it returns a coroutine, or the result at once, or it may block.
    mode: Literal["async", "inline", "thread"]
    # Whether the endpoint waits for the body ("whole"), or somebody reads it while the handler runs ("late").
    body: Literal["none", "whole", "late"]

    @property
    def streams(self) -> bool:
        """Whether the handler is a generator, asynchronous or not."""
        return kind_of(self.function) in ("asyncgen", "gen")


def build_plan(
    function: Callable[..., Any],
    path_params: Sequence[str] = (),
    *,
    methods: Iterable[str] = ("GET",),
    dependencies: Sequence[Any] = (),
    providers: Mapping[type, Provider] | None = None,
    given: int = 0,
    inline: bool = False,
    overrides: Overrides | None = None,
    dec_hook: Callable[[type, Any], Any] | None = None,
) -> tuple[CallPlan, Description]:
    """The plan that calls a handler, and what the documentation says of it.

    ``path_params``: the names in its path, in order. ``dependencies``: run before it, their values
    dropped (of its route and routers). ``providers``: what makes the Argument for a parameter of a
    type, beside Request, Call and State. ``given``: how many of its first parameters the protocol
    supplies (``call_with``). ``inline``: a ``def`` handler never blocks. ``overrides``: a
    mapping from dependency to replacement, looked at for each request, so tests may fill it later.

    Raises HandlerError: the message names the handler, its file and line, the parameter and the remedy.
    """
    if not callable(function):
        raise TypeError(f"a handler is a callable, not {function!r}")
    context = Context(tuple(path_params), tuple(methods), providers or {}, dec_hook)
    extra = dependencies_of(dependencies)

    def resolve(chosen: Overrides) -> Resolution:
        return Resolution(*_resolved(function, context, extra, given, inline, chosen), resolve)

    base = Resolution(*_resolved(function, context, extra, given, inline, {}), resolve)
    if overrides is not None:
        base.overrides = overrides
    plan = base.handler
    if base.count:
        plan = DependentPlan(
            plan.function,
            plan.arguments,
            plan.positional,
            run=base.start,
            needs_body=base.needs_body,
            takes_request=base.takes_request,
        )
    return plan, _describe(function, base, plan)


def _resolved(
    function: Callable[..., Any],
    context: Context,
    dependencies: Sequence[Dependency],
    given: int,
    inline: bool,
    overrides: Overrides,
) -> tuple[Graph, CallPlan, Way]:
    """The steps before a handler, the plan of its own call, and what is to be done with what that returns."""
    graph = Graph(context, given=given, overrides=overrides)
    for each in dependencies:
        if each.dependency is None:
            raise HandlerError(function, "Depends() in dependencies=[...] wants a callable")
        graph.add(each.dependency, use_cache=each.use_cache, inline=each.inline)
    arguments, positional = graph.arguments(function, given=given)
    kind = kind_of(function)
    way: Way = "await" if kind == "async" else "thread" if kind == "sync" and not inline else "value"
    return graph, CallPlan(function, arguments, positional), way


def _describe(function: Callable[..., Any], resolution: Resolution, plan: CallPlan) -> Description:
    infos: dict[tuple[str, str], ParameterInfo] = {}
    for _, parameter, argument in resolution.taken:
        if isinstance(argument, (TextArgument, BodyArgument)):
            infos.setdefault(
                (argument.location, argument.alias),
                ParameterInfo(
                    parameter.name,
                    argument.alias,
                    cast(Any, argument.location),
                    parameter.annotation,
                    argument.required,
                    argument.default,
                    cast("Marker | None", parameter.marker),
                ),
            )
    dependent = isinstance(plan, DependentPlan)
    mode: Literal["async", "inline", "thread"] = "async"
    if not dependent:
        mode = "async" if resolution.way == "await" else "thread" if resolution.way == "thread" else "inline"
    body: Literal["none", "whole", "late"] = "none"
    if plan.needs_body or plan.takes_request:
        body = "whole" if plan.needs_body and not dependent else "late"
    return Description(
        function,
        name_of(function),
        locate(function),
        getattr(function, "__doc__", None),
        tuple(infos.values()),
        return_annotation(function),
        mode,
        body,
    )
