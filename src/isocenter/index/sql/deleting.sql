-- name: list_lineages
SELECT r.level, r.internal_id, r.public_id, p.level, p.internal_id, p.public_id,
       g.level, g.internal_id, g.public_id, t.level, t.internal_id, t.public_id
FROM resources r
LEFT JOIN resources p ON p.internal_id = r.parent_id
LEFT JOIN resources g ON g.internal_id = p.parent_id
LEFT JOIN resources t ON t.internal_id = g.parent_id
WHERE r.level IN (0, 1, 2, 3) AND r.public_id IN :public_ids[text];

-- Which of some resources keep a child if others are deleted.
-- name: list_survivors
SELECT p.internal_id FROM resources p WHERE p.internal_id IN :parent_ids[bigint] AND EXISTS
    (SELECT 1 FROM resources c
     WHERE c.parent_id = p.internal_id AND c.internal_id NOT IN :doomed[bigint]);

-- name: measure_trees
WITH RECURSIVE below (root, internal_id, level) AS (
    SELECT internal_id, internal_id, level FROM resources WHERE internal_id IN :roots[bigint]
    UNION ALL
    SELECT b.root, r.internal_id, r.level FROM below b JOIN resources r ON r.parent_id = b.internal_id
)
SELECT b.root, b.level, COUNT(*),
       COALESCE(SUM((SELECT SUM(a.compressed_size) FROM attachments a
                     WHERE a.resource_id = b.internal_id)), 0),
       COALESCE(SUM((SELECT SUM(a.uncompressed_size) FROM attachments a
                     WHERE a.resource_id = b.internal_id)), 0)
FROM below b GROUP BY b.root, b.level;

-- The attachments are looked up one by one: neither database can tell how few they are, and both would
-- read the whole table. The same holds for the sums above.
-- name: insert_removals_below
INSERT INTO removals (attachment_uuid)
WITH RECURSIVE below (internal_id) AS (
    SELECT internal_id FROM resources WHERE internal_id IN :roots[bigint]
    UNION ALL
    SELECT r.internal_id FROM below b JOIN resources r ON r.parent_id = b.internal_id
)
SELECT a.attachment_uuid FROM below b CROSS JOIN $attachments_of_b a
WHERE a.resource_id = b.internal_id;

-- Children before their parents, as they would be deleted one by one.
-- name: insert_deletions_below
INSERT INTO deletions (seq, level, public_id, deleted_at)
WITH RECURSIVE below (internal_id, level, public_id) AS (
    SELECT internal_id, level, public_id FROM resources WHERE internal_id IN :roots[bigint]
    UNION ALL
    SELECT r.internal_id, r.level, r.public_id FROM below b JOIN resources r ON r.parent_id = b.internal_id
)
SELECT :last_change + ROW_NUMBER() OVER (ORDER BY level DESC, internal_id), level, public_id, :deleted_at
FROM below;

-- name: delete_resources
DELETE FROM resources WHERE internal_id IN :roots[bigint];

-- name: set_last_update
UPDATE resources SET last_update = :last_update WHERE internal_id = :internal_id;

-- name: delete_removals
DELETE FROM removals WHERE attachment_uuid IN :attachment_uuids[text];
