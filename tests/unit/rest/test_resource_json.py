"""Resources as JSON objects, without a database."""
