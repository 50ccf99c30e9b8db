import gc
import random
import weakref
from urllib.parse import quote, unquote_to_bytes

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fastnet_ext.routing.paths import RouteConflict, RouteSyntaxError, Segment, parse_path
from fastnet_ext.routing.table import Match, RoutingTable

Routes = list[tuple[list[str] | None, str, object]]


def table(*paths: str, methods: tuple[str, ...] = ("GET",)) -> RoutingTable:
    """Each path with itself as its value."""
    return RoutingTable([(methods, path, path) for path in paths])


def found(value: object, *params: bytes) -> Match:
    return Match("found", value, params)


NOT_FOUND = Match("not_found", None, ())
REDIRECT = Match("slash_redirect", None, ())
NOT_ALLOWED = Match("method_not_allowed", None, ())


def test_an_empty_table_finds_nothing() -> None:
    empty = RoutingTable([])
    assert empty.match_path("GET", "/") == NOT_FOUND
    assert empty.allowed(b"/") == ()


@pytest.mark.parametrize("path", ["", "*", "users", "example.com:443"])
def test_what_is_no_path_finds_nothing(path: str) -> None:
    assert table("/", "/{rest:path}").match_path("GET", path) == NOT_FOUND


def test_static_paths() -> None:
    routes = table("/", "/users", "/users/me", "/users/me/friends")
    for path in ("/", "/users", "/users/me", "/users/me/friends"):
        assert routes.match_path("GET", path) == found(path)
    assert routes.match_path("GET", "/user") == NOT_FOUND
    assert routes.match_path("GET", "/userss") == NOT_FOUND
    assert routes.match_path("GET", "/users/you") == NOT_FOUND


def test_parameters_are_raw_and_never_empty() -> None:
    routes = table("/users/{id}", "/a/{x}/b/{y}")
    assert routes.match_path("GET", "/users/42") == found("/users/{id}", b"42")
    assert routes.match_path("GET", "/users/a%2Fb%20c") == found("/users/{id}", b"a%2Fb%20c")
    assert routes.match_path("GET", "/a/1/b/2") == found("/a/{x}/b/{y}", b"1", b"2")
    assert routes.match_path("GET", "/users/") == NOT_FOUND
    assert routes.match_path("GET", "/a//b/2") == NOT_FOUND


def test_a_tail_takes_the_rest_even_when_that_is_empty() -> None:
    routes = table("/files/{path:path}")
    assert routes.match_path("GET", "/files/a/b%2Fc//d/") == found("/files/{path:path}", b"a/b%2Fc//d/")
    assert routes.match_path("GET", "/files/") == found("/files/{path:path}", b"")
    assert routes.match_path("GET", "/files") == REDIRECT


def test_static_wins_over_affixed_over_parameter_over_tail() -> None:
    routes = table("/x/{rest:path}", "/x/{id}", "/x/v{id}", "/x/v{id}.json", "/x/v1")
    assert routes.match_path("GET", "/x/v1") == found("/x/v1")
    assert routes.match_path("GET", "/x/v2.json") == found("/x/v{id}.json", b"2")
    assert routes.match_path("GET", "/x/v2") == found("/x/v{id}", b"2")
    assert routes.match_path("GET", "/x/w") == found("/x/{id}", b"w")
    assert routes.match_path("GET", "/x/w/z") == found("/x/{rest:path}", b"w/z")


def test_a_choice_that_leads_nowhere_is_taken_back() -> None:
    routes = table("/a/b/c", "/{x}/b/d", "/{x}/{y}/e", "/{rest:path}")
    assert routes.match_path("GET", "/a/b/c") == found("/a/b/c")
    assert routes.match_path("GET", "/a/b/d") == found("/{x}/b/d", b"a")
    assert routes.match_path("GET", "/a/b/e") == found("/{x}/{y}/e", b"a", b"b")
    assert routes.match_path("GET", "/a/b/f") == found("/{rest:path}", b"a/b/f")


def test_text_around_a_parameter() -> None:
    routes = table("/@{user}", "/{name}.json", "/ops/{name}:cancel", "/caf\u00e9-{id}-\u00e9")
    assert routes.match_path("GET", "/@ann") == found("/@{user}", b"ann")
    assert routes.match_path("GET", "/%40ann") == found("/@{user}", b"ann")
    assert routes.match_path("GET", "/data.json") == found("/{name}.json", b"data")
    assert routes.match_path("GET", "/d%2e%6Aata%2Ejs%6fn") == found("/{name}.json", b"d%2e%6Aata")
    assert routes.match_path("GET", "/ops/7:cancel") == found("/ops/{name}:cancel", b"7")
    assert routes.match_path("GET", "/caf%C3%A9-%20-%c3%a9") == found("/caf\u00e9-{id}-\u00e9", b"%20")
    # Nothing is left for the parameter.
    assert routes.match_path("GET", "/@") == NOT_FOUND
    assert routes.match_path("GET", "/.json") == NOT_FOUND
    assert routes.match_path("GET", "/%40") == NOT_FOUND


def test_literal_text_is_compared_decoded() -> None:
    routes = table("/a b", "/caf\u00e9/x", "/a%2Fb")
    assert routes.match_path("GET", "/a%20b") == found("/a b")
    assert routes.match_path("GET", "/%61%20%62") == found("/a b")
    assert routes.match_path("GET", "/caf%C3%A9/x") == found("/caf\u00e9/x")
    assert routes.match_path("GET", "/a%2fb") == found("/a%2Fb")
    assert routes.match_path("GET", "/a/b") == NOT_FOUND


@pytest.mark.parametrize("path", ["/%", "/%4", "/%zz", "/a%2", "/%C3%"])
def test_malformed_escapes_match_no_literal_but_any_parameter(path: str) -> None:
    assert table("/a", "/%", "/x{id}").match_path("GET", path) == NOT_FOUND
    assert table("/{id}").match_path("GET", path) == found("/{id}", path[1:].encode())


def test_a_segment_longer_than_any_literal_is_not_decoded() -> None:
    assert table("/" + "a" * 255).match_path("GET", "/" + "%61" * 255).kind == "found"
    assert table("/" + "a" * 255).match_path("GET", "/" + "%61" * 256) == NOT_FOUND


def test_one_slash_more_or_less_redirects() -> None:
    routes = table("/a", "/b/", "/u/{id}", "/w/{id}/")
    assert routes.match_path("GET", "/a/") == REDIRECT
    assert routes.match_path("GET", "/b") == REDIRECT
    assert routes.match_path("GET", "/u/1/") == REDIRECT
    assert routes.match_path("GET", "/w/1") == REDIRECT
    assert routes.match_path("GET", "/a//") == NOT_FOUND
    assert routes.match_path("GET", "/u/") == NOT_FOUND
    # Only where the other path answers the method.
    assert routes.match_path("POST", "/a/") == NOT_FOUND


def test_methods_of_one_path_live_together() -> None:
    routes = RoutingTable([(["GET", "PUT"], "/a/{x}", 1), (["POST"], "/a/{y}", 2)])
    assert routes.match_path("GET", "/a/b") == found(1, b"b")
    assert routes.match_path("PUT", "/a/b") == found(1, b"b")
    assert routes.match_path("POST", "/a/b") == found(2, b"b")
    assert routes.match_path("DELETE", "/a/b") == NOT_ALLOWED
    assert routes.allowed(b"/a/b") == ("GET", "HEAD", "POST", "PUT", "OPTIONS")


def test_head_is_get_unless_it_has_its_own() -> None:
    routes = RoutingTable([(["GET"], "/a", 1), (["GET"], "/b", 2), (["HEAD"], "/b", 3), (["POST"], "/c", 4)])
    assert routes.match_path("HEAD", "/a") == found(1)
    assert routes.match_path("HEAD", "/b") == found(3)
    assert routes.match_path("HEAD", "/c") == NOT_ALLOWED


def test_a_path_without_the_method_is_passed_over() -> None:
    routes = RoutingTable([(["GET"], "/users/me", 1), (["POST", "GET"], "/users/{id}", 2), (["PUT"], "/{r:path}", 3)])
    assert routes.match_path("GET", "/users/me") == found(1)
    assert routes.match_path("POST", "/users/me") == found(2, b"me")
    assert routes.match_path("PUT", "/users/me") == found(3, b"users/me")
    assert routes.match_path("PATCH", "/users/me") == NOT_ALLOWED
    assert routes.allowed(b"/users/me") == ("GET", "HEAD", "POST", "PUT", "OPTIONS")


def test_other_methods_are_known_by_name() -> None:
    routes = RoutingTable([(["PURGE"], "/a", 1), (["PURGER", "get"], "/a", 2)])
    assert routes.match_path("PURGE", "/a") == found(1)
    assert routes.match_path("PURGER", "/a") == found(2)
    assert routes.match_path("get", "/a") == found(2)
    assert routes.match_path("GET", "/a") == NOT_ALLOWED
    assert routes.match_path("PURG", "/a") == NOT_ALLOWED
    assert routes.allowed(b"/a") == ("PURGE", "PURGER", "get", "OPTIONS")


def test_a_route_for_every_method_yields_to_those_that_name_one() -> None:
    routes = RoutingTable([(None, "/a", "every"), (["POST"], "/a", "post")])
    for method in ("GET", "HEAD", "DELETE", "CONNECT", "PROPFIND"):
        assert routes.match_path(method, "/a") == found("every")
    assert routes.match_path("POST", "/a") == found("post")


def test_mistakes_are_raised() -> None:
    with pytest.raises(RouteConflict):
        table("/a", "/a")
    with pytest.raises(RouteSyntaxError):
        table("/{")


def test_a_table_is_frozen() -> None:
    routes = table("/a")
    with pytest.raises(TypeError, match="frozen"):
        routes.__init__([])
    assert routes.match_path("GET", "/a") == found("/a")


class Value:
    """Something that can be referred to weakly."""


def test_values_live_as_long_as_the_table() -> None:
    value = Value()
    reference = weakref.ref(value)
    routes = RoutingTable([(["GET"], "/a", value)])
    del value
    gc.collect()
    assert routes.match_path("GET", "/a").value is reference()
    del routes
    gc.collect()
    assert reference() is None


def test_thousands_of_routes_are_all_found() -> None:
    paths = [f"/api/v{i % 7}/resource{i}/{{id}}" for i in range(3000)] + [f"/static/file{i}.css" for i in range(2000)]
    routes = table(*paths)
    for path in paths:
        expected = (b"9",) if "{id}" in path else ()
        assert routes.match_path("GET", path.replace("{id}", "9")) == found(path, *expected)


def test_the_longest_path_and_the_most_parameters() -> None:
    deep = "/a" * 64
    wide = "".join(f"/{{p{i}}}" for i in range(16))
    routes = table(deep, wide + "/end", wide[: wide.rindex("/")] + "/{rest:path}")
    assert routes.match_path("GET", deep).value == deep
    values = [b"v%d" % i for i in range(16)]
    assert routes.match_path("GET", "/" + b"/".join(values).decode() + "/end") == found(wide + "/end", *values)
    assert len(routes.match_path("GET", "/" + b"/".join(values).decode() + "/no").params) == 16


# --- against a router that tries every route


def ranked(segments: tuple[Segment, ...], path: str) -> tuple[tuple[object, ...], tuple[bytes, ...]] | None:
    """How good a match is, segment by segment, and its parameters; None when it is none."""
    rank: list[object] = []
    params: list[bytes] = []
    rest = path[1:].split("/")
    for index, segment in enumerate(segments):
        if index >= len(rest):
            return None
        if segment.kind == "tail":
            return (*rank, (3,)), (*params, "/".join(rest[index:]).encode())
        raw = rest[index].encode()
        text = unquote_to_bytes(raw)
        if segment.kind == "static":
            if text != segment.text:
                return None
            rank.append((0,))
            continue
        around = len(segment.text) + len(segment.suffix)
        if len(text) <= around or not text.startswith(segment.text) or not text.endswith(segment.suffix):
            return None
        rank.append((1, -around, segment.text, segment.suffix) if around else (2,))
        # The pool's escapes are all of one octet in the parameter or none: cut from both ends, decoded.
        start = 0
        while len(unquote_to_bytes(raw[:start])) < len(segment.text) or raw[start - 1 : start] == b"%":
            start += 3 if raw[start : start + 1] == b"%" else 1
        end = len(raw)
        while len(unquote_to_bytes(raw[end:])) < len(segment.suffix):
            end -= 3 if raw[end - 3 : end - 2] == b"%" else 1
        params.append(raw[start:end])
    return (tuple(rank), tuple(params)) if len(rest) == len(segments) else None


def oracle(routes: Routes, method: str, path: str) -> Match:
    matches = []
    for methods, registered, value in routes:
        best = ranked(parse_path(registered), path)
        if best is not None:
            names = ["*"] if methods is None else methods
            wanted = [method, "GET", "*"] if method == "HEAD" else [method, "*"]
            answers = [wanted.index(name) for name in names if name in wanted]
            matches.append((best[0], min(answers, default=9), best[1], value))
    able = [match for match in matches if match[1] != 9]
    if not able:
        return NOT_ALLOWED if matches else NOT_FOUND
    best_match = min(able, key=lambda match: match[:2])
    return Match("found", best_match[3], best_match[2])


PARTS = ["a", "b", "ab", "{p}", "a{p}", "{p}b", "a{p}b", "%20"]
REQUEST_PARTS = ["a", "b", "ab", "aab", "acb", "", "%61", "%61%62", "a%63b", " ", "%20", "x%2Fy", "aaaaaaaab"]


@st.composite
def registered_paths(draw: st.DrawFn) -> str:
    parts = draw(st.lists(st.sampled_from(PARTS), min_size=1, max_size=4))
    parts = [part.replace("{p}", f"{{p{index}}}") for index, part in enumerate(parts)]
    ending = draw(st.sampled_from(["", "", "/", "/{rest:path}"]))
    return "/" + "/".join(parts) + ending


METHODS = st.one_of(st.none(), st.lists(st.sampled_from(["GET", "POST", "HEAD", "PURGE"]), min_size=1, max_size=2))


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.tuples(METHODS, registered_paths()), max_size=12),
    st.lists(st.sampled_from(REQUEST_PARTS), min_size=1, max_size=5),
    st.sampled_from(["GET", "HEAD", "POST", "PURGE", "DELETE"]),
)
@example([(["GET"], "/a{p0}/b"), (["GET"], "/{p0}/{rest:path}")], ["aab", "x%2Fy"], "GET")
def test_it_agrees_with_trying_every_route(
    candidates: list[tuple[list[str] | None, str]], parts: list[str], method: str
) -> None:
    routes: Routes = []
    for index, (methods, path) in enumerate(candidates):
        try:
            RoutingTable([*routes, (methods, path, index)])
        except RouteConflict:
            continue
        routes.append((methods, path, index))
    path = "/" + "/".join(parts)
    expected = oracle(routes, method, path)
    actual = RoutingTable(routes).match_path(method, path)
    if expected == NOT_FOUND:
        other = path[:-1] if path.endswith("/") else path + "/"
        redirects = len(path) > 1 and oracle(routes, method, other).kind == "found"
        expected = REDIRECT if redirects else NOT_FOUND
    assert actual == expected


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=80), st.sampled_from(["GET", "X"]))
def test_any_bytes_are_a_path_or_none(tail: bytes, method: str) -> None:
    routes = table("/a", "/{id}", "/x{id}y", "/f/{rest:path}", "/a b/{id}")
    match = routes.match_path(method, b"/" + tail)
    for param in match.params:
        assert param in tail


@settings(max_examples=100, deadline=None)
@given(st.text(min_size=1, max_size=30).filter(lambda text: not set(text) & set("{}%?#/") and text.isprintable()))
def test_any_text_is_found_quoted_and_as_it_is(text: str) -> None:
    routes = table("/x/" + text, "/x/{other}/y")
    assert routes.match_path("GET", "/x/" + quote(text, safe="")).value == "/x/" + text
    assert routes.match_path("GET", "/x/" + text).value == "/x/" + text


def test_every_alternative_is_tried_once_at_most() -> None:
    """A tree in which each level branches twice, and a path that fails at its very end."""
    depth = 12
    paths = ["/" + "/".join(("a" if bits >> level & 1 else f"{{p{level}}}") for level in range(depth)) + "/end"
             for bits in range(2**depth)]  # fmt: skip
    random.Random(1).shuffle(paths)
    routes = table(*paths)
    assert routes.match_path("GET", "/a" * depth + "/no") == NOT_FOUND
    assert routes.match_path("GET", "/a" * depth + "/end").params == ()
    assert len(routes.match_path("GET", "/b" * depth + "/end").params) == depth
