"""Pixels: from the bytes of images to samples, and files in other transfer syntaxes.

Images that clients send: ``images.py``, then ``png.py``; they are measured before they are decoded.
Transcoding: ``formats.py``, ``codecs.py`` (what there is), ``file_parts.py``, ``fragments.py``,
``transcoding.py`` (a file), ``effort.py``, ``pool.py``, ``codec_process.py``, ``worker.py``,
``frames.py`` (a frame, in a process of its own). Everything here blocks and belongs into worker
threads. The codecs are those of imagecodecs, imported here only and by the first call, since most
servers decode nothing. May import ``dicom`` and ``errors``.
"""
