"""Pixels: from the bytes of images to samples.

Read ``images.py``, then ``png.py``. Everything here blocks and belongs into worker threads. The
codecs are those of imagecodecs, imported here only and by the first call, since most servers decode
nothing; images are measured before they are decoded. May import ``errors`` only.
"""
