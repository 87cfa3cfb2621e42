"""Isocenter: a DICOM server with Orthanc's REST API.

Start reading at ``server.py`` (what a running server is made of), then ``archive`` (what happens
to an instance). The layers, from the top: ``cli``, ``server``, the doors (``rest``, ``scp``),
``http``, ``archive``, the data packages (``index``, ``storage``), ``dimse``, ``dicom``, ``config``,
``errors``. Dependencies point down only; see ``docs/architecture.md``.
"""
