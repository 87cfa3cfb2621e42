-- What lies above and below many resources at once.

-- name: list_ancestors
SELECT internal_id, level, parent_id, main_tags, patient_tags, metadata
FROM resources WHERE internal_id IN :internal_ids[bigint];

-- name: count_children
SELECT c.parent_id, COUNT(*) FROM resources c
WHERE c.parent_id IN :internal_ids[bigint] GROUP BY c.parent_id;

-- name: count_grandchildren
SELECT c.parent_id, COUNT(*) FROM resources c
JOIN resources g ON g.parent_id = c.internal_id
WHERE c.parent_id IN :internal_ids[bigint] GROUP BY c.parent_id;

-- name: count_great_grandchildren
SELECT c.parent_id, COUNT(*) FROM resources c
JOIN resources g ON g.parent_id = c.internal_id
JOIN resources i ON i.parent_id = g.internal_id
WHERE c.parent_id IN :internal_ids[bigint] GROUP BY c.parent_id;

-- name: list_modalities
SELECT DISTINCT s.parent_id, s.main_tags$as_json ->> 'Modality' FROM resources s
WHERE s.parent_id IN :internal_ids[bigint];

-- The key is the code of the metadata SopClassUid.
-- name: list_sop_classes
SELECT DISTINCT s.parent_id, i.metadata$as_json ->> '10' FROM resources s
JOIN resources i ON i.parent_id = s.internal_id
WHERE s.parent_id IN :internal_ids[bigint];

-- One instance below each resource: the first of the first, in the order of the identifiers.
-- name: list_samples_of_instances
SELECT r.internal_id, a.attachment_uuid, a.compression, a.compressed_size, a.uncompressed_size,
       a.compressed_md5, a.uncompressed_md5, a.revision, r.metadata
FROM resources r JOIN attachments a ON a.content_type = 1 AND a.resource_id = r.internal_id
WHERE r.internal_id IN :internal_ids[bigint];

-- name: list_samples_of_series
SELECT r.internal_id, a.attachment_uuid, a.compression, a.compressed_size, a.uncompressed_size,
       a.compressed_md5, a.uncompressed_md5, a.revision,
       (SELECT m.metadata FROM resources m WHERE m.internal_id = a.resource_id)
FROM resources r JOIN attachments a ON a.content_type = 1 AND a.resource_id =
    (SELECT i.internal_id FROM resources i WHERE i.parent_id = r.internal_id
     ORDER BY i.public_id LIMIT 1)
WHERE r.internal_id IN :internal_ids[bigint];

-- name: list_samples_of_studies
SELECT r.internal_id, a.attachment_uuid, a.compression, a.compressed_size, a.uncompressed_size,
       a.compressed_md5, a.uncompressed_md5, a.revision,
       (SELECT m.metadata FROM resources m WHERE m.internal_id = a.resource_id)
FROM resources r JOIN attachments a ON a.content_type = 1 AND a.resource_id =
    (SELECT i.internal_id FROM resources i WHERE i.parent_id =
        (SELECT s.internal_id FROM resources s WHERE s.parent_id = r.internal_id
         ORDER BY s.public_id LIMIT 1)
     ORDER BY i.public_id LIMIT 1)
WHERE r.internal_id IN :internal_ids[bigint];

-- name: list_samples_of_patients
SELECT r.internal_id, a.attachment_uuid, a.compression, a.compressed_size, a.uncompressed_size,
       a.compressed_md5, a.uncompressed_md5, a.revision,
       (SELECT m.metadata FROM resources m WHERE m.internal_id = a.resource_id)
FROM resources r JOIN attachments a ON a.content_type = 1 AND a.resource_id =
    (SELECT i.internal_id FROM resources i WHERE i.parent_id =
        (SELECT s.internal_id FROM resources s WHERE s.parent_id =
            (SELECT t.internal_id FROM resources t WHERE t.parent_id = r.internal_id
             ORDER BY t.public_id LIMIT 1)
         ORDER BY s.public_id LIMIT 1)
     ORDER BY i.public_id LIMIT 1)
WHERE r.internal_id IN :internal_ids[bigint];

-- name: find_public_ids
SELECT internal_id, level, public_id FROM resources
WHERE level IN (0, 1, 2, 3) AND public_id IN :public_ids[text];

-- name: list_parents
SELECT DISTINCT parent_id FROM resources WHERE internal_id IN :internal_ids[bigint];

-- name: list_children_of
SELECT internal_id FROM resources WHERE parent_id IN :internal_ids[bigint];

-- name: order_by_public_id
SELECT internal_id FROM resources WHERE internal_id IN :internal_ids[bigint] ORDER BY public_id;
