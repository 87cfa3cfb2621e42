"""Use cases on what is stored: one way in, one way to each kind of answer.

Reading order: ``received.py`` (what a door hands over and gets back), ``ingest.py`` (the one
pipeline), ``description.py`` (from a file to rows), ``unpacking.py`` (ZIP and gzip), ``browse.py``
and ``content.py`` (reading), ``changes.py``, ``deletion.py``, ``stability.py``,
``reconciliation.py`` (storage against index), ``workers.py`` and ``periodic.py`` (where blocking
work runs), ``archive.py`` (all of them together, as doors see them). May import ``index``,
``storage``, ``dicom``, ``config`` and ``errors``; never a door.
"""
