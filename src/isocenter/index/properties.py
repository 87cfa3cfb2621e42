"""Settings and counters that outlive a restart and are shared by the servers of one archive."""

from isocenter.index.port import Transaction

__all__ = ["advance_counter"]


def advance_counter(tx: Transaction, name: str) -> int:
    """Take the next number of a counter, from 1; no number is given twice."""
    # The row of the archive orders the writers of all servers, also for a first number.
    tx.row("lock_archive")
    row = tx.row("lookup_property", {"name": name})
    number = 1 if row is None else int(row[0]) + 1
    tx.run("set_property", {"name": name, "value": str(number)})
    return number
