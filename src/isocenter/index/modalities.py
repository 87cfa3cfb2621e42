"""Remote modalities that clients keep in the database."""

from isocenter.index.port import Transaction

__all__ = ["delete_modality", "list_modalities", "set_modality"]


def list_modalities(tx: Transaction) -> dict[str, str]:
    """Read all modalities: symbolic name to JSON document, in the order of names."""
    return {str(name): str(document) for name, document in tx.rows("list_remote_modalities")}


def set_modality(tx: Transaction, name: str, document: str) -> None:
    """Create or replace a modality."""
    tx.run("set_remote_modality", {"name": name, "document": document})


def delete_modality(tx: Transaction, name: str) -> None:
    """Forget a modality; it is no error if there is none."""
    tx.run("delete_remote_modality", {"name": name})
