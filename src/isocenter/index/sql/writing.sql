-- name: lock_archive
SELECT last_internal_id, last_change, last_recycling, patients, disk_size FROM archive $for_update;

-- name: find_instances
SELECT r.public_id, r.internal_id, a.uncompressed_md5, a.attachment_uuid,
       (SELECT COALESCE(SUM(s.compressed_size), 0) FROM attachments s
        WHERE s.resource_id = r.internal_id AND s.content_type < :first_kept)
FROM resources r LEFT JOIN attachments a ON a.resource_id = r.internal_id AND a.content_type = 1
WHERE r.level = 3 AND r.public_id IN :public_ids[text];

-- name: find_parents
SELECT level, public_id, internal_id, last_update, is_stable, expected_instances,
       recycling_order
FROM resources WHERE level IN (0, 1, 2) AND public_id IN :public_ids[text];

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

-- What is replaced in place: an instance keeps what users added to it.
-- name: measure_system_attachments
SELECT COALESCE(SUM(compressed_size), 0), COALESCE(SUM(uncompressed_size), 0)
FROM attachments WHERE resource_id = :internal_id AND content_type < 1024;

-- name: insert_removals_of_system_attachments
INSERT INTO removals (attachment_uuid)
SELECT attachment_uuid FROM attachments WHERE resource_id = :internal_id AND content_type < 1024;

-- name: delete_system_attachments
DELETE FROM attachments WHERE resource_id = :internal_id AND content_type < 1024;

-- name: delete_system_metadata
DELETE FROM metadata WHERE resource_id = :internal_id AND code < 1024;

-- name: delete_search
DELETE FROM search WHERE resource_id = :internal_id;

-- name: replace_instance
UPDATE resources SET identifier = :identifier, main_tags = :main_tags, metadata = :metadata,
    last_update = :last_update, index_in_series = :index_in_series
WHERE internal_id = :internal_id;

-- name: list_indexes_in_series
SELECT index_in_series FROM resources
WHERE parent_id = :internal_id AND index_in_series IS NOT NULL;

-- name: update_archive
UPDATE archive SET last_internal_id = :last_internal_id, last_change = :last_change,
    last_recycling = :last_recycling, patients = patients + :patients, studies = studies + :studies, series = series + :series,
    instances = instances + :instances, disk_size = disk_size + :disk_size,
    uncompressed_size = uncompressed_size + :uncompressed_size;

-- name: find_settled
SELECT internal_id, level, public_id, last_update FROM resources
WHERE is_stable = 0 AND last_update <= :before ORDER BY last_update, internal_id LIMIT :limit;

-- name: settle
UPDATE resources SET is_stable = 1 WHERE internal_id = :internal_id;

