"""What may wait for a disk or a database happens in worker threads, never on the event loop."""

import threading
from collections.abc import Callable
from typing import Any

import pytest
from tests.support.dicom_files import encode_element
from tests.support.server import build_synthetic
from tests.unit.rest.api import Api

from isocenter.index.sqlite import SQLiteDatabase
from isocenter.storage.memory import MemoryStorage

pytestmark = pytest.mark.asyncio(loop_scope="module")
BLOCKING = [
    (MemoryStorage, "write"),
    (MemoryStorage, "write_many"),
    (MemoryStorage, "read"),
    (MemoryStorage, "open_reader"),
    (MemoryStorage, "open_writer"),
    (MemoryStorage, "remove"),
    (SQLiteDatabase, "write"),
    (SQLiteDatabase, "read"),
]


def record(
    function: Callable[..., Any], name: str, called: list[tuple[str, threading.Thread]]
) -> Callable[..., Any]:
    """Wrap a function so that each call notes its thread."""

    def call(*arguments: Any, **keywords: Any) -> Any:
        called.append((name, threading.current_thread()))
        return function(*arguments, **keywords)

    return call


async def test_blocking_calls_are_made_by_worker_threads(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    called: list[tuple[str, threading.Thread]] = []
    for owner, name in BLOCKING:
        label = f"{owner.__name__}.{name}"
        monkeypatch.setattr(owner, name, record(getattr(owner, name), label, called))

    # One that is answered from memory, and one that is too large for that.
    small = await api.store()
    large = await api.store(
        build_synthetic(tail=encode_element(0x7FE00010, "OW", bytes(5_000_000)))
    )
    for file in (small, large):
        assert (await api.get(f"/instances/{file.instance}/file")).content == file.content
        for name in ("tags", "simplified-tags", "statistics", "header", "module", "content"):
            await api.get_json(f"/instances/{file.instance}/{name}")
        await api.get(f"/instances/{file.instance}/content/7fe0-0010/0")
        await api.get(
            f"/instances/{file.instance}/file", headers={"Accept": "application/dicom+json"}
        )
        for name in ("shared-tags", "instances-tags", "module-patient"):
            await api.get_json(f"/studies/{file.study}/{name}")
        for path in file.paths.values():
            await api.get_json(path)
    for target in ("/patients", "/instances?expand", "/changes?type=NewStudy", "/statistics"):
        await api.get_json(target)
    await api.request("DELETE", "/changes")
    await api.request("DELETE", small.paths["patients"])

    names = {name for name, _ in called}
    assert {"SQLiteDatabase.write", "MemoryStorage.open_reader"} <= names
    on_the_loop = {name for name, thread in called if thread is threading.current_thread()}
    assert on_the_loop == set()
