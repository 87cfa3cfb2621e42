"""Which tests have to wait for routes that this version does not serve yet."""

import pytest

from isocenter.rest.table import ROUTES

__all__ = ["needs"]


def needs(*starts: str) -> pytest.MarkDecorator:
    """Skip a test unless there are routes whose paths begin so."""
    missing = [
        start for start in starts if not any(route.path.startswith(start) for route in ROUTES)
    ]
    return pytest.mark.skipif(bool(missing), reason=f"not served yet: {', '.join(missing)}")
