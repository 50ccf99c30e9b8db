"""Registration: nested routers, order, conflicts, what is refused and when."""

from typing import Annotated, Any

import pytest

from fastnet import App, Depends, Request, Router
from fastnet.routing import ResolvedRoute, RouteConflict, RouteSyntaxError
from tests.fastnet.serving import serving


async def handler() -> None: ...


async def another() -> None: ...


def listed(app: App | Router) -> list[tuple[tuple[str, ...], str]]:
    return [(route.methods, route.path) for route in app.routes]


def test_routers_nest_and_order_does_not_matter() -> None:
    app, outer, inner = App(), Router(prefix="/outer"), Router()
    app.include(outer, "/api/")
    inner.get("/early")(handler)
    outer.include(inner, prefix="/inner")
    inner.post("/late")(handler)
    outer.get("")(handler)
    outer.get("/")(handler)
    app.get("/")(handler)
    assert sorted(listed(app)) == sorted(
        [
            (("GET",), "/"),
            (("GET",), "/api/outer"),
            (("GET",), "/api/outer/"),
            (("GET",), "/api/outer/inner/early"),
            (("POST",), "/api/outer/inner/late"),
        ]
    )
    assert {route.name for route in app.routes} == {"handler"}
    assert all(isinstance(route, ResolvedRoute) and route.kind == "http" for route in app.routes)


def test_a_router_may_be_included_twice() -> None:
    app, router = App(), Router()
    app.include(router, "/a")
    app.include(router, "/b")
    router.get("/x", name="named")(handler)
    assert listed(app) == [(("GET",), "/a/x"), (("GET",), "/b/x")]
    assert app.routes[0].name == "named"
    with pytest.raises(RouteConflict):
        app.include(router, "/a")


def test_parameters_in_prefixes() -> None:
    app, router = App(), Router()
    app.include(router, "/orgs/{org}")

    @router.get("/users/{id}")
    async def read(org: str, id: int) -> dict[str, Any]:
        return {"org": org, "id": id}

    with serving(app) as client:
        assert client.get("/orgs/a%2Fb/users/3").json == {"org": "a/b", "id": 3}


def test_methods() -> None:
    app = App()
    app.route("/x", methods=["get", "POST", "GET"])(handler)
    assert listed(app) == [(("GET", "POST"), "/x")]
    with pytest.raises(TypeError, match="list"):
        app.route("/y", methods="GET")
    with pytest.raises(ValueError, match="at least one"):
        app.route("/y", methods=[])
    with pytest.raises(ValueError, match="no HTTP method"):
        app.route("/y", methods=["GE T"])


# --- conflicts


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("/x", "/x"),
        ("/{a}", "/{b}"),
        ("/a/{b}/c", "/a/{x}/c"),
        ("/{a:path}", "/{b:path}"),
        ("/a b", "/a%20b"),
        ("/v{a}", "/v{b}"),
    ],
)
def test_conflicts_name_both_handlers(first: str, second: str) -> None:
    app = App()
    app.get(first)(handler)
    with pytest.raises(
        RouteConflict, match=r"handler .*test_routing\.py:\d+.*another .*test_routing\.py:\d+"
    ) as caught:
        app.get(second)(another)
    assert isinstance(caught.value, ValueError)
    assert len(app.routes) == 1
    # Another method, or another place, is no conflict; and what was refused left nothing behind.
    app.post(second)(another)
    app.put(first)(another)


def test_conflicts_through_routers() -> None:
    app, outer, inner = App(), Router(), Router(prefix="/in")
    app.include(outer, "/out")
    outer.include(inner)
    app.get("/out/in/x")(handler)
    with pytest.raises(RouteConflict):
        inner.get("/x")(another)
    assert inner.routes == []
    inner.get("/y")(another)
    with pytest.raises(RouteConflict):
        app.get("/out/in/y")(handler)
    late = Router()
    late.get("/in/y")(handler)
    with pytest.raises(RouteConflict):
        outer.include(late)
    assert len(app.routes) == 2
    outer.include(late, "/late")
    assert len(app.routes) == 3


def test_what_is_more_special_is_no_conflict() -> None:
    app = App()
    for path in ("/x", "/{a}", "/{a:path}", "/x/", "/x/{b}", "/v{a}"):
        app.get(path)(handler)
    assert len(app.routes) == 6


@pytest.mark.parametrize(
    "path", ["", "x", "//x", "/x?y", "/{", "/{a}{b}", "/{a}/{a}", "/{a:int}", "/{a:path}/b", "/\n"]
)
def test_paths_that_cannot_be(path: str) -> None:
    app, router = App(), Router()
    with pytest.raises(RouteSyntaxError):
        app.get(path)(handler)
    assert app.routes == []
    if path:
        with pytest.raises(RouteSyntaxError):
            router.get(path)(handler)


def test_bad_includes() -> None:
    app, router = App(), Router()
    with pytest.raises(RouteSyntaxError):
        app.include(router, "api")
    with pytest.raises(RouteSyntaxError):
        Router(prefix="api")
    with pytest.raises(TypeError, match="Router"):
        app.include(App())  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="itself"):
        router.include(router)
    nested = Router()
    router.include(nested)
    with pytest.raises(ValueError, match="itself"):
        nested.include(router)


def test_handlers_of_routers_are_checked_when_their_path_is_whole() -> None:
    app, router = App(), Router()

    @router.get("/x")
    async def unfillable(value: object) -> None: ...

    with pytest.raises(TypeError, match="unfillable"):
        app.include(router)
    assert app.routes == []
    other = Router()
    app.include(other)
    with pytest.raises(TypeError, match="unfillable"):
        other.get("/y")(unfillable)


def test_nothing_is_registered_while_serving() -> None:
    app, router = App(), Router()
    app.include(router)
    app.build()
    with pytest.raises(RuntimeError):
        router.get("/x")(handler)
    with pytest.raises(RuntimeError):
        app.include(Router())


# --- dependencies of routes


def test_dependencies_run_from_the_app_to_the_route() -> None:
    order: list[str] = []

    def mark(name: str) -> Any:
        async def dependency() -> None:
            order.append(name)

        return Depends(dependency)

    app, outer, inner = App(dependencies=[mark("app")]), Router(dependencies=[mark("outer")]), Router()
    inner._dependencies = (mark("inner"),)
    outer.include(inner, dependencies=[mark("include inner")])
    app.include(outer, dependencies=[mark("include outer")])

    @inner.get("/x", dependencies=[mark("route")])
    async def read(request: Request, last: Annotated[None, mark("parameter")]) -> list[str]:
        return order

    with serving(app) as client:
        assert client.get("/x").json == [
            "app",
            "include outer",
            "outer",
            "include inner",
            "inner",
            "route",
            "parameter",
        ]


def test_overrides_of_dependencies() -> None:
    app = App()

    async def user() -> str:
        return "real"

    @app.get("/")
    async def read(user: Annotated[str, Depends(user)]) -> str:
        return user

    with serving(app) as client:
        assert client.get("/").text == "real"
        app.dependency_overrides[user] = lambda: "fake"
        assert client.get("/").text == "fake"
        app.dependency_overrides.clear()
        assert client.get("/").text == "real"
