"""Routes of Orthanc that this version does not serve, so that a client is told why.

An entry goes when its route comes into the table of routes.
"""

from collections.abc import Mapping

__all__ = ["UNSERVED"]

_IMAGES = "images are not decoded by this version; the file itself is at /instances/{id}/file"
_INSTANCE = "/instances/{public_id}"
_FORMS = (
    "preview",
    "rendered",
    "image-uint8",
    "image-uint16",
    "image-int16",
    "matlab",
    "numpy",
)


def _with_all_below(*roots: str, reason: str) -> dict[str, str]:
    return {path: reason for root in roots for path in (root, f"{root}/{{path}}")}


UNSERVED: Mapping[str, str] = {
    **dict.fromkeys((f"{_INSTANCE}/{form}" for form in _FORMS), _IMAGES),
    "/series/{public_id}/numpy": _IMAGES,
    **_with_all_below(f"{_INSTANCE}/frames", reason=_IMAGES),
    **_with_all_below("/dicom-web", "/wado", reason="this version does not speak DICOMweb"),
    **_with_all_below("/transfers", reason="there are no accelerated transfers in this version"),
    **_with_all_below("/webdav", reason="there is no WebDAV in this version"),
    **_with_all_below("/app", "/ui", reason="there is no explorer yet; the API is at /api.html"),
    **_with_all_below("/auth", reason="there are no permissions by token or role in this version"),
    "/tools/execute-script": "there is no Lua in this version",
}
"""Path templates as in a `Route`, and what to tell those who ask for them."""
