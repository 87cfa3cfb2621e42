"""What is read without the parser is what the parser reads."""

import httptools
from hypothesis import example, given
from hypothesis import strategies as st

from isocenter.http.plain_reads import parse_plain_read

_TOKENS = st.text("aZ09-_!#x", min_size=1, max_size=8).map(str.encode)
_NAMES = _TOKENS | st.sampled_from(
    [b"Host", b"Connection", b"Content-Length", b"a b", b"", b"\xff"]
)
_VALUES = st.binary(max_size=12) | st.sampled_from(
    [b" keep-alive", b"close", b"\tx \t", b"a\r\n b"]
)
_TARGETS = st.sampled_from(
    [b"/", b"/a?b=c", b"*", b"//x", b"/%41", b"/a b", b"/\x7f", b"http://h/"]
)
_ENDS = st.sampled_from([b"\r\n", b"\n", b"\r", b"\r\n\r\n"])


@st.composite
def _requests(draw: st.DrawFn) -> bytes:
    lines = [draw(st.sampled_from([b"GET ", b"get ", b"HEAD "])) + draw(_TARGETS) + b" HTTP/1.1"]
    lines += [b":".join(pair) for pair in draw(st.lists(st.tuples(_NAMES, _VALUES), max_size=4))]
    end = draw(_ENDS)
    return end.join([*lines, b"", draw(st.just(b"") | st.binary(max_size=4))])


class _Heard:
    """What the parser tells."""

    def __init__(self) -> None:
        self.url = b""
        self.headers: list[tuple[bytes, bytes]] = []
        self.requests = 0

    def on_url(self, url: bytes) -> None:
        self.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name.lower(), value))

    def on_message_complete(self) -> None:
        self.requests += 1


@given(_requests())
@example(b"GET / HTTP/1.1\r\nHost: h\r\nX:\t y \r\n\r\n")
@example(b"GET / HTTP/1.1\r\n\r\n")
def test_plain_request_is_read_as_the_parser_reads_it(data: bytes) -> None:
    plain = parse_plain_read(data)
    if plain is None:
        return
    target, headers = plain
    if headers.keys() & {b"content-length", b"transfer-encoding", b"upgrade"}:
        # Those that read it leave such a request to the parser.
        return
    heard = _Heard()
    parser = httptools.HttpRequestParser(heard)
    parser.feed_data(data)
    assert heard.requests == 1
    assert parser.get_method() == b"GET"
    assert parser.should_keep_alive()
    assert heard.url == target
    # The parser leaves blanks at the end of a value.
    assert {name: value.strip(b" \t") for name, value in heard.headers} == headers
