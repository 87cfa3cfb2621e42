-- Searches themselves are written by sql_builder.py.

-- name: list_public_ids_of
SELECT internal_id, public_id FROM resources WHERE internal_id IN :internal_ids[bigint];
