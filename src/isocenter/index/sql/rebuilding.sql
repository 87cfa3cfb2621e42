-- What is read and written when resources are built anew from their files.

-- name: list_all_below
WITH RECURSIVE below (internal_id, level) AS (
    SELECT internal_id, level FROM resources WHERE internal_id = :internal_id
    UNION ALL
    SELECT r.internal_id, r.level FROM below b JOIN resources r ON r.parent_id = b.internal_id
)
SELECT internal_id, level FROM below;

-- The instance that arrived first is the one whose tags a resource has got.
-- name: first_of_series
SELECT i.parent_id, MIN(i.internal_id) FROM resources i
WHERE i.parent_id IN :internal_ids[bigint] GROUP BY i.parent_id;

-- name: first_of_studies
SELECT s.parent_id, MIN(i.internal_id) FROM resources s
JOIN resources i ON i.parent_id = s.internal_id
WHERE s.parent_id IN :internal_ids[bigint] GROUP BY s.parent_id;

-- name: first_of_patients
SELECT t.parent_id, MIN(i.internal_id) FROM resources t
JOIN resources s ON s.parent_id = t.internal_id
JOIN resources i ON i.parent_id = s.internal_id
WHERE t.parent_id IN :internal_ids[bigint] GROUP BY t.parent_id;

-- name: list_stored_files
SELECT r.internal_id, a.attachment_uuid, a.compression, a.compressed_size, a.uncompressed_size,
       a.compressed_md5, a.uncompressed_md5, a.revision, r.metadata, r.public_id
FROM resources r LEFT JOIN attachments a ON a.content_type = 1 AND a.resource_id = r.internal_id
WHERE r.internal_id IN :internal_ids[bigint] ORDER BY r.internal_id;

-- name: list_rebuildable
SELECT r.internal_id, r.metadata,
       (SELECT a.attachment_uuid FROM attachments a
        WHERE a.content_type = 1 AND a.resource_id = r.internal_id)
FROM resources r WHERE r.internal_id IN :internal_ids[bigint];

-- name: rebuild_resource
UPDATE resources SET identifier = :identifier, main_tags = :main_tags, patient_tags = :patient_tags,
    metadata = :metadata, index_in_series = :index_in_series,
    expected_instances = :expected_instances
WHERE internal_id = :internal_id;

-- name: forget_search_rows
DELETE FROM search WHERE resource_id IN :internal_ids[bigint];

-- name: forget_rebuilt_metadata
DELETE FROM metadata WHERE resource_id IN :internal_ids[bigint] AND code IN :codes[bigint];

-- name: replace_dicom_file
UPDATE attachments SET attachment_uuid = :attachment_uuid, compression = :compression,
    compressed_size = :compressed_size, compressed_md5 = :compressed_md5,
    uncompressed_size = :uncompressed_size, uncompressed_md5 = :uncompressed_md5,
    revision = revision + 1
WHERE resource_id = :resource_id AND content_type = 1;

-- name: add_removal
INSERT INTO removals (attachment_uuid) VALUES (:attachment_uuid);

-- name: add_sizes
UPDATE archive SET disk_size = disk_size + :disk_size,
    uncompressed_size = uncompressed_size + :uncompressed_size;
