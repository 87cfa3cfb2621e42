"""Entity tags: what a client has already, and what it wants to change.

References
----------
RFC 9110 §8.8.3, §13.1; Orthanc REST: revisions (behaviour manual §13)
"""

import re

from isocenter.errors import BadParameterError
from isocenter.http.exchange import Request, Response

__all__ = ["get_expected_tag", "has_entity_tag", "is_unchanged", "set_entity_tag"]

# Number and MD5 sum, which without ``StoreMD5ForAttachments`` is empty or another text.
_FORM = re.compile(r'(?P<quote>"?)(?P<tag>[0-9]{1,19}-[!#-~]{0,200})(?P=quote)')


def get_expected_tag(req: Request) -> str | None:
    """Read the header ``If-Match``, whose quotes are optional.

    Returns
    -------
    str or None
        The entity tag without quotes; ``None`` if there is no such header.

    Raises
    ------
    BadParameterError
        If it is not one entity tag.
    """
    header = req.get_header("If-Match")
    if header is None:
        return None
    match = _FORM.fullmatch(header.strip())
    if match is None:
        message = 'the header "If-Match" must hold an entity tag: revision, hyphen, MD5 sum'
        raise BadParameterError(message)
    return match["tag"]


def set_entity_tag(resp: Response, tag: str) -> None:
    """Set the header ``ETag``; the tag comes without quotes."""
    resp.set_header("ETag", f'"{tag}"')


def is_unchanged(req: Request, resp: Response, tag: str) -> bool:
    """Set the header ``ETag``, and the status 304 if the client has that version already.

    Parameters
    ----------
    tag
        The entity tag of the present version, without quotes.
    """
    set_entity_tag(resp, tag)
    if not has_entity_tag(req.get_header("If-None-Match"), tag):
        return False
    resp.status = 304
    return True


def has_entity_tag(header: str | None, tag: str) -> bool:
    """Tell whether a list of entity tags has one, weak or not, with or without quotes.

    Parameters
    ----------
    tag
        Without quotes.
    """
    if header is None:
        return False
    parts = (part.strip().removeprefix("W/") for part in header.split(","))
    return any(part in {f'"{tag}"', tag, "*"} for part in parts)
