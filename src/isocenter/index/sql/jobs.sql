-- name: select_jobs
SELECT job_id, kind, state, priority, created_at,
       COALESCE((SELECT a.arguments FROM job_arguments a WHERE a.job_id = jobs.job_id), arguments), content, requested, checkpoint, destination,
       user_data, progress, started_at, completed_at, runtime, resume_at, failure, owner
FROM jobs WHERE job_id IN :job_ids[text];

-- name: select_job_of_key
SELECT job_id FROM jobs WHERE idempotency_key = :idempotency_key;

-- name: insert_job
INSERT INTO jobs (job_id, kind, state, requested, priority, destination, created_at, runtime, progress,
                  owner, arguments, content, user_data, idempotency_key)
VALUES (:job_id, :kind, 0, '', :priority, :destination, :created_at, 0, 0,
        '', :arguments, :content, :user_data, :idempotency_key);

-- All that is asked for stands in an index.
-- name: list_all_jobs
SELECT job_id FROM jobs ORDER BY created_at, job_id LIMIT :limit OFFSET :since;

-- name: list_jobs
SELECT job_id FROM jobs
WHERE state IN :states[bigint] AND (:all_kinds = 1 OR kind IN :kinds[text])
ORDER BY created_at, job_id LIMIT :limit OFFSET :since;

-- name: list_unfinished_ids
SELECT job_id FROM (
    SELECT job_id, kind, state, created_at FROM jobs WHERE state = 0
    UNION ALL SELECT job_id, kind, state, created_at FROM jobs WHERE state IN (1, 5)
) unfinished
WHERE state IN :states[bigint] AND (:all_kinds = 1 OR kind IN :kinds[text])
ORDER BY created_at, job_id LIMIT :limit OFFSET :since;

-- name: list_waiting_marks
SELECT job_id, state, progress, runtime, requested FROM jobs WHERE state = 0
ORDER BY priority DESC, created_at, job_id LIMIT :limit;

-- name: list_running_marks
SELECT job_id, state, progress, runtime, requested FROM jobs WHERE state IN (1, 5) LIMIT :limit;

-- name: list_finished_marks
SELECT job_id, state, progress, runtime, requested FROM jobs
WHERE state IN (2, 3) AND completed_at >= :completed_since
ORDER BY completed_at DESC, job_id DESC LIMIT :limit;

-- name: lock_queue
SELECT $queue_lock;

-- name: list_due_jobs
SELECT job_id, kind, destination FROM jobs
WHERE state = 0 AND (:all_kinds = 1 OR kind IN :kinds[text]) AND job_id NOT IN :busy[text]
ORDER BY priority DESC, created_at, job_id LIMIT :limit $skip_locked;

-- name: wake_due_jobs
-- The conditions of the partial indexes are repeated: SQLite does not infer them.
UPDATE jobs SET state = 0, resume_at = NULL
WHERE state IN (1, 5) AND state = 5 AND resume_at <= :now;

-- name: next_due_job
SELECT MIN(resume_at) FROM jobs WHERE state IN (1, 5) AND state = 5;

-- name: count_running_jobs
SELECT kind, destination, COUNT(*) FROM jobs WHERE state IN (1, 5) AND state = 1
GROUP BY kind, destination;

-- name: insert_lock
INSERT INTO job_locks (job_id, name) VALUES (:job_id, :name);

-- The running jobs are few, and the key of the table leads to each of their locks. SQLite never changes
-- the order of a CROSS JOIN.
-- name: list_locks
SELECT l.job_id, l.name,
       EXISTS (SELECT 1 FROM jobs j CROSS JOIN job_locks h
               WHERE j.state IN (1, 5) AND j.state = 1 AND h.job_id = j.job_id AND h.name = l.name)
FROM job_locks l WHERE l.job_id IN :job_ids[text];

-- name: delete_locks
DELETE FROM job_locks WHERE job_id = :job_id;

-- name: claim_jobs
UPDATE jobs SET state = 1, owner = :owner, started_at = COALESCE(started_at, :now)
WHERE job_id IN :job_ids[text];

-- name: save_job
UPDATE jobs SET state = :state, requested = :requested, owner = :owner, progress = :progress,
    content = :content, checkpoint = :checkpoint, failure = :failure, runtime = :runtime,
    started_at = :started_at, completed_at = :completed_at, resume_at = :resume_at
WHERE job_id = :job_id;

-- What a step has not changed stays, without being read.
-- name: save_step
UPDATE jobs SET state = :state, requested = :requested, owner = :owner,
    progress = COALESCE(:progress, progress), content = COALESCE(:content, content),
    checkpoint = COALESCE(:checkpoint, checkpoint), failure = :failure, runtime = :runtime,
    completed_at = :completed_at, resume_at = :resume_at
WHERE job_id = :job_id;

-- name: set_arguments
UPDATE jobs SET arguments = :arguments WHERE job_id = :job_id;

-- name: insert_arguments
INSERT INTO job_arguments (job_id, arguments) VALUES (:job_id, :arguments);

-- name: delete_arguments
DELETE FROM job_arguments WHERE job_id = :job_id;

-- name: lock_job
SELECT state, owner, requested, runtime FROM jobs WHERE job_id = :job_id $for_update;

-- name: insert_failed_item
INSERT INTO job_failed_items (job_id, name, code, details) VALUES (:job_id, :name, :code, :details)
ON CONFLICT (job_id, name) DO UPDATE SET code = excluded.code, details = excluded.details;

-- name: list_failed_items
SELECT name, code, details FROM job_failed_items WHERE job_id = :job_id ORDER BY name LIMIT :limit;

-- name: delete_failed_items
DELETE FROM job_failed_items WHERE job_id = :job_id;

-- name: delete_jobs
DELETE FROM jobs WHERE job_id IN :job_ids[text];

-- name: list_old_jobs
SELECT job_id FROM jobs WHERE state IN (2, 3) AND completed_at <= :before
ORDER BY completed_at DESC, job_id DESC LIMIT :limit OFFSET :keep;

-- Signs of life are told and judged by the clock of the database: those of servers may differ. Where
-- other servers live, a job without an owner may be theirs.
-- name: list_orphaned_jobs
SELECT job_id FROM jobs WHERE state IN (1, 5) AND state = 1 AND owner <> :owner
AND owner NOT IN (SELECT o.owner FROM job_owners o WHERE o.alive_at > $database_now - :silence);

-- name: list_unfinished_jobs
SELECT job_id FROM jobs WHERE state IN (0, 1, 5) AND owner <> :owner AND (:is_shared = 0 OR owner <> '')
AND owner NOT IN (SELECT o.owner FROM job_owners o WHERE o.alive_at > $database_now - :silence);

-- name: list_forgotten_jobs
SELECT job_id FROM jobs WHERE owner <> :owner AND (:is_shared = 0 OR owner <> '')
AND owner NOT IN (SELECT o.owner FROM job_owners o WHERE o.alive_at > $database_now - :silence);

-- name: list_requested_of_jobs
SELECT job_id, requested FROM jobs WHERE state = 1 AND owner = :owner AND requested <> '';

-- What may have left something that nobody else knows.
-- name: list_unfinished_of_jobs
SELECT job_id FROM jobs WHERE job_id IN :job_ids[text] AND state NOT IN (2, 3);

-- name: set_job_state
UPDATE jobs SET state = :state, owner = '', resume_at = NULL WHERE job_id IN :job_ids[text];

-- name: keep_owner_alive
INSERT INTO job_owners (owner, alive_at) VALUES (:owner, $database_now)
ON CONFLICT (owner) DO UPDATE SET alive_at = excluded.alive_at;

-- name: forget_dead_owners
DELETE FROM job_owners WHERE alive_at <= $database_now - :silence;

-- name: count_jobs
SELECT state, COUNT(*) FROM jobs GROUP BY state;

-- name: insert_removals_of_jobs
INSERT INTO removals (attachment_uuid)
SELECT attachment_uuid FROM job_parts WHERE job_id IN :job_ids[text]
UNION ALL
SELECT attachment_uuid FROM staged WHERE job_id IN :job_ids[text]
ON CONFLICT DO NOTHING;

-- name: insert_output
INSERT INTO job_outputs (job_id, name, file_name, media_type, size, created_at)
VALUES (:job_id, :name, :file_name, :media_type, :size, :created_at);

-- name: lookup_output
SELECT file_name, media_type, size, created_at FROM job_outputs WHERE job_id = :job_id AND name = :name;

-- name: list_outputs_by_age
SELECT job_id, name, size, created_at FROM job_outputs ORDER BY created_at DESC, job_id, name;

-- name: delete_output
DELETE FROM job_outputs WHERE job_id = :job_id AND name = :name;

-- name: insert_part
INSERT INTO job_parts (job_id, name, number, attachment_uuid, size, document)
VALUES (:job_id, :name, :number, :attachment_uuid, :size, :document);

-- name: list_parts
SELECT attachment_uuid, size, document FROM job_parts WHERE job_id = :job_id AND name = :name
ORDER BY number;

-- name: insert_removals_of_parts
INSERT INTO removals (attachment_uuid)
SELECT attachment_uuid FROM job_parts WHERE job_id = :job_id AND name = :name
ON CONFLICT DO NOTHING;

-- name: delete_parts
DELETE FROM job_parts WHERE job_id = :job_id AND name = :name;

-- name: lookup_property
SELECT value FROM properties WHERE name = :name $for_update;

-- name: set_property
INSERT INTO properties (name, value) VALUES (:name, :value)
ON CONFLICT (name) DO UPDATE SET value = excluded.value;
