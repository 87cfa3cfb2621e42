"""What the administrator may set: one table of options, how it is read, and its documentation.

Reading order: ``values`` (the kinds of values), ``remote_modalities`` (the one nested form with a
record of its own), ``shapes`` (kinds of the other nested options), ``option`` (one row),
``core_options``, ``http_options``, ``dicom_options``, ``own_options``, ``backend_options`` and
``plugin_options`` (the rows), ``options`` (the table), ``configuration`` (typed, immutable access),
``source`` (JSON with comments and variables), ``environment`` (options from environment variables),
``loading`` (files, checks, warnings), ``documentation`` (what ``docs/`` and ``isocenter config``
show).

May import only ``isocenter.errors`` and the standard library.
"""
