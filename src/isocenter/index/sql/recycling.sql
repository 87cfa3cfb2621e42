-- The recycling list: patients that are not protected, the oldest first.

-- name: list_oldest_patients
SELECT internal_id, public_id, recycling_order FROM resources
WHERE recycling_order > :after AND internal_id <> :kept ORDER BY recycling_order LIMIT :limit;

-- name: set_recycling_order
UPDATE resources SET recycling_order = :recycling_order WHERE internal_id = :internal_id;

-- name: lookup_recycling_order
SELECT internal_id, recycling_order FROM resources WHERE level = 0 AND public_id = :public_id;
