"""The libraries of calls, imported ahead of the first one: that takes far longer than a call."""

from functools import cache

__all__ = ["load_libraries"]


@cache
def load_libraries() -> None:
    """Import what a call needs; blocks for some 150 ms the first time.

    References
    ----------
    Decision 0021
    """
    import anyio  # noqa: PLC0415 - see the package
    import httpcore  # noqa: F401, PLC0415 - see the package
    import httpx  # noqa: F401, PLC0415 - see the package

    # It imports most of itself with its first use of an event loop, or of a name.
    _ = anyio.connect_tcp
    anyio.run(anyio.sleep, 0)
