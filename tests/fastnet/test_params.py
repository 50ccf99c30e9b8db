import pytest

from fastnet.params import Body, Cookie, Dependency, Depends, Header, Marker, Path, Query
from fastnet_ext.serve.plan import MISSING


def test_markers_say_where_a_value_comes_from() -> None:
    assert Path() == Marker("path")
    assert Query("q") == Query(alias="q") == Marker("query", "q")
    assert Header("x-token") == Marker("header", "x-token")
    assert Cookie("session", default=None) == Marker("cookie", "session", default=None)
    assert Body(media_type="text/csv") == Marker("body", media_type="text/csv")
    assert Query().default is MISSING


def test_constraints_are_kept_apart_from_what_is_for_the_documentation() -> None:
    marker = Query(ge=1, max_length=3, description="how many", examples=[1], deprecated=True)
    assert marker.constraints == {"ge": 1, "max_length": 3}
    assert (marker.description, marker.examples, marker.deprecated) == ("how many", [1], True)


def test_unknown_options_are_refused() -> None:
    with pytest.raises(TypeError, match="minimum"):
        Query(minimum=1)  # type: ignore[call-arg]


def test_dependencies() -> None:
    assert Depends(len) == Dependency(len, use_cache=True, inline=False)
    assert Depends(use_cache=False, inline=True) == Dependency(None, use_cache=False, inline=True)
