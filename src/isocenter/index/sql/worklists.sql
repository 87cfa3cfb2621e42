-- Entries of the modality worklist.

-- name: list_worklists
SELECT worklist_id, updated_at FROM worklists ORDER BY worklist_id;

-- name: read_worklists
SELECT worklist_id, updated_at, content FROM worklists WHERE worklist_id IN :worklist_ids[text];

-- name: count_worklists
SELECT COUNT(*) FROM worklists;

-- name: put_worklist
INSERT INTO worklists (worklist_id, created_at, updated_at, study_uid, content)
VALUES (:worklist_id, :now, :now, :study_uid, :content)
ON CONFLICT (worklist_id) DO UPDATE
SET updated_at = excluded.updated_at, study_uid = excluded.study_uid, content = excluded.content;

-- name: delete_worklist
DELETE FROM worklists WHERE worklist_id = :worklist_id RETURNING worklist_id;

-- name: delete_old_worklists
DELETE FROM worklists WHERE created_at < :before RETURNING worklist_id;

-- Of studies that something was stored in since the entry was made, and that are complete now.
-- name: delete_done_worklists
DELETE FROM worklists WHERE EXISTS (
    SELECT 1 FROM resources r
    WHERE r.identifier = worklists.study_uid AND r.level = 1 AND r.is_stable = 1
      AND (r.last_update + 1) * 1000000 >= worklists.created_at)
RETURNING worklist_id;
