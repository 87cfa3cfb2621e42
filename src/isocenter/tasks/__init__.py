"""The kinds of jobs, and the engine that runs them on the archive.

`engine` puts the engine together; each other module is one kind. May import `archive`, `jobs` and
what lies below.
"""
