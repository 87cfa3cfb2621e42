-- Searches themselves are written by sql_builder.py.

-- name: list_public_ids_of
SELECT internal_id, public_id FROM resources WHERE internal_id IN :internal_ids[bigint];

-- A resource that was stored before a tag became a main tag; the key is MainDicomTagsSignature.
-- name: find_outdated
SELECT 1 FROM resources
WHERE level = :level AND COALESCE(metadata$as_json ->> '15', '') NOT LIKE :pattern LIMIT 1;
