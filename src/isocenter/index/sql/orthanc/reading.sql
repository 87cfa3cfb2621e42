-- Statements that read the SQLite index of an Orthanc, schema version 6. The words with a dollar sign
-- stand for columns that only later versions have. Free text comes as bytes, since nobody promises that
-- it is valid UTF-8; numbers are cast, since SQLite promises no types.

-- name: version
SELECT CAST(value AS TEXT) FROM GlobalProperties WHERE property = 1;

-- name: counts
SELECT CAST(resourceType AS INTEGER), COUNT(*) FROM Resources GROUP BY resourceType;

-- name: attachment_sizes
SELECT COUNT(*), CAST(COALESCE(SUM(compressedSize), 0) AS INTEGER) FROM AttachedFiles;

-- name: shared_file
SELECT 1 FROM AttachedFiles GROUP BY uuid HAVING COUNT(*) > 1 LIMIT 1;

-- name: instances
SELECT p.internalId, CAST(p.publicId AS BLOB), t.internalId, CAST(t.publicId AS BLOB),
       s.internalId, CAST(s.publicId AS BLOB), i.internalId, CAST(i.publicId AS BLOB)
FROM Resources i
LEFT JOIN Resources s ON s.internalId = i.parentId AND s.resourceType = 3
LEFT JOIN Resources t ON t.internalId = s.parentId AND t.resourceType = 2
LEFT JOIN Resources p ON p.internalId = t.parentId AND p.resourceType = 1
WHERE i.resourceType = 4 AND i.internalId > :after
ORDER BY i.internalId LIMIT :limit;

-- name: tags
SELECT id, CAST(tagGroup AS INTEGER), CAST(tagElement AS INTEGER), CAST(value AS BLOB)
FROM MainDicomTags WHERE id IN :ids[bigint];

-- name: metadata
SELECT id, CAST(type AS INTEGER), CAST(value AS BLOB), CAST($metadata_revision AS INTEGER)
FROM Metadata WHERE id IN :ids[bigint] ORDER BY type;

-- name: attachments
SELECT id, CAST(fileType AS INTEGER), CAST(uuid AS BLOB), CAST(compressionType AS INTEGER),
       CAST(compressedSize AS INTEGER), CAST(uncompressedSize AS INTEGER),
       CAST(compressedMD5 AS BLOB), CAST(uncompressedMD5 AS BLOB),
       CAST($attachment_revision AS INTEGER), $is_elsewhere
FROM AttachedFiles WHERE id IN :ids[bigint] ORDER BY fileType;

-- name: all_attachments
SELECT a.id, CAST(a.fileType AS INTEGER), CAST(a.uuid AS BLOB),
       CAST(a.compressedSize AS INTEGER), $is_elsewhere,
       CAST(r.resourceType AS INTEGER), CAST(r.publicId AS BLOB)
FROM AttachedFiles a LEFT JOIN Resources r ON r.internalId = a.id
WHERE (a.id, a.fileType) > (:id, :content_type) ORDER BY a.id, a.fileType LIMIT :limit;

-- name: labels
SELECT id, CAST(label AS BLOB) FROM Labels WHERE id IN :ids[bigint] ORDER BY label;

-- name: recycling
SELECT patientId, MAX(seq) FROM PatientRecyclingOrder WHERE patientId IN :ids[bigint] GROUP BY patientId;

-- name: last_numbers
SELECT name, CAST(seq AS INTEGER) FROM sqlite_sequence;

-- name: changes
SELECT c.seq, CAST(c.changeType AS INTEGER), CAST(r.resourceType AS INTEGER),
       CAST(r.publicId AS BLOB), CAST(c.date AS BLOB)
FROM Changes c JOIN Resources r ON r.internalId = c.internalId
WHERE c.seq > :after ORDER BY c.seq LIMIT :limit;

-- name: exports
SELECT seq, CAST(resourceType AS INTEGER), CAST(publicId AS BLOB), CAST(remoteModality AS BLOB),
       CAST(patientId AS BLOB), CAST(studyInstanceUid AS BLOB), CAST(seriesInstanceUid AS BLOB),
       CAST(sopInstanceUid AS BLOB), CAST(date AS BLOB)
FROM ExportedResources WHERE seq > :after ORDER BY seq LIMIT :limit;
