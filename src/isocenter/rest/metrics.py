"""Metrics, and whether they are collected."""

from falcon.asgi import Request, Response

from isocenter.http.answers import answer_nothing, answer_text
from isocenter.http.arguments import read_boolean
from isocenter.http.routes import Permission, Route
from isocenter.rest.bodies import BOOLEAN
from isocenter.rest.services import Services

__all__ = ["ROUTES", "get_metrics", "get_metrics_enabled", "set_metrics_enabled"]


async def get_metrics(services: Services, _: Request, resp: Response) -> None:
    """Orthanc REST: GET /tools/metrics-prometheus."""
    resp.content_type = services.metrics.media_type
    resp.data = await services.metrics.format()


async def get_metrics_enabled(services: Services, _: Request, resp: Response) -> None:
    """Orthanc REST: GET /tools/metrics."""
    answer_text(resp, "1" if services.metrics.is_enabled else "0")


async def set_metrics_enabled(services: Services, req: Request, resp: Response) -> None:
    """Orthanc REST: PUT /tools/metrics."""
    services.metrics.is_enabled = await read_boolean(req)
    answer_nothing(resp)


ROUTES = (
    Route(
        "GET",
        "/tools/metrics-prometheus",
        get_metrics,
        "Metrics in Prometheus' format; nothing if they are not collected",
        "tools",
        answer="text/plain",
    ),
    Route(
        "GET",
        "/tools/metrics",
        get_metrics_enabled,
        "Tell whether metrics are collected: 1 or 0",
        "tools",
        answer="text/plain",
    ),
    Route(
        "PUT",
        "/tools/metrics",
        set_metrics_enabled,
        "Collect metrics or not, until the next start",
        "tools",
        permission=Permission.ADMINISTER,
        body="text/plain",
        body_schema=BOOLEAN,
        answer="text/plain",
        statuses=(200, 400, 413),
    ),
)
