"""Door: Orthanc's REST API.

Reading order: ``table.py`` (every route), ``services.py`` (what a responder is given), then one
file per area: ``resources.py`` with ``resource_json.py``, ``instances.py``, ``uploads.py``,
``changes.py``, ``system.py``, ``tools.py``. Responders translate between HTTP and ``archive``,
nothing else. May import ``http``, ``archive`` and what lies below, except ``index`` drivers and
``storage``.
"""
