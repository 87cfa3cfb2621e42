"""Where the data sets of C-STORE requests go."""

import tracemalloc

from tests.unit.archive.parts import Parts

from isocenter.archive.incoming import StoreSink


def build(parts: Parts, *, largest_body: int = 0) -> StoreSink:
    return StoreSink(parts.new_uploads(largest_body=largest_body), parts.workers)


def read(sink: StoreSink) -> bytes:
    sink.finish()
    return b"".join(sink.content.iter_chunks())


def test_fragments_of_any_size_keep_their_order(parts: Parts) -> None:
    sizes = [1, 0, 5000, 2, 4095, 4096, 0, 20_000, 3]
    fragments = [bytes([index]) * size for index, size in enumerate(sizes)]
    sink = build(parts)
    for fragment in fragments:
        sink.write(memoryview(fragment))
    assert read(sink) == b"".join(fragments)
    sink.close()


def test_small_fragments_take_no_more_memory_than_their_bytes(parts: Parts) -> None:
    sink = build(parts)
    tracemalloc.start()
    try:
        for _ in range(50_000):
            sink.write(b"")
            sink.write(memoryview(b"x"))
        used, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert used < 150_000
    assert len(read(sink)) == 50_000
    sink.close()


def test_data_set_that_is_too_long_is_dropped(parts: Parts) -> None:
    sink = build(parts, largest_body=10_000)
    sink.write(bytes(10_000))
    states = [sink.is_too_long]
    for _ in range(3):
        sink.write(b"x")
        states.append(sink.is_too_long)
    assert states == [False, True, True, True]
    assert not sink.is_saturated
    sink.close()
