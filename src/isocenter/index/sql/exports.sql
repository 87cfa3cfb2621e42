-- The log of what was sent to whom.

-- name: lock_exports
SELECT last_export FROM archive $for_update;

-- name: update_last_export
UPDATE archive SET last_export = :last_export;

-- name: describe_exported
SELECT r.level, r.public_id, r.main_tags, p.main_tags, g.main_tags, t.main_tags
FROM resources r
LEFT JOIN resources p ON p.internal_id = r.parent_id
LEFT JOIN resources g ON g.internal_id = p.parent_id
LEFT JOIN resources t ON t.internal_id = g.parent_id
WHERE r.level IN (0, 1, 2, 3) AND r.public_id IN :public_ids[text];

-- name: insert_export
INSERT INTO exports (seq, level, public_id, remote_modality, patient_id, study_instance_uid,
                     series_instance_uid, sop_instance_uid, exported_at)
VALUES (:seq, :level, :public_id, :remote_modality, :patient_id, :study_instance_uid,
        :series_instance_uid, :sop_instance_uid, :exported_at);

-- name: list_exports
SELECT seq, level, public_id, remote_modality, patient_id, study_instance_uid, series_instance_uid,
       sop_instance_uid, exported_at
FROM exports WHERE seq > :since ORDER BY seq LIMIT :limit;

-- name: last_export
SELECT seq, level, public_id, remote_modality, patient_id, study_instance_uid, series_instance_uid,
       sop_instance_uid, exported_at
FROM exports ORDER BY seq DESC LIMIT 1;

-- name: delete_exports
DELETE FROM exports;
