-- Remote systems that clients keep in the database.

-- name: list_remote_modality
SELECT name, document FROM remote_modalities ORDER BY name;

-- name: lookup_remote_modality
SELECT document FROM remote_modalities WHERE name = :name;

-- name: set_remote_modality
INSERT INTO remote_modalities (name, document) VALUES (:name, :document)
ON CONFLICT (name) DO UPDATE SET document = excluded.document;

-- name: delete_remote_modality
DELETE FROM remote_modalities WHERE name = :name;

-- name: list_remote_peer
SELECT name, document FROM remote_peers ORDER BY name;

-- name: lookup_remote_peer
SELECT document FROM remote_peers WHERE name = :name;

-- name: set_remote_peer
INSERT INTO remote_peers (name, document) VALUES (:name, :document)
ON CONFLICT (name) DO UPDATE SET document = excluded.document;

-- name: delete_remote_peer
DELETE FROM remote_peers WHERE name = :name;
