import pytest

from fastnet_ext.routing.paths import MAX_PARAMS, MAX_SEGMENTS, RouteSyntaxError, Segment, param_names, parse_path


def test_a_path_is_split_at_slashes() -> None:
    assert parse_path("/users/{id}/files/{rest:path}") == (
        Segment("static", b"users"),
        Segment("param", name="id"),
        Segment("static", b"files"),
        Segment("tail", name="rest"),
    )


def test_a_trailing_slash_is_an_empty_segment() -> None:
    assert parse_path("/") == (Segment("static", b""),)
    assert parse_path("/a/") == (Segment("static", b"a"), Segment("static", b""))


def test_literal_text_is_decoded_once() -> None:
    assert parse_path("/a b") == parse_path("/a%20b") == (Segment("static", b"a b"),)
    assert parse_path("/caf\u00e9") == parse_path("/caf%C3%A9")
    assert parse_path("/100%") == (Segment("static", b"100%"),)
    assert parse_path("/a%2Fb") == (Segment("static", b"a/b"),)


def test_text_may_stand_around_a_parameter() -> None:
    assert parse_path("/@{user}") == (Segment("param", b"@", b"", "user"),)
    assert parse_path("/v1/{name}:cancel")[1] == Segment("param", b"", b":cancel", "name")


def test_names_are_in_the_path_s_order() -> None:
    assert param_names("/{b}/x/{a}/{c:path}") == ("b", "a", "c")


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("", "start with a slash"),
        ("users", "start with a slash"),
        ("/a//b", "two slashes"),
        ("/a?b=c", "query"),
        ("/a#b", "fragment"),
        ("/a\nb", "control"),
        ("/{id", "unbalanced"),
        ("/id}", "unbalanced"),
        ("/{a}}", "unbalanced"),
        ("/{}", "identifier"),
        ("/{1a}", "identifier"),
        ("/{a-b}", "identifier"),
        ("/{a}{b}", "two parameters"),
        ("/{a},{b}", "two parameters"),
        ("/{id:int}", "annotation"),
        ("/{id:}", "annotation"),
        ("/{rest:path}/x", "last segment"),
        ("/x{rest:path}", "last segment"),
        ("/{a}/{a}", "twice"),
        ("/" + "a" * 256, "255 bytes"),
        ("/a" * (MAX_SEGMENTS + 1), "segments"),
        ("".join(f"/{{p{i}}}" for i in range(MAX_PARAMS + 1)), "parameters"),
    ],
)
def test_what_cannot_be_a_path_is_refused(path: str, reason: str) -> None:
    with pytest.raises(RouteSyntaxError, match=reason) as caught:
        parse_path(path)
    assert caught.value.path == path
    assert repr(path) in str(caught.value)
