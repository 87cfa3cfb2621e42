-- What remote modalities promise to keep.

-- name: insert_commitment
INSERT INTO commitments (transaction_uid, created_at, remote_aet, status, document)
VALUES (:transaction_uid, :created_at, :remote_aet, :status, :document)
ON CONFLICT (transaction_uid) DO NOTHING;

-- name: select_commitment
SELECT remote_aet, status, document FROM commitments WHERE transaction_uid = :transaction_uid;

-- name: lock_commitment
SELECT remote_aet, status, document FROM commitments WHERE transaction_uid = :transaction_uid
$for_update;

-- name: update_commitment
UPDATE commitments SET status = :status, document = :document
WHERE transaction_uid = :transaction_uid;

-- name: delete_commitment
DELETE FROM commitments WHERE transaction_uid = :transaction_uid;

-- name: forget_old_commitments
DELETE FROM commitments WHERE transaction_uid IN (
    SELECT transaction_uid FROM commitments
    ORDER BY created_at DESC, transaction_uid LIMIT 1000000 OFFSET :kept);

-- name: list_instances_of_uids
SELECT i.public_id, i.main_tags, i.metadata FROM resources i
WHERE i.identifier IN :identifiers[text] AND +i.level = 3;
