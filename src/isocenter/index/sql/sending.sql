-- What sending instances needs of them.

-- name: list_outgoing
SELECT i.public_id, i.main_tags, i.metadata, a.attachment_uuid, a.compression, a.compressed_size,
       a.uncompressed_size, a.compressed_md5, a.uncompressed_md5
FROM resources i
JOIN attachments a ON a.resource_id = i.internal_id AND a.content_type = 1
WHERE i.level = 3 AND i.public_id IN :public_ids[text];
