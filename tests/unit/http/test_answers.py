"""Bodies of answers."""

import falcon.asgi
import msgspec

from isocenter.http.answers import answer_json, answer_nothing, answer_text, format_json


def test_json_is_sorted_indented_and_ends_with_a_line_break() -> None:
    document = {"b": [1, {"d": None, "c": "Ü"}], "a": {}}
    expected = """{
   "a": {},
   "b": [
      1,
      {
         "c": "Ü",
         "d": null
      }
   ]
}
"""
    assert format_json(document).decode() == expected


def test_json_takes_raw_parts_as_they_are() -> None:
    assert format_json({"a": msgspec.Raw(b'{"z":1}')}) == b'{\n   "a": {\n      "z": 1\n   }\n}\n'


def test_answers_have_the_media_types_of_orthanc() -> None:
    resp = falcon.asgi.Response()
    answer_json(resp, [])
    assert (resp.content_type, resp.data) == ("application/json; charset=utf-8", b"[]\n")
    answer_text(resp, "Ü")
    assert (resp.content_type, resp.data) == ("text/plain", "Ü".encode())
    answer_text(resp, b"\xff")
    assert resp.data == b"\xff"
    answer_nothing(resp)
    assert (resp.content_type, resp.data) == ("text/plain", b"")
