-- Instances that jobs have prepared and not published yet.

-- name: insert_staged
INSERT INTO staged (job_id, position, source_id, source_attachment, attachment_uuid, size, document)
VALUES (:job_id, :position, :source_id, :source_attachment, :attachment_uuid, :size, :document);

-- name: list_staged
SELECT position, document FROM staged WHERE job_id = :job_id ORDER BY position;

-- name: find_changed_source
SELECT s.source_id FROM staged s
LEFT JOIN resources r ON r.level = 3 AND r.public_id = s.source_id
LEFT JOIN attachments a ON a.resource_id = r.internal_id AND a.content_type = 1
WHERE s.job_id = :job_id AND (a.attachment_uuid IS NULL OR a.attachment_uuid <> s.source_attachment)
ORDER BY s.position LIMIT 1;

-- name: insert_removals_of_staged
INSERT INTO removals (attachment_uuid) SELECT attachment_uuid FROM staged WHERE job_id = :job_id;

-- name: add_possible_removal
INSERT INTO removals (attachment_uuid) VALUES (:attachment_uuid) ON CONFLICT DO NOTHING;

-- name: delete_staged
DELETE FROM staged WHERE job_id = :job_id;

-- name: copy_labels
INSERT INTO labels (resource_id, label)
SELECT t.internal_id, l.label FROM resources s
JOIN labels l ON l.resource_id = s.internal_id
JOIN resources t ON t.level = s.level AND t.public_id = :target
WHERE s.level = :level AND s.public_id = :source
ON CONFLICT DO NOTHING;

-- Resources to which users have added something.
-- name: find_annotated
SELECT r.level, r.public_id, r.internal_id FROM resources r
WHERE r.level IN (0, 1, 2, 3) AND r.public_id IN :public_ids[text] AND (
    EXISTS (SELECT 1 FROM labels l WHERE l.resource_id = r.internal_id)
    OR EXISTS (SELECT 1 FROM metadata m WHERE m.resource_id = r.internal_id AND m.code >= :first_code)
    OR EXISTS (SELECT 1 FROM attachments a
               WHERE a.resource_id = r.internal_id AND a.content_type >= :first_code));

-- name: list_user_metadata
SELECT resource_id, code, value FROM metadata
WHERE resource_id IN :internal_ids[bigint] AND code >= :first_code;

-- name: list_user_attachments
SELECT resource_id, content_type, uncompressed_size, uncompressed_md5 FROM attachments
WHERE resource_id IN :internal_ids[bigint] AND content_type >= :first_code;

-- name: carry_labels
UPDATE labels SET resource_id = :target
WHERE resource_id = :source AND NOT EXISTS
    (SELECT 1 FROM labels o WHERE o.resource_id = :target AND o.label = labels.label);

-- name: carry_metadata
UPDATE metadata SET resource_id = :target
WHERE resource_id = :source AND code >= :first_code AND NOT EXISTS
    (SELECT 1 FROM metadata o WHERE o.resource_id = :target AND o.code = metadata.code);

-- name: carry_attachments
UPDATE attachments SET resource_id = :target
WHERE resource_id = :source AND content_type >= :first_code AND NOT EXISTS
    (SELECT 1 FROM attachments o
     WHERE o.resource_id = :target AND o.content_type = attachments.content_type);

-- name: renew_metadata
INSERT INTO metadata (resource_id, code, value, revision) VALUES (:resource_id, :code, :value, 0)
ON CONFLICT (resource_id, code) DO UPDATE
    SET value = excluded.value, revision = metadata.revision + 1;

-- Everything that an edit of some resources reads, with what lies above.
-- name: list_sources
WITH RECURSIVE below (internal_id, level) AS (
    SELECT internal_id, level FROM resources WHERE internal_id IN :internal_ids[bigint]
    UNION
    SELECT r.internal_id, r.level FROM below b JOIN resources r ON r.parent_id = b.internal_id
)
SELECT p.public_id, t.public_id, e.public_id, i.public_id,
       t.identifier, e.identifier, i.identifier,
       a.attachment_uuid, a.compression, a.compressed_size, a.uncompressed_size,
       a.compressed_md5, a.uncompressed_md5
FROM below b
JOIN resources i ON i.internal_id = b.internal_id
JOIN resources e ON e.internal_id = i.parent_id
JOIN resources t ON t.internal_id = e.parent_id
JOIN resources p ON p.internal_id = t.parent_id
LEFT JOIN attachments a ON a.resource_id = i.internal_id AND a.content_type = 1
WHERE b.level = 3
ORDER BY p.public_id, t.public_id, e.public_id, i.internal_id LIMIT :limit;
