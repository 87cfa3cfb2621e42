-- What a storage commitment must know of instances: those whose files are kept.
-- The sign keeps SQLite from the index of the level.

-- name: list_committed
SELECT i.main_tags, i.metadata FROM resources i
WHERE i.identifier IN :identifiers[text] AND +i.level = 3
  AND EXISTS (SELECT 1 FROM attachments a WHERE a.resource_id = i.internal_id AND a.content_type = 1);
