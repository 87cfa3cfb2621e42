-- name: existing_instances
SELECT public_id FROM resources WHERE level = 3 AND public_id IN :public_ids[text];

-- name: present_resources
SELECT r.level, r.public_id, r.internal_id,
       (SELECT string_agg(CAST(a.content_type AS TEXT), ',')
        FROM attachments a WHERE a.resource_id = r.internal_id)
FROM resources r WHERE r.public_id IN :public_ids[text];

-- name: lookup_adoption
SELECT value FROM properties WHERE name = :name;

-- name: set_adoption
INSERT INTO properties (name, value) VALUES (:name, :value)
ON CONFLICT (name) DO UPDATE SET value = excluded.value;

-- name: read_last_numbers
SELECT last_change, last_export, last_recycling FROM archive $for_update;

-- name: set_last_numbers
UPDATE archive SET last_change = :change, last_export = :export, last_recycling = :recycling;

-- name: adopt_resource
INSERT INTO resources (internal_id, level, public_id, parent_id, identifier, main_tags, patient_tags,
                       metadata, last_update, is_stable, index_in_series, expected_instances,
                       recycling_order)
VALUES (:internal_id, :level, :public_id, :parent_id, :identifier, :main_tags, :patient_tags,
        :metadata, :last_update, 1, :index_in_series, :expected_instances, :recycling_order);

-- name: adopt_attachment
INSERT INTO attachments (resource_id, content_type, attachment_uuid, compression, compressed_size,
                         uncompressed_size, compressed_md5, uncompressed_md5, revision)
VALUES (:resource_id, :content_type, :attachment_uuid, :compression, :compressed_size,
        :uncompressed_size, :compressed_md5, :uncompressed_md5, :revision);

-- name: adopt_metadata
INSERT INTO metadata (resource_id, code, value, revision)
VALUES (:resource_id, :code, :value, :revision) ON CONFLICT DO NOTHING;

-- name: adopt_label
INSERT INTO labels (resource_id, label) VALUES (:resource_id, :label) ON CONFLICT DO NOTHING;

-- name: adopt_change
INSERT INTO changes (seq, change_type, resource_id, changed_at)
VALUES (:seq, :change_type, :resource_id, :changed_at);

-- name: adopt_export
INSERT INTO exports (seq, level, public_id, remote_modality, patient_id, study_instance_uid,
                     series_instance_uid, sop_instance_uid, exported_at)
VALUES (:seq, :level, :public_id, :remote_modality, :patient_id, :study_instance_uid,
        :series_instance_uid, :sop_instance_uid, :exported_at);

-- name: adopt_counts
UPDATE archive SET last_internal_id = :last_internal_id,
    patients = patients + :patients, studies = studies + :studies, series = series + :series,
    instances = instances + :instances, disk_size = disk_size + :disk_size,
    uncompressed_size = uncompressed_size + :uncompressed_size;
