"""The standard as pure functions: no input or output, no state, no other part of the server.

Reading order: ``levels.py``, ``identifiers.py``, ``uids.py`` (what names a resource), ``tags.py``
with the generated ``_dictionary.py`` (what names a data element), ``transfer_syntaxes.py``,
``sop_classes.py``, ``character_sets.py``, then ``elements.py`` (how bytes are split into data
elements), ``file_meta.py``, ``reader.py`` (what storing needs of a file), ``values.py``,
``json_forms.py`` (what clients see of a file), and ``main_tags.py`` (what the index keeps). May
import ``config``, ``errors`` and, in modules off the hot path, pydicom.
"""
