"""The composition root: what it opens and binds."""

import resource
import signal
import socket
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from isocenter import server as server_module
from isocenter.config.configuration import Configuration
from isocenter.errors import ConfigurationError, StorageUnavailableError
from isocenter.index.sqlite import SQLiteDatabase
from isocenter.server import (
    End,
    Endpoints,
    Server,
    bind_sockets,
    open_database,
    open_storage,
)
from isocenter.storage.filesystem import FileSystemStorage
from isocenter.storage.journaled import JournaledStorage


def configure(folder: Path, **options: object) -> Configuration:
    values: dict[str, object] = {
        "StorageDirectory": str(folder),
        "IndexDirectory": str(folder),
        "TemporaryDirectory": str(folder),
        "HttpBindAddresses": ["127.0.0.1"],
        "HttpPort": 0,
        "DicomPort": 0,
    }
    named = {name.replace("__", "."): value for name, value in options.items()}
    return Configuration.defaults().with_values({**values, **named})


@contextmanager
def closed_afterwards(sockets: list[socket.socket]) -> Iterator[list[socket.socket]]:
    try:
        yield sockets
    finally:
        for bound in sockets:
            bound.close()


def test_addresses_share_the_port_that_the_system_chose() -> None:
    with closed_afterwards(bind_sockets(("127.0.0.1", "127.0.0.2"), 0, option="HttpPort")) as bound:
        ports = {one.getsockname()[1] for one in bound}
        assert len(bound) == 2
        assert len(ports) == 1


def test_address_that_the_machine_lacks_is_left_out() -> None:
    # 192.0.2.1 is kept for examples and belongs to nobody (RFC 5737).
    with closed_afterwards(bind_sockets(("192.0.2.1", "127.0.0.1"), 0, option="HttpPort")) as bound:
        assert [one.getsockname()[0] for one in bound] == ["127.0.0.1"]


def test_no_address_at_all_is_a_wrong_configuration() -> None:
    with pytest.raises(ConfigurationError, match=r"192\.0\.2\.1"):
        bind_sockets(("192.0.2.1",), 0, option="HttpPort")


def test_port_that_is_taken_names_the_option_and_frees_the_others() -> None:
    with closing(socket.create_server(("127.0.0.2", 0))) as listener:
        port = listener.getsockname()[1]
        with pytest.raises(ConfigurationError, match=f"port {port}.*Set HttpPort"):
            bind_sockets(("127.0.0.1", "127.0.0.2"), port, option="HttpPort")
        socket.create_server(("127.0.0.1", port)).close()


def test_index_is_sqlite_unless_postgresql_is_asked_for(tmp_path: Path) -> None:
    with closing(open_database(configure(tmp_path))) as database:
        assert isinstance(database, SQLiteDatabase)
    assert (tmp_path / "index").exists()


@pytest.mark.parametrize(
    ("options", "kind"),
    [
        ({}, JournaledStorage),
        ({"SyncStorageArea": False}, FileSystemStorage),
        ({"Isocenter__JournalSizeMB": 0}, FileSystemStorage),
    ],
)
def test_storage_has_a_journal_where_durability_needs_one(
    tmp_path: Path, options: dict[str, object], kind: type
) -> None:
    configuration = configure(tmp_path, **options)
    with (
        closing(open_database(configuration)) as database,
        closing(open_storage(configuration, database)) as storage,
    ):
        assert type(storage) is kind


def test_storage_that_cannot_be_opened_names_option_and_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    configuration = configure(tmp_path, StorageDirectory=str(tmp_path / "file" / "below"))
    with (
        closing(open_database(configuration)) as database,
        pytest.raises(StorageUnavailableError, match=r'"StorageDirectory": .*file/below'),
    ):
        open_storage(configuration, database)


@pytest.mark.parametrize(
    ("ends", "outcome"),
    [
        ([End.STOPPED], End.STOPPED),
        ([End.RESTART], End.RESTART),
        ([End.RESTART, End.RESTART], End.RESTART),
        ([End.RESTART, End.STOPPED], End.STOPPED),
        ([End.STOPPED, End.RESTART], End.STOPPED),
    ],
)
async def test_server_tells_why_it_ended_and_stopping_wins(
    tmp_path: Path, ends: list[End], outcome: End
) -> None:
    server = Server(configure(tmp_path, SyncStorageArea=False))
    listening: list[Endpoints] = []

    def end(endpoints: Endpoints) -> None:
        listening.append(endpoints)
        for one in ends:
            server.end(one)

    before = signal.getsignal(signal.SIGHUP)
    try:
        assert await server.run(end) is outcome
    finally:
        signal.signal(signal.SIGHUP, before)
    assert listening[0].http is not None
    assert listening[0].dicom is not None


async def test_server_that_is_not_running_may_be_asked_to_end(tmp_path: Path) -> None:
    Server(configure(tmp_path)).end(End.STOPPED)


async def test_part_that_does_not_start_stops_the_others(tmp_path: Path) -> None:
    with closing(socket.create_server(("", 0))) as listener:
        port = listener.getsockname()[1]
        server = Server(configure(tmp_path, SyncStorageArea=False, DicomPort=port))
        with pytest.raises(ConfigurationError, match="DicomPort"):
            await server.run(lambda _: None)
    # The index is free again.
    open_database(configure(tmp_path)).close()


@pytest.mark.parametrize(
    ("limits", "taken"),
    [
        ((1024, 4096), [(4096, 4096)]),
        ((1024, resource.RLIM_INFINITY), [(16384, resource.RLIM_INFINITY)]),
        ((20_000, 100_000), []),
        ((resource.RLIM_INFINITY, resource.RLIM_INFINITY), []),
    ],
)
def test_server_takes_the_open_files_that_it_is_granted(
    monkeypatch: pytest.MonkeyPatch, limits: tuple[int, int], taken: list[tuple[int, int]]
) -> None:
    asked: list[tuple[int, int]] = []
    monkeypatch.setattr(resource, "getrlimit", lambda _: limits)
    monkeypatch.setattr(resource, "setrlimit", lambda _, wanted: asked.append(wanted))
    server_module._allow_open_files()
    assert asked == taken
