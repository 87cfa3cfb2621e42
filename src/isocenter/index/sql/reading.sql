-- name: statistics
SELECT patients, studies, series, instances, disk_size, uncompressed_size, last_change FROM archive;

-- name: list_public_ids
SELECT public_id FROM resources WHERE level = :level ORDER BY public_id LIMIT :limit OFFSET :since;

-- name: list_internal_ids
SELECT internal_id FROM resources WHERE level = :level ORDER BY public_id LIMIT :limit OFFSET :since;

-- name: lookup_internal_id
SELECT internal_id FROM resources WHERE level = :level AND public_id = :public_id;

-- name: lookup_dicom_attachment
SELECT a.attachment_uuid, a.compression, a.compressed_size, a.uncompressed_size,
       a.compressed_md5, a.uncompressed_md5, a.revision,
       (SELECT r.metadata FROM resources r WHERE r.internal_id = a.resource_id)
FROM attachments a
WHERE a.content_type = 1 AND a.resource_id =
    (SELECT i.internal_id FROM resources i WHERE i.level = 3 AND i.public_id = :public_id);

-- name: list_children
SELECT internal_id, public_id FROM resources WHERE parent_id = :internal_id ORDER BY public_id;

-- name: list_grandchildren
SELECT g.internal_id, g.public_id FROM resources c
JOIN resources g ON g.parent_id = c.internal_id
WHERE c.parent_id = :internal_id ORDER BY g.public_id;

-- name: list_great_grandchildren
SELECT i.internal_id, i.public_id FROM resources c
JOIN resources g ON g.parent_id = c.internal_id
JOIN resources i ON i.parent_id = g.internal_id
WHERE c.parent_id = :internal_id ORDER BY i.public_id;

-- name: list_lineage
SELECT r.level, r.internal_id, r.public_id, p.level, p.internal_id, p.public_id,
       g.level, g.internal_id, g.public_id, t.level, t.internal_id, t.public_id
FROM resources r
LEFT JOIN resources p ON p.internal_id = r.parent_id
LEFT JOIN resources g ON g.internal_id = p.parent_id
LEFT JOIN resources t ON t.internal_id = g.parent_id
WHERE r.level = :level AND r.public_id = :public_id;

-- name: lookup_identifier
SELECT level, public_id FROM resources WHERE identifier = :identifier ORDER BY level, public_id;

-- name: resource_statistics
WITH RECURSIVE below (internal_id, level) AS (
    SELECT internal_id, level FROM resources WHERE level = :level AND public_id = :public_id
    UNION ALL
    SELECT r.internal_id, r.level FROM below b JOIN resources r ON r.parent_id = b.internal_id
)
SELECT b.level, COUNT(DISTINCT b.internal_id),
       COALESCE(SUM(a.compressed_size), 0), COALESCE(SUM(a.uncompressed_size), 0),
       COALESCE(SUM(CASE WHEN a.content_type = 1 THEN a.compressed_size END), 0),
       COALESCE(SUM(CASE WHEN a.content_type = 1 THEN a.uncompressed_size END), 0)
FROM below b LEFT JOIN attachments a ON a.resource_id = b.internal_id
GROUP BY b.level;

-- name: list_attachments_after
SELECT resource_id, content_type, attachment_uuid, compressed_size, compressed_md5
FROM attachments WHERE (resource_id, content_type) > (:resource_id, :content_type)
ORDER BY resource_id, content_type LIMIT :limit;

-- name: public_id_of
SELECT level, public_id FROM resources WHERE internal_id = :internal_id;

-- name: list_removals
SELECT attachment_uuid FROM removals WHERE attachment_uuid > :after
ORDER BY attachment_uuid LIMIT :limit;

-- name: existing_attachments
SELECT attachment_uuid FROM attachments WHERE attachment_uuid IN :attachment_uuids[text]
UNION ALL
SELECT attachment_uuid FROM job_parts WHERE attachment_uuid IN :attachment_uuids[text]
UNION ALL
SELECT attachment_uuid FROM staged WHERE attachment_uuid IN :attachment_uuids[text];
