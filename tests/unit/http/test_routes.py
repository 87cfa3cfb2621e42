"""The table of routes as a tree of names."""

from isocenter.http.routes import Route, list_children, list_directories


async def respond() -> None:
    """Answer nothing; never called."""


def build_routes(*routes: str) -> list[Route]:
    """Build routes from methods and paths."""
    split = [route.split(" ") for route in routes]
    return [Route(method, path, respond, "Summary", "area") for method, path in split]


def test_directory_is_a_prefix_that_cannot_be_read() -> None:
    routes = build_routes("GET /a", "GET /a/{id}/b", "POST /c/d/e", "GET /c/d/f", "GET /g")
    assert list_directories(routes) == ["/a/{id}", "/c", "/c/d"]


def test_path_that_only_takes_other_methods_is_no_directory_but_may_be_a_prefix() -> None:
    routes = build_routes("POST /a", "DELETE /a/b", "GET /a/b/c")
    assert list_directories(routes) == ["/a", "/a/b"]


def test_children_are_the_next_names_without_templates() -> None:
    routes = build_routes("GET /a/z", "GET /a/b/c", "GET /a/b/d", "GET /a/{id}/x", "GET /ab/q")
    assert list_children(routes, "/a") == ["b", "z"]
    assert list_children(routes, "/a/{id}") == ["x"]
    assert list_children(routes, "/") == ["a", "ab"]
    assert list_children(routes, "/nowhere") == []
