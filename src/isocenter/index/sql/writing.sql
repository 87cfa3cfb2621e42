-- name: lock_archive
SELECT last_internal_id, last_change FROM archive $for_update;

-- name: find_instances
SELECT r.public_id, r.internal_id, COALESCE(a.uncompressed_md5, ''),
       COALESCE(a.attachment_uuid, '')
FROM resources r LEFT JOIN attachments a ON a.resource_id = r.internal_id AND a.content_type = 1
WHERE r.level = 3 AND r.public_id IN :public_ids[text];

-- name: find_parents
SELECT level, public_id, internal_id, last_update, is_stable, expected_instances
FROM resources WHERE level < 3 AND public_id IN :public_ids[text];

-- name: insert_resource
INSERT INTO resources (internal_id, level, public_id, parent_id, identifier, main_tags, patient_tags,
                       metadata, last_update, is_stable, index_in_series, expected_instances,
                       recycling_order)
VALUES (:internal_id, :level, :public_id, :parent_id, :identifier, :main_tags, :patient_tags,
        :metadata, :last_update, :is_stable, :index_in_series, :expected_instances,
        :recycling_order);

-- name: insert_search
INSERT INTO search (resource_id, tag, value) VALUES (:resource_id, :tag, :value);

-- name: insert_attachment
INSERT INTO attachments (resource_id, content_type, attachment_uuid, compression, compressed_size,
                         uncompressed_size, compressed_md5, uncompressed_md5, revision)
VALUES (:resource_id, :content_type, :attachment_uuid, :compression, :compressed_size,
        :uncompressed_size, :compressed_md5, :uncompressed_md5, 0);

-- name: insert_change
INSERT INTO changes (seq, change_type, resource_id, changed_at)
VALUES (:seq, :change_type, :resource_id, :changed_at);

-- name: touch
UPDATE resources SET last_update = :last_update, is_stable = 0 WHERE internal_id = :internal_id;

-- name: set_last_update
UPDATE resources SET last_update = :last_update WHERE internal_id = :internal_id;

-- name: list_indexes_in_series
SELECT index_in_series FROM resources
WHERE parent_id = :internal_id AND index_in_series IS NOT NULL;

-- name: update_archive
UPDATE archive SET last_internal_id = :last_internal_id, last_change = :last_change,
    patients = patients + :patients, studies = studies + :studies, series = series + :series,
    instances = instances + :instances, disk_size = disk_size + :disk_size,
    uncompressed_size = uncompressed_size + :uncompressed_size;

-- name: insert_removals_below
INSERT INTO removals (attachment_uuid)
WITH RECURSIVE below (internal_id) AS (
    SELECT internal_id FROM resources WHERE internal_id = :internal_id
    UNION ALL
    SELECT r.internal_id FROM below b JOIN resources r ON r.parent_id = b.internal_id
)
SELECT a.attachment_uuid FROM below b JOIN attachments a ON a.resource_id = b.internal_id;

-- name: delete_resource
DELETE FROM resources WHERE internal_id = :internal_id;

-- name: has_sibling
SELECT 1 FROM resources WHERE parent_id = :parent_id AND internal_id <> :internal_id LIMIT 1;

-- name: delete_removals
DELETE FROM removals WHERE attachment_uuid IN :attachment_uuids[text];

-- name: delete_changes
DELETE FROM changes;

-- name: find_settled
SELECT internal_id, level, public_id, last_update FROM resources
WHERE is_stable = 0 AND last_update <= :before ORDER BY last_update, internal_id LIMIT :limit;

-- name: settle
UPDATE resources SET is_stable = 1 WHERE internal_id = :internal_id;

