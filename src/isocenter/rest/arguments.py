"""Query arguments that several subjects share."""

from isocenter.archive.transcoding import Target, check_quality, check_target
from isocenter.dicom.json_forms import Shape
from isocenter.http.arguments import get_flag, get_natural
from isocenter.http.exchange import Request
from isocenter.http.routes import Argument

__all__ = [
    "EXPAND",
    "IGNORE_LENGTH",
    "PAGE",
    "REQUESTED_TAGS",
    "RESPONSE_CONTENT",
    "SHAPES",
    "TRANSCODE_ARGUMENTS",
    "WHOLE",
    "get_shape",
    "read_target",
]

SHAPES = (
    Argument("simplify", "flag", "Name the tags instead of numbering them."),
    Argument("short", "flag", "Number the tags, values only."),
    Argument("full", "flag", "Number the tags, with name, type and value."),
)
PAGE = (
    Argument("since", "integer", "Skip that many resources; needs `limit`."),
    Argument("limit", "integer", "Answer that many resources at most, 0 for all; needs `since`."),
)
EXPAND = Argument("expand", "flag", "Answer objects instead of identifiers.")
REQUESTED_TAGS = (
    Argument("requested-tags", "text", "Tags, separated by semicolons, to add as `RequestedTags`."),
    Argument("requestedTags", "text", "Older spelling of `requested-tags`."),
)
RESPONSE_CONTENT = Argument(
    "response-content",
    "text",
    "Parts of the objects, separated by semicolons: `MainDicomTags`, `RequestedTags`, `Metadata`, "
    "`Status`, `Parent`, `Children`, `Labels`, `Attachments`, `IsStable`, `IsProtected`.",
)
IGNORE_LENGTH = Argument(
    "ignore-length", "text", "Tags, separated by commas, whose values are never cut."
)
WHOLE = Argument("whole", "flag", "Go on after the pixel data.")

TRANSCODE_ARGUMENTS = (
    Argument("transcode", "text", "UID of a transfer syntax to bring files into."),
    Argument(
        "lossy-quality", "integer", "From 1 to 100, if that loses something; see the configuration."
    ),
)


def read_target(req: Request) -> Target | None:
    """Read the arguments ``transcode`` and ``lossy-quality``; ``None`` without the first.

    Raises
    ------
    BadParameterError, ParameterTypeError
        If it is no known transfer syntax, or the quality is none.
    """
    quality = get_natural(req, "lossy-quality")
    if quality is not None:
        check_quality(quality)
    uid = req.params.get("transcode")
    if uid is None:
        return None
    return Target(check_target(uid if isinstance(uid, str) else uid[-1]), quality)


def get_shape(req: Request, default: Shape = Shape.HUMAN) -> Shape:
    """Read the arguments ``simplify``, ``short`` and ``full``; the first of them wins.

    References
    ----------
    Orthanc REST: three shapes (behaviour manual §5.1)
    """
    for name, shape in (("simplify", Shape.HUMAN), ("short", Shape.SHORT), ("full", Shape.FULL)):
        if name in req.params and get_flag(req, name):
            return shape
    return default
