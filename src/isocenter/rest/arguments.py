"""Query arguments that several subjects share."""

from isocenter.http.routes import Argument

__all__ = ["EXPAND", "IGNORE_LENGTH", "PAGE", "SHAPES", "WHOLE"]

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
IGNORE_LENGTH = Argument(
    "ignore-length", "text", "Tags, separated by commas, whose values are never cut."
)
WHOLE = Argument("whole", "flag", "Go on after the pixel data.")
