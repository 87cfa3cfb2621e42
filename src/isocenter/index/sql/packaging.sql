-- What archives and media need: everything below some resources, a constant number of statements.

-- name: resolve_resources
SELECT level, public_id, internal_id FROM resources WHERE public_id IN :public_ids[text];

-- name: list_instances_below
WITH RECURSIVE below (internal_id, level) AS (
    SELECT internal_id, level FROM resources WHERE internal_id IN :internal_ids[bigint]
    UNION
    SELECT r.internal_id, r.level FROM below b JOIN resources r ON r.parent_id = b.internal_id
)
SELECT i.public_id, i.parent_id, i.main_tags, i.index_in_series, i.last_update,
       a.attachment_uuid, a.compression, a.compressed_size, a.uncompressed_size,
       a.compressed_md5, a.uncompressed_md5, i.metadata
FROM below b
JOIN resources i ON i.internal_id = b.internal_id
JOIN attachments a ON a.resource_id = i.internal_id AND a.content_type = 1
WHERE b.level = 3;

-- name: list_folders
SELECT internal_id, parent_id, public_id, main_tags, patient_tags, last_update FROM resources
WHERE internal_id IN :internal_ids[bigint];
