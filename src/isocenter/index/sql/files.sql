-- name: list_files_below
WITH RECURSIVE below (internal_id, level, public_id) AS (
    SELECT internal_id, level, public_id FROM resources WHERE level = :level AND public_id = :public_id
    UNION ALL
    SELECT r.internal_id, r.level, r.public_id FROM below b JOIN resources r ON r.parent_id = b.internal_id
)
SELECT b.public_id, a.attachment_uuid, a.compression, a.compressed_size, a.uncompressed_size,
       a.compressed_md5, a.uncompressed_md5, a.revision,
       (SELECT r.metadata FROM resources r WHERE r.internal_id = b.internal_id)
FROM below b JOIN attachments a ON a.resource_id = b.internal_id AND a.content_type = 1
WHERE b.level = 3 AND b.public_id > :after ORDER BY b.public_id LIMIT :limit;

-- The first instance below a resource is that of the first child at each level: the order of the
-- index resources_children finds it without looking at the others.
-- name: lookup_first_file_of_series
SELECT i.public_id, a.attachment_uuid, a.compression, a.compressed_size, a.uncompressed_size,
       a.compressed_md5, a.uncompressed_md5, a.revision, i.metadata
FROM resources i JOIN attachments a ON a.resource_id = i.internal_id AND a.content_type = 1
WHERE i.internal_id =
    (SELECT c.internal_id FROM resources c WHERE c.parent_id =
        (SELECT e.internal_id FROM resources e WHERE e.level = 2 AND e.public_id = :public_id)
     ORDER BY c.public_id LIMIT 1);

-- name: lookup_first_file_of_study
SELECT i.public_id, a.attachment_uuid, a.compression, a.compressed_size, a.uncompressed_size,
       a.compressed_md5, a.uncompressed_md5, a.revision, i.metadata
FROM resources i JOIN attachments a ON a.resource_id = i.internal_id AND a.content_type = 1
WHERE i.internal_id =
    (SELECT c.internal_id FROM resources c WHERE c.parent_id =
        (SELECT e.internal_id FROM resources e WHERE e.parent_id =
            (SELECT t.internal_id FROM resources t WHERE t.level = 1 AND t.public_id = :public_id)
         ORDER BY e.public_id LIMIT 1)
     ORDER BY c.public_id LIMIT 1);

-- name: lookup_first_file_of_patient
SELECT i.public_id, a.attachment_uuid, a.compression, a.compressed_size, a.uncompressed_size,
       a.compressed_md5, a.uncompressed_md5, a.revision, i.metadata
FROM resources i JOIN attachments a ON a.resource_id = i.internal_id AND a.content_type = 1
WHERE i.internal_id =
    (SELECT c.internal_id FROM resources c WHERE c.parent_id =
        (SELECT e.internal_id FROM resources e WHERE e.parent_id =
            (SELECT t.internal_id FROM resources t WHERE t.parent_id =
                (SELECT p.internal_id FROM resources p WHERE p.level = 0 AND p.public_id = :public_id)
             ORDER BY t.public_id LIMIT 1)
         ORDER BY e.public_id LIMIT 1)
     ORDER BY c.public_id LIMIT 1);
