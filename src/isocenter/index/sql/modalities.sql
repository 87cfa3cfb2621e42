-- Remote modalities that are kept in the database (option DicomModalitiesInDatabase).

-- name: list_remote_modalities
SELECT name, document FROM remote_modalities ORDER BY name;

-- name: set_remote_modality
INSERT INTO remote_modalities (name, document) VALUES (:name, :document)
ON CONFLICT (name) DO UPDATE SET document = excluded.document;

-- name: delete_remote_modality
DELETE FROM remote_modalities WHERE name = :name;
