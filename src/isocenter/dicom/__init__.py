"""The standard as pure functions: no input or output, no state, no other part of the server.

Reading order: ``levels.py``, ``identifiers.py``, ``uids.py`` (what names a resource);
``dictionary.py`` with the generated ``data_elements.tsv``, ``tags.py``, ``main_tags.py`` (what
names a data element, and which ones the index keeps); ``transfer_syntaxes.py``,
``sop_classes.py``; ``elements.py``, ``file_meta.py``, ``deflate.py`` (how bytes are split into data
elements); ``character_sets.py``, ``values.py`` (what a value says); ``json_forms.py`` (what clients
see of a file) and ``reader.py`` (what storing needs of a file). ``build_dictionary.py`` generates
the tables and is the only module that imports pydicom. May import ``config`` and ``errors``.
"""
