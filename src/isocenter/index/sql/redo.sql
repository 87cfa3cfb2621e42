-- name: find_mentioned_blobs
SELECT attachment_uuid FROM attachments WHERE attachment_uuid IN :attachment_uuids[text]
UNION ALL
SELECT attachment_uuid FROM removals WHERE attachment_uuid IN :attachment_uuids[text];

-- name: skip_changes
UPDATE archive SET last_change = last_change + :count;
