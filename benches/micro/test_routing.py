"""Finding a route: many searches per call, so that the calls from Python do not count."""

from typing import Any

import pytest

from fastnet_ext.routing.table import RoutingTable

SEARCHES = 1000

FEW = ["/", "/users", "/users/{id}", "/users/me", "/report", "/files/{rest:path}", "/v1/{name}:cancel"]
MANY = [f"/api/v{i % 7}/thing{i}/{{id}}" for i in range(5000)] + [f"/static/file{i}.css" for i in range(5000)]


def table(*groups: list[str]) -> RoutingTable:
    return RoutingTable([(["GET"], path, path) for group in groups for path in group])


@pytest.mark.parametrize("routes", ["few", "thousands"])
@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/", "found"),
        ("/users/42", "found"),
        ("/users/4%322", "found"),
        ("/files/css/site/main.css", "found"),
        ("/v1/operation-17:cancel", "found"),
        ("/users/42/", "slash_redirect"),
        ("/nothing/here", "not_found"),
    ],
)
def test_search(benchmark: Any, routes: str, path: str, kind: str) -> None:
    searched = table(FEW, MANY) if routes == "thousands" else table(FEW)
    benchmark.extra_info["items"] = SEARCHES
    benchmark(searched.search_repeatedly, "GET", path.encode(), SEARCHES)
    assert searched.match_path("GET", path).kind == kind


def test_search_among_thousands_of_siblings(benchmark: Any) -> None:
    searched = table(FEW, MANY)
    benchmark.extra_info["items"] = SEARCHES
    benchmark(searched.search_repeatedly, "GET", b"/api/v3/thing10/abc", SEARCHES)
    assert searched.match_path("GET", "/api/v3/thing10/abc").value == "/api/v3/thing10/{id}"


def test_build_thousands(benchmark: Any) -> None:
    benchmark.extra_info["items"] = len(FEW) + len(MANY)
    benchmark.pedantic(table, (FEW, MANY), rounds=3)
