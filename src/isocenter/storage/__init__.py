"""The bytes: one port, several places to keep blobs.

Reading order: ``port.py`` (what a storage must offer), ``names.py`` (which names are allowed),
``failures.py`` (what the operating system's errors mean), ``temporary.py`` (a file that has no name
of its own yet), ``filesystem.py`` (the storage folder), ``memory.py`` (for tests), ``spool.py``
(content on its way in) and ``compression.py`` (the stored form of compressed blobs). May import
``clock``, ``config`` and ``errors``.
"""
