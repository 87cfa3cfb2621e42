"""The API's own description, and the page to browse it."""

from functools import lru_cache
from importlib.resources import files

from falcon.asgi import Request, Response

from isocenter.http.answers import JSON
from isocenter.http.routes import Route
from isocenter.rest.services import Services

__all__ = ["ROUTES", "get_icon", "get_openapi", "get_page", "redirect_to_page"]

_ICON = (
    b"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 34 34' fill='none' stroke='#2f7ed8'"
    b" stroke-width='3'><circle cx='17' cy='17' r='11'/>"
    b"<path d='M17 1v9M17 24v9M1 17h9M24 17h9'/></svg>"
)


async def get_openapi(services: Services, _: Request, resp: Response) -> None:
    """Answer the description of all routes."""
    resp.content_type = JSON
    resp.data = services.openapi


async def get_page(_: Services, __: Request, resp: Response) -> None:
    """Answer the page that shows the description and tries the routes."""
    resp.content_type = "text/html; charset=utf-8"
    resp.set_header(
        "Content-Security-Policy",
        "default-src 'self'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; "
        "img-src data:; "
        "frame-ancestors 'none'",
    )
    resp.data = _read_page()


async def get_icon(_: Services, __: Request, resp: Response) -> None:
    """Orthanc REST: GET /favicon.ico; browsers ask for it beside every answer that is no page."""
    resp.content_type = "image/svg+xml"
    resp.data = _ICON


async def redirect_to_page(_: Services, __: Request, resp: Response) -> None:
    """Orthanc REST: GET /; relative, so that it works behind any proxy (behaviour manual §2.1)."""
    resp.status = 307
    resp.set_header("Location", "api.html")
    resp.content_type = "text/plain"
    resp.data = b""


@lru_cache(maxsize=1)
def _read_page() -> bytes:
    return (files(__package__) / "api.html").read_bytes()


ROUTES = (
    Route(
        "GET",
        "/",
        redirect_to_page,
        "Redirect to the page for people",
        "system",
        answer="text/plain",
        statuses=(307,),
    ),
    Route("GET", "/openapi.json", get_openapi, "This description", "system"),
    Route(
        "GET",
        "/api.html",
        get_page,
        "Browse and try the API",
        "system",
        answer="text/html",
    ),
    Route(
        "GET",
        "/favicon.ico",
        get_icon,
        "The icon that browsers show",
        "system",
        answer="image/svg+xml",
    ),
)
