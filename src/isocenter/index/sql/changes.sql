-- name: list_changes
SELECT c.seq, c.change_type, r.level, r.public_id, c.changed_at
FROM changes c JOIN resources r ON r.internal_id = c.resource_id
WHERE c.seq > :since AND c.seq <= :until ORDER BY c.seq LIMIT :limit;

-- name: list_changes_backwards
SELECT c.seq, c.change_type, r.level, r.public_id, c.changed_at
FROM changes c JOIN resources r ON r.internal_id = c.resource_id
WHERE c.seq > :since AND c.seq <= :until ORDER BY c.seq DESC LIMIT :limit;

-- The second condition lets the index of the types be used, which leaves out new instances.
-- name: list_changes_of_type
SELECT c.seq, c.change_type, r.level, r.public_id, c.changed_at
FROM changes c JOIN resources r ON r.internal_id = c.resource_id
WHERE c.change_type = :change_type AND c.change_type <> 2 AND c.seq > :since AND c.seq <= :until
ORDER BY c.seq LIMIT :limit;

-- name: list_changes_of_type_backwards
SELECT c.seq, c.change_type, r.level, r.public_id, c.changed_at
FROM changes c JOIN resources r ON r.internal_id = c.resource_id
WHERE c.change_type = :change_type AND c.change_type <> 2 AND c.seq > :since AND c.seq <= :until
ORDER BY c.seq DESC LIMIT :limit;

-- name: list_new_instances
SELECT c.seq, c.change_type, r.level, r.public_id, c.changed_at
FROM changes c JOIN resources r ON r.internal_id = c.resource_id
WHERE c.change_type = 2 AND c.seq > :since AND c.seq <= :until ORDER BY c.seq LIMIT :limit;

-- name: list_new_instances_backwards
SELECT c.seq, c.change_type, r.level, r.public_id, c.changed_at
FROM changes c JOIN resources r ON r.internal_id = c.resource_id
WHERE c.change_type = 2 AND c.seq > :since AND c.seq <= :until ORDER BY c.seq DESC LIMIT :limit;

-- name: list_deletions
SELECT seq, 4096, level, public_id, deleted_at FROM deletions
WHERE seq > :since AND seq <= :until ORDER BY seq LIMIT :limit;

-- name: list_deletions_backwards
SELECT seq, 4096, level, public_id, deleted_at FROM deletions
WHERE seq > :since AND seq <= :until ORDER BY seq DESC LIMIT :limit;

-- name: delete_changes
DELETE FROM changes;

-- name: delete_deletions
DELETE FROM deletions;
