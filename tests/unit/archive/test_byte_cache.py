from concurrent.futures import ThreadPoolExecutor

from isocenter.archive.byte_cache import ByteCache, CacheStatistics


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


def test_cache_counts_what_it_finds_and_what_not() -> None:
    cache: ByteCache[str] = ByteCache(80)

    cache.lookup("a")
    cache.add("a", b"1234567890")
    cache.add("b", b"12345")
    cache.lookup("a")
    cache.clear()
    cache.lookup("b")

    assert cache.get_statistics() == CacheStatistics(
        count=0, size_bytes=0, largest_size_bytes=15, capacity_bytes=80, hits=1, misses=2
    )


def test_cache_tells_whether_a_value_would_be_kept() -> None:
    cache: ByteCache[str] = ByteCache(80)

    assert cache.has_room_for(10)
    assert not cache.has_room_for(11)


def test_cache_of_several_threads_stays_consistent() -> None:
    cache: ByteCache[int] = ByteCache(8000)

    def work(seed: int) -> None:
        for number in range(2000):
            key = (seed * 7 + number) % 300
            if cache.lookup(key) is None:
                cache.add(key, bytes(key))

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(work, range(4)))

    statistics = cache.get_statistics()
    kept = [value for key in range(300) if (value := cache.lookup(key)) is not None]
    assert statistics.count == len(kept)
    assert statistics.size_bytes == sum(map(len, kept)) <= 8000
    assert statistics.hits + statistics.misses == 8000
