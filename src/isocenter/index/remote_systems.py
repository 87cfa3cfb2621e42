"""Remote systems that clients keep in the database."""

from enum import Enum

from isocenter.index.port import Transaction

__all__ = ["RemoteSystems", "delete_remote", "list_remotes", "lookup_remote", "set_remote"]


class RemoteSystems(Enum):
    """Their kinds, each with a table of its own; the value ends the names of its statements."""

    MODALITIES = "remote_modality"
    PEERS = "remote_peer"


def list_remotes(tx: Transaction, systems: RemoteSystems) -> dict[str, str]:
    """Read all of a kind: symbolic name to JSON document, in the order of names."""
    rows = tx.rows(f"list_{systems.value}")
    return {str(name): str(document) for name, document in rows}


def lookup_remote(tx: Transaction, systems: RemoteSystems, name: str) -> str | None:
    """Read the JSON document of one, or ``None`` if there is none."""
    if "\0" in name:
        return None
    row = tx.row(f"lookup_{systems.value}", {"name": name})
    return None if row is None else str(row[0])


def set_remote(tx: Transaction, systems: RemoteSystems, name: str, document: str) -> None:
    """Create or replace one."""
    tx.run(f"set_{systems.value}", {"name": name, "document": document})


def delete_remote(tx: Transaction, systems: RemoteSystems, name: str) -> None:
    """Forget one; it is no error if there is none."""
    tx.run(f"delete_{systems.value}", {"name": name})
