"""Door: the DICOM services that we provide, one file per service class.

Reading order: ``server.py`` (the listener), ``dispatcher.py`` (associations and requests),
``permissions.py`` (who may do what), ``supported.py`` (what is negotiated), then the services:
``verification.py``, ``storage.py``. May import ``archive``, ``dimse``, ``dicom``, ``config`` and
``errors``; never another door, ``index`` or ``storage``.
"""
