"""The page that shows the API: in a real browser against a real server, and by its text."""

import re
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path

import pytest
from tests.support.browser import Page, find_chromium, open_browser
from tests.support.dicom_files import build_instance
from tests.support.orthanc import Server, run_isocenter
from tests.support.requirements import miss

from isocenter.rest.table import ROUTES

MARKUP = "<img src=x onerror=document.title=1>"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    options = {"Name": MARKUP}
    with run_isocenter(tmp_path_factory.mktemp("page") / "server", options) as running:
        answer = running.upload(build_instance({0x00100010: ("PN", MARKUP)}))
        assert answer.status == 200
        yield running


@pytest.fixture(scope="module")
def page(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    program = find_chromium()
    if program is None:
        miss("chromium", "the program chromium is not installed")
    with open_browser(program, tmp_path_factory.mktemp("chromium")) as opened:
        opened.open(f"http://127.0.0.1:{server.http_port}/api.html")
        opened.wait_for("document.querySelectorAll('.route').length")
        opened.wait_for("document.querySelectorAll('#counts dd').length")
        yield opened


def test_page_text_names_no_other_host() -> None:
    text = (files("isocenter.rest") / "api.html").read_text(encoding="utf-8")
    addresses = set(re.findall(r"(?:https?:)?//[\w.-]+\.\w+", text))
    assert addresses == {"http://www.w3.org"}  # the namespace of the icon


def test_page_text_never_writes_markup() -> None:
    text = (files("isocenter.rest") / "api.html").read_text(encoding="utf-8")
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(", text)


def test_page_opened_lists_every_route(page: Page) -> None:
    shown = page.evaluate(
        "[...document.querySelectorAll('.route')].map((route) =>"
        " ['.method', '.path'].map((name) => route.querySelector(name).textContent).join(' '))"
    )
    assert sorted(shown) == sorted(f"{route.method} {route.path}" for route in ROUTES)
    assert page.problems == []


def test_page_search_leaves_matching_routes(page: Page) -> None:
    page.evaluate(
        "document.getElementById('search').value = 'counts study';"
        "document.getElementById('search').dispatchEvent(new Event('input'))"
    )
    visible = page.evaluate(
        "[...document.querySelectorAll('.route')].filter((route) => !route.hidden)"
        ".map((route) => route.id)"
    )
    page.evaluate(
        "document.getElementById('search').value = '';"
        "document.getElementById('search').dispatchEvent(new Event('input'))"
    )
    assert visible == ["get_studies_public_id_statistics"]


def test_page_tried_route_shows_answer_as_text(page: Page) -> None:
    page.evaluate("document.getElementById('get_patients').open = true")
    page.wait_for("document.querySelector('#get_patients form')")
    page.evaluate(
        "document.getElementById('get_patients-expand').value = 'true';"
        "document.querySelector('#get_patients form').requestSubmit()"
    )
    answer = "document.querySelector('#get_patients .answer')"
    text = page.wait_for(f"!{answer}.hidden && {answer}.textContent")
    assert "200 OK" in text
    assert f'"PatientName": "{MARKUP}"' in text
    assert page.evaluate("document.getElementById('title').textContent") == MARKUP
    assert page.evaluate("document.images.length") == 0
    assert page.problems == []


def test_page_uploaded_file_is_stored(page: Page, server: Server, tmp_path: Path) -> None:
    path = tmp_path / "new.dcm"
    path.write_bytes(build_instance({0x00080018: ("UI", "1.2.3.4.5.6.7")}))
    page.evaluate("document.getElementById('post_instances').open = true")
    page.wait_for("document.querySelector('#post_instances form')")
    document = page.send("DOM.getDocument")["root"]["nodeId"]
    node = page.send(
        "DOM.querySelector", nodeId=document, selector="#post_instances input[type=file]"
    )
    page.send("DOM.setFileInputFiles", nodeId=node["nodeId"], files=[str(path)])
    page.evaluate("document.querySelector('#post_instances form').requestSubmit()")
    answer = "document.querySelector('#post_instances .answer')"
    text = page.wait_for(f"!{answer}.hidden && {answer}.textContent")
    assert '"Status": "Success"' in text
    assert server.request("GET", "/statistics").json()["CountInstances"] == 2
