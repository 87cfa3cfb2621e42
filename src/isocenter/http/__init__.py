"""What the HTTP doors share: routes, application, authentication, errors, bodies, OpenAPI.

Reading order: ``routes.py`` (the record behind routing, permissions and documentation),
``application.py`` (from a table of routes to a Falcon application), ``access.py`` (who may call),
``error_answers.py``, ``arguments.py``, ``bodies.py``, ``answers.py``, ``files.py`` (ranges, entity
tags), ``metrics.py``, ``openapi.py`` with its page, ``server.py`` (uvicorn). May import ``archive``
and what lies below it; falcon and uvicorn are imported here and in the HTTP doors only.
"""
