import functools
from collections.abc import AsyncIterator, Iterator
from typing import Annotated, Any

import msgspec
import pytest

from fastnet.handlers import Description, HandlerError, build_plan
from fastnet.params import Body, Depends, Header, Query
from fastnet_ext.exchange.memory import MemoryExchange
from fastnet_ext.exchange.request import Call, Request
from fastnet_ext.serve.errors import RequestValidationError
from fastnet_ext.serve.plan import MISSING, AppArgument, CallPlan, DependentPlan


class User(msgspec.Struct):
    name: Annotated[str, msgspec.Meta(min_length=1)]
    age: Annotated[int, msgspec.Meta(ge=0)] = 0


async def read_user(id: int, verbose: bool = False) -> dict[str, object]:
    """Read one."""
    return {"id": id, "verbose": verbose}


def create_user(user: User, token: Annotated[str, Header("x-token")] = "") -> User:
    return user


def run(coroutine: Any) -> Any:
    """The result of a coroutine that never waits."""
    with pytest.raises(StopIteration) as stopped:
        coroutine.send(None)
    return stopped.value.value


def described(function: Any, *path_params: str, **options: Any) -> Description:
    return build_plan(function, path_params, **options)[1]


def test_the_contract_s_handlers() -> None:
    plan, _ = build_plan(read_user, ["id"])
    assert type(plan) is CallPlan
    assert plan.function is read_user
    exchange = MemoryExchange("GET", "/users/42?verbose=true", params=["42"])
    assert run(plan.invoke(exchange)) == {"id": 42, "verbose": True}
    with pytest.raises(RequestValidationError) as caught:
        plan.invoke(MemoryExchange("GET", "/users/x?verbose=perhaps", params=["x"]))
    assert [error["loc"] for error in caught.value.errors] == [["path", "id"], ["query", "verbose"]]

    plan, _ = build_plan(create_user, methods=["POST"])
    body = b'{"name": "Ann", "age": 3}'
    assert plan.invoke(MemoryExchange("POST", "/users", [(b"x-token", b"t")], body)) == User("Ann", 3)
    with pytest.raises(RequestValidationError) as caught:
        plan.invoke(MemoryExchange("POST", "/users", [], b'{"name": "", "age": -1}'))
    assert caught.value.errors == [
        {"loc": ["body", "name"], "msg": "Expected `str` of length >= 1", "type": "value_error"},
        {"loc": ["body", "age"], "msg": "Expected `int` >= 0", "type": "value_error"},
    ]


def test_what_is_known_of_a_handler() -> None:
    description = described(read_user, "id")
    assert description.function is read_user
    assert description.name == "read_user"
    assert description.location.startswith(f"{__file__}:")
    assert description.doc == "Read one."
    assert description.returns == dict[str, object]
    first, second = description.parameters
    assert (first.name, first.location, first.annotation, first.required, first.default) == (
        "id", "path", int, True, MISSING,
    )  # fmt: skip
    assert (second.alias, second.location, second.required, second.default) == ("verbose", "query", False, False)
    body, token = described(create_user, methods=["POST"]).parameters
    assert (body.location, body.annotation, body.required, body.default) == ("body", User, True, MISSING)
    assert (token.name, token.alias, token.location) == ("token", "x-token", "header")
    assert token.marker == Header("x-token")


async def stream() -> AsyncIterator[str]:
    yield "a"


def numbers() -> Iterator[int]:
    yield 1


def plain() -> None: ...


async def with_request(request: Request) -> None: ...


async def with_call(call: Call) -> None: ...


async def with_both(request: Request, user: User) -> None: ...


@pytest.mark.parametrize(
    ("function", "options", "mode", "body", "streams"),
    [
        (read_user, {}, "async", "none", False),
        (stream, {}, "inline", "none", True),
        (numbers, {}, "inline", "none", True),
        (plain, {}, "thread", "none", False),
        (plain, {"inline": True}, "inline", "none", False),
        (with_request, {}, "async", "late", False),
        (with_call, {}, "async", "none", False),
        (with_both, {"methods": ["POST"]}, "async", "whole", False),
        (create_user, {"methods": ["PUT"]}, "thread", "whole", False),
        (plain, {"dependencies": [plain]}, "async", "none", False),
        (plain, {"dependencies": [with_request]}, "async", "late", False),
        (plain, {"dependencies": [create_user], "methods": ["PUT"]}, "async", "late", False),
    ],
)
def test_how_an_endpoint_runs_it(function: Any, options: dict[str, Any], mode: str, body: str, streams: bool) -> None:
    description = described(function, **options)
    assert (description.mode, description.body, description.streams) == (mode, body, streams)


def test_only_dependencies_make_a_dependent_plan() -> None:
    async def handler(user: Annotated[User, Depends(create_user)]) -> None: ...

    assert type(build_plan(read_user, ["id"])[0]) is CallPlan
    assert type(build_plan(handler, methods=["POST"])[0]) is DependentPlan
    assert type(build_plan(read_user, ["id"], dependencies=[Depends(plain)])[0]) is DependentPlan


def test_the_parameters_of_dependencies_are_described_too() -> None:
    async def page(limit: int = 10, token: Annotated[str, Header()] = "") -> None: ...

    async def handler(id: int, page: Annotated[None, Depends(page)], limit: int = 5) -> None: ...

    found = described(handler, "id").parameters
    assert sorted((one.location, one.alias) for one in found) == [
        ("header", "token"),
        ("path", "id"),
        ("query", "limit"),
    ]


def test_the_protocol_may_supply_the_first_parameters() -> None:
    async def say_hello(request, context, name: Annotated[str, Header()] = "x"):  # type: ignore[no-untyped-def]
        return request, context, name

    plan, description = build_plan(say_hello, given=2)
    assert run(plan.invoke(MemoryExchange(), ["message", "context"])) == ("message", "context", "x")
    assert [one.name for one in description.parameters] == ["name"]

    def one_only(request):  # type: ignore[no-untyped-def]
        return request

    assert build_plan(one_only, given=2)[0].invoke(MemoryExchange(), ["message", "context"]) == "message"


def test_types_of_the_framework_are_provided() -> None:
    class App:
        pass

    def handler(app: App) -> App:
        return app

    plan, _ = build_plan(handler, providers={App: lambda name, annotation: AppArgument(name)})
    assert isinstance(plan.arguments[0], AppArgument)


def test_partials_methods_and_objects_are_handlers() -> None:
    class Service:
        def method(self, n: int) -> tuple[str, int]:
            return "method", n

        def __call__(self, n: int) -> tuple[str, int]:
            return "call", n

    exchange = MemoryExchange("GET", "/?n=5")
    for function in (Service().method, Service(), functools.partial(Service.method, Service())):
        assert build_plan(function)[0].invoke(exchange)[1] == 5


def two_bodies(first: User, second: User) -> None: ...


def two_bodies_by_marker(first: Annotated[int, Body()], second: bytes) -> None: ...


def unknown(thing: object) -> None: ...


def without_annotation(thing): ...  # type: ignore[no-untyped-def]


def variable(*things: int) -> None: ...


def no_callable(thing: Annotated[int, Depends(5)]) -> None: ...


def no_class(thing: Annotated[int | None, Depends()]) -> None: ...


@pytest.mark.parametrize(
    ("function", "remedy"),
    [
        (two_bodies, "one Struct"),
        (two_bodies_by_marker, "one Struct"),
        (unknown, "Depends"),
        (without_annotation, "annotate it"),
        (variable, "functools.wraps"),
        (no_callable, "not callable"),
        (no_class, "wants a class"),
    ],
)
def test_mistakes_name_the_handler_its_place_and_the_remedy(function: Any, remedy: str) -> None:
    with pytest.raises(HandlerError) as caught:
        build_plan(function, methods=["POST"])
    message = str(caught.value)
    assert message.startswith(f"{function.__name__} ({__file__}:{function.__code__.co_firstlineno}): ")
    assert remedy in message
    assert isinstance(caught.value, TypeError)


def test_a_body_on_get_is_refused() -> None:
    for methods in (["GET"], ["HEAD"], ["POST", "GET"]):
        with pytest.raises(HandlerError, match=r"parameter user.*another method"):
            build_plan(create_user, methods=methods)
    build_plan(create_user, methods=["DELETE"])


def test_a_mistake_in_a_dependency_names_the_dependency() -> None:
    async def handler(value: Annotated[Any, Depends(unknown)]) -> None: ...

    with pytest.raises(HandlerError, match=r"^unknown \("):
        build_plan(handler)


def test_too_many_parameters_are_refused() -> None:
    names = ", ".join(f"p{i}: int" for i in range(65))
    scope: dict[str, Any] = {}
    exec(f"def many({names}): ...", scope)
    with pytest.raises(HandlerError, match="65 parameters are too many"):
        build_plan(scope["many"])


def test_what_is_no_callable_is_refused() -> None:
    with pytest.raises(TypeError, match="a handler is a callable"):
        build_plan(5)  # type: ignore[arg-type]


def test_a_default_may_be_a_marker() -> None:
    def handler(limit: int = Query(le=5, default=1), token: str = Header("x-token")) -> tuple[int, str]:
        return limit, token

    plan, _ = build_plan(handler)
    assert plan.invoke(MemoryExchange("GET", "/", [(b"x-token", b"t")])) == (1, "t")
    with pytest.raises(RequestValidationError) as caught:
        plan.invoke(MemoryExchange("GET", "/?limit=6"))
    assert [error["loc"] for error in caught.value.errors] == [["query", "limit"], ["header", "x-token"]]
