"""Servers that we call by HTTP: peers with this REST API.

Read `client` (one connection to one server, with its limits), then `trust` (whom to believe)
and `loading`.
httpx stays in this package, and is not imported before the first call: who has no peers needs
neither the time nor the memory that it takes.
"""
