-- One row per resource. Only the parts whose flags are true are looked up: the other branches of CASE
-- are never run.
--
-- Single values come by subqueries: SQLite runs them several times as fast as joins of one row.
-- A short reading lists no children at all of a resource that has more than :most_children.
-- name: describe
SELECT r.internal_id, r.level, r.public_id, r.parent_id,
       CASE WHEN :main_tags THEN r.main_tags ELSE '{}' END,
       CASE WHEN :main_tags THEN r.patient_tags END,
       CASE WHEN :metadata OR :sources THEN r.metadata ELSE '' END,
       r.last_update, r.is_stable, r.recycling_order, r.index_in_series, r.expected_instances,
       CASE WHEN :parent THEN
           (SELECT p.public_id FROM resources p WHERE p.internal_id = r.parent_id) END,
       CASE WHEN :is_short AND (:children OR :status) THEN
           (SELECT 1 FROM resources c WHERE c.parent_id = r.internal_id
            LIMIT 1 OFFSET :most_children) END,
       CASE WHEN :children AND r.level < 3 AND (NOT :is_short OR NOT EXISTS
               (SELECT 1 FROM resources c WHERE c.parent_id = r.internal_id
                LIMIT 1 OFFSET :most_children)) THEN
           (SELECT string_agg(c.public_id, ',')
            FROM resources c WHERE c.parent_id = r.internal_id) END,
       CASE WHEN :labels THEN
           (SELECT string_agg(l.label, ',')
            FROM labels l WHERE l.resource_id = r.internal_id) END,
       CASE WHEN :status AND r.expected_instances IS NOT NULL AND (NOT :is_short OR NOT EXISTS
               (SELECT 1 FROM resources c WHERE c.parent_id = r.internal_id
                LIMIT 1 OFFSET :most_children)) THEN
           (SELECT string_agg(CAST(c.index_in_series AS TEXT), ',')
            FROM resources c WHERE c.parent_id = r.internal_id) END,
       CASE WHEN :file AND r.level = 3 THEN
           (SELECT a.attachment_uuid FROM attachments a
            WHERE a.resource_id = r.internal_id AND a.content_type = 1) END,
       CASE WHEN :file AND r.level = 3 THEN
           (SELECT a.uncompressed_size FROM attachments a
            WHERE a.resource_id = r.internal_id AND a.content_type = 1) END,
       CASE WHEN :sources THEN
           (SELECT m.value FROM metadata m WHERE m.resource_id = r.internal_id AND m.code = 5) END,
       CASE WHEN :sources THEN
           (SELECT m.value FROM metadata m WHERE m.resource_id = r.internal_id AND m.code = 6) END
FROM resources r

-- name: describe_one
$describe WHERE r.level = :level AND r.public_id = :public_id;

-- name: describe_many
$describe WHERE r.internal_id IN :internal_ids[bigint];

-- name: list_written_metadata
SELECT resource_id, code, value FROM metadata WHERE resource_id IN :internal_ids[bigint];

-- name: list_attachments_of
SELECT resource_id, content_type, attachment_uuid, compressed_size, uncompressed_size,
       compressed_md5, uncompressed_md5
FROM attachments WHERE resource_id IN :internal_ids[bigint] ORDER BY resource_id, content_type;
