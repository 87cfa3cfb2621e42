"""Servers that we call by HTTP: peers with this REST API.

Read `connection` (one connection to one server), `client` (some at once, and what answers mean),
then `trust` (whom to believe) and `loading`. httpx and httpcore stay in this package, and are not
imported before the first call: who has no peers needs neither the time nor the memory that they
take.
"""
