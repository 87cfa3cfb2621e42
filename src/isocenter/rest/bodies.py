"""Schemas of bodies that several subjects share (JSON Schema 2020-12)."""

__all__ = ["BOOLEAN"]

BOOLEAN = {"type": "string", "enum": ["0", "1", "false", "true"]}
