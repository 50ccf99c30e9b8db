import pytest

from fastnet_ext.routing.paths import RouteConflict
from fastnet_ext.routing.tree import build_tree, number


def test_routes_share_nodes_whatever_their_parameters_are_called() -> None:
    root = build_tree([(["GET"], "/users/{id}", 1), (["POST"], "/users/{name}", 2), (["GET"], "/users/{id}/x", 3)])
    nodes, leaves = number(root)
    assert len(nodes) == 4
    assert len(leaves) == 2
    assert [node.index for node in nodes] == list(range(4))
    assert nodes[0] is root


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("/a", "/a"),
        ("/a b", "/a%20b"),
        ("/{x}", "/{y}"),
        ("/f/{x:path}", "/f/{y:path}"),
        ("/@{x}", "/@{y}"),
        ("/{a}/b/{c}", "/{c}/b/{a}"),
    ],
)
def test_two_routes_for_the_same_requests_conflict(first: str, second: str) -> None:
    with pytest.raises(RouteConflict) as caught:
        build_tree([(["GET", "PUT"], first, 1), (["PUT"], second, 2)])
    error = caught.value
    assert (error.path, error.other, error.method) == (second, first, "PUT")
    assert repr(first) in str(error)
    assert repr(second) in str(error)


def test_different_methods_and_shapes_do_not_conflict() -> None:
    build_tree(
        [
            (["GET"], "/a", 1),
            (["POST"], "/a", 2),
            (None, "/a", 3),
            (["GET"], "/a/", 4),
            (["GET"], "/{a}", 5),
            (["GET"], "/{a:path}", 6),
            (["GET"], "/x{a}", 7),
        ]
    )


def test_methods_are_checked() -> None:
    with pytest.raises(ValueError, match="no methods"):
        build_tree([([], "/a", 1)])
    with pytest.raises(ValueError, match="not a method"):
        build_tree([(["GET POST"], "/a", 1)])


def test_a_method_may_be_named_twice() -> None:
    root = build_tree([(["GET", "GET"], "/a", 1)])
    leaf = root.static[b"a"].leaf
    assert leaf is not None
    assert leaf.values == {"GET": (1, "/a")}
