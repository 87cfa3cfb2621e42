"""The database of resources: schema, migrations and named SQL, on SQLite and PostgreSQL.

Reading order: ``sql/0001_resources.sql`` (the schema and why it has this shape), ``port.py`` (what
a database must offer), ``records.py`` (what goes in and comes out), ``reading.py`` and
``writing.py`` (the statements in use), ``group_commit.py`` (many instances, one transaction), then
the two databases: ``sqlite.py`` and ``postgresql.py``. May import ``dicom.levels``, ``config`` and
``errors``; apsw and psycopg are imported nowhere else.
"""
