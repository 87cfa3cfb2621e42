"""DICOM services that we call at remote modalities, one file for each service class.

Files: ``echo.py`` (C-ECHO), ``store.py`` (C-STORE). May import ``dimse`` and ``errors``.
"""
