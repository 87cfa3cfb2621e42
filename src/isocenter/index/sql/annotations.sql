-- What clients attach to resources: metadata, attachments, labels.

-- name: measure_metadata
SELECT r.internal_id, r.metadata, r.level, r.last_update,
       (SELECT COUNT(*) FROM metadata m WHERE m.resource_id = r.internal_id),
       (SELECT COALESCE(SUM(octet_length(m.value)), 0)
        FROM metadata m WHERE m.resource_id = r.internal_id)
FROM resources r WHERE r.level = :level AND r.public_id = :public_id;

-- name: list_metadata_codes
SELECT code, '' FROM metadata WHERE resource_id = :internal_id;

-- name: list_metadata
SELECT code, value FROM metadata WHERE resource_id = :internal_id;

-- A value of more than so many bytes is left out, and not even read.
-- name: lookup_metadata
SELECT r.internal_id, r.metadata, r.level, r.last_update,
       (SELECT m.revision FROM metadata m WHERE m.resource_id = r.internal_id AND m.code = :code),
       (SELECT CASE WHEN octet_length(m.value) <= :longest THEN m.value END
        FROM metadata m WHERE m.resource_id = r.internal_id AND m.code = :code)
FROM resources r WHERE r.level = :level AND r.public_id = :public_id;

-- name: write_metadata
INSERT INTO metadata (resource_id, code, value, revision)
VALUES (:resource_id, :code, :value, :revision)
ON CONFLICT (resource_id, code) DO UPDATE SET value = excluded.value, revision = excluded.revision;

-- name: delete_metadata
DELETE FROM metadata WHERE resource_id = :resource_id AND code = :code;

-- name: list_content_types
SELECT a.content_type FROM resources r LEFT JOIN attachments a ON a.resource_id = r.internal_id
WHERE r.level = :level AND r.public_id = :public_id ORDER BY a.content_type;

-- name: lookup_attachment
SELECT r.internal_id, a.attachment_uuid, a.compression, a.compressed_size, a.uncompressed_size,
       a.compressed_md5, a.uncompressed_md5, a.revision
FROM resources r
LEFT JOIN attachments a ON a.resource_id = r.internal_id AND a.content_type = :content_type
WHERE r.level = :level AND r.public_id = :public_id;

-- name: write_attachment
INSERT INTO attachments (resource_id, content_type, attachment_uuid, compression, compressed_size,
                         uncompressed_size, compressed_md5, uncompressed_md5, revision)
VALUES (:resource_id, :content_type, :attachment_uuid, :compression, :compressed_size,
        :uncompressed_size, :compressed_md5, :uncompressed_md5, :revision)
ON CONFLICT (resource_id, content_type) DO UPDATE SET
    attachment_uuid = excluded.attachment_uuid, compression = excluded.compression,
    compressed_size = excluded.compressed_size, uncompressed_size = excluded.uncompressed_size,
    compressed_md5 = excluded.compressed_md5, uncompressed_md5 = excluded.uncompressed_md5,
    revision = excluded.revision;

-- name: delete_attachment
DELETE FROM attachments WHERE resource_id = :resource_id AND content_type = :content_type;

-- name: insert_removal
INSERT INTO removals (attachment_uuid) VALUES (:attachment_uuid);

-- name: list_labels
SELECT l.label FROM resources r LEFT JOIN labels l ON l.resource_id = r.internal_id
WHERE r.level = :level AND r.public_id = :public_id ORDER BY l.label;

-- name: lookup_label
SELECT r.internal_id,
       (SELECT COUNT(*) FROM labels l WHERE l.resource_id = r.internal_id),
       (SELECT l.label FROM labels l WHERE l.resource_id = r.internal_id AND l.label = :label)
FROM resources r WHERE r.level = :level AND r.public_id = :public_id;

-- name: insert_label
INSERT INTO labels (resource_id, label) VALUES (:resource_id, :label) ON CONFLICT DO NOTHING;

-- name: delete_label
DELETE FROM labels WHERE resource_id = :resource_id AND label = :label;

-- Jumps from each label to the next one in the index, however many resources have it.
-- name: list_all_labels
WITH RECURSIVE used (label) AS (
    SELECT MIN(label) FROM labels
    UNION ALL
    SELECT (SELECT MIN(l.label) FROM labels l WHERE l.label > used.label)
    FROM used WHERE used.label IS NOT NULL
)
SELECT label FROM used WHERE label IS NOT NULL ORDER BY label;
