from isocenter.archive.byte_cache import ByteCache


def test_lookup_added_value_finds_it() -> None:
    cache: ByteCache[str] = ByteCache(80)

    cache.add("a", b"12345")

    assert cache.lookup("a") == b"12345"
    assert cache.lookup("b") is None
    assert cache.size_bytes == 5


def test_add_over_capacity_drops_least_recently_used() -> None:
    cache: ByteCache[int] = ByteCache(80)
    for key in range(8):
        cache.add(key, bytes(10))
    cache.lookup(0)

    cache.add(8, bytes(10))

    assert cache.lookup(1) is None
    assert cache.lookup(0) is not None
    assert cache.size_bytes == 80


def test_add_same_key_replaces_and_counts_once() -> None:
    cache: ByteCache[str] = ByteCache(80)
    cache.add("a", bytes(10))

    cache.add("a", bytes(4))

    assert cache.lookup("a") == bytes(4)
    assert cache.size_bytes == 4


def test_add_too_large_value_is_not_kept() -> None:
    cache: ByteCache[str] = ByteCache(80)
    cache.add("small", bytes(10))

    cache.add("large", bytes(11))

    assert cache.lookup("large") is None
    assert cache.lookup("small") is not None


def test_add_without_capacity_keeps_nothing() -> None:
    cache: ByteCache[str] = ByteCache(0)

    cache.add("a", b"1")

    assert cache.lookup("a") is None
    assert cache.size_bytes == 0


def test_add_empty_value_is_kept() -> None:
    cache: ByteCache[str] = ByteCache(80)

    cache.add("a", b"")

    assert cache.lookup("a") == b""
