-- The schema, once for both databases. Words with a dollar sign differ by database (statements.py).
--
-- One row per resource, its main tags as one compact value: reading a resource is reading a row.
-- The hierarchy is a chain of integer keys; deleting a resource cascades in the database.

CREATE TABLE archive (
    -- Exactly one row. Counters, so that statistics and quotas never scan; and, where several servers
    -- share the database, the lock that orders their writing transactions: hence the numbers of the
    -- change log grow in the order of commits and a reader never misses one.
    only_row            SMALLINT PRIMARY KEY CHECK (only_row = 1),
    last_internal_id    BIGINT NOT NULL,
    last_change         BIGINT NOT NULL,
    last_export         BIGINT NOT NULL,
    -- The end of the recycling list, see resources.recycling_order.
    last_recycling      BIGINT NOT NULL,
    patients            BIGINT NOT NULL,
    studies             BIGINT NOT NULL,
    series              BIGINT NOT NULL,
    instances           BIGINT NOT NULL,
    disk_size           BIGINT NOT NULL,
    uncompressed_size   BIGINT NOT NULL
);

INSERT INTO archive VALUES (1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0);

CREATE TABLE resources (
    internal_id         $rowid,
    level               SMALLINT NOT NULL,
    public_id           $text NOT NULL,
    parent_id           BIGINT REFERENCES resources (internal_id) ON DELETE CASCADE,
    -- The DICOM identifier (PatientID or UID), normalized for searching.
    identifier          $text NOT NULL,
    -- JSON object: keyword to text, keys sorted.
    main_tags           $text NOT NULL,
    -- Studies only: the patient tags as stored with the study.
    patient_tags        $text,
    -- JSON object: code of the metadata, as text, to value, as set when the resource was stored.
    -- What is written later lies in the table metadata and goes before it.
    metadata            $text NOT NULL,
    -- Seconds since 1970, UTC.
    last_update         BIGINT NOT NULL,
    is_stable           SMALLINT NOT NULL,
    -- Instances only.
    index_in_series     BIGINT,
    -- Series only.
    expected_instances  BIGINT,
    -- Patients only: the place in the recycling list; NULL if protected.
    recycling_order     BIGINT
);

-- The one index whose keys arrive in random order.
CREATE UNIQUE INDEX resources_public_id ON resources (level, public_id);
-- Children in the order in which they are answered.
CREATE INDEX resources_children ON resources (parent_id, public_id);
CREATE INDEX resources_identifier ON resources (identifier);
CREATE INDEX resources_unstable ON resources (last_update) WHERE is_stable = 0;

CREATE INDEX resources_recycling ON resources (recycling_order) WHERE recycling_order IS NOT NULL;

-- Normalized values of the main tags of patients, studies (with their patients') and series; one row
-- for each value of a multi-valued tag and for each group of a person's name.
CREATE TABLE search (
    resource_id         BIGINT NOT NULL REFERENCES resources (internal_id) ON DELETE CASCADE,
    tag                 BIGINT NOT NULL,
    value               $text NOT NULL,
    PRIMARY KEY (resource_id, tag, value)
) $clustered;

CREATE INDEX search_value ON search (tag, value, resource_id);

CREATE TABLE attachments (
    resource_id         BIGINT NOT NULL REFERENCES resources (internal_id) ON DELETE CASCADE,
    content_type        BIGINT NOT NULL,
    attachment_uuid     $text NOT NULL,
    compression         SMALLINT NOT NULL,
    compressed_size     BIGINT NOT NULL,
    uncompressed_size   BIGINT NOT NULL,
    compressed_md5      $text NOT NULL,
    uncompressed_md5    $text NOT NULL,
    revision            BIGINT NOT NULL,
    PRIMARY KEY (resource_id, content_type)
) $clustered;

-- Metadata that were written after the resource was stored.
CREATE TABLE metadata (
    resource_id         BIGINT NOT NULL REFERENCES resources (internal_id) ON DELETE CASCADE,
    code                BIGINT NOT NULL,
    value               $text NOT NULL,
    revision            BIGINT NOT NULL,
    PRIMARY KEY (resource_id, code)
) $clustered;

CREATE TABLE labels (
    resource_id         BIGINT NOT NULL REFERENCES resources (internal_id) ON DELETE CASCADE,
    label               $text NOT NULL,
    PRIMARY KEY (resource_id, label)
) $clustered;

CREATE INDEX labels_label ON labels (label, resource_id);

CREATE TABLE changes (
    seq                 $rowid,
    change_type         BIGINT NOT NULL,
    resource_id         BIGINT NOT NULL REFERENCES resources (internal_id) ON DELETE CASCADE,
    changed_at          BIGINT NOT NULL
);

CREATE INDEX changes_resource ON changes (resource_id);
-- For filters by type. New instances are most of the log and found fast without it.
CREATE INDEX changes_type ON changes (change_type, seq) WHERE change_type <> 2;

-- What was deleted, if the configuration asks for it; numbered together with the changes.
CREATE TABLE deletions (
    seq                 $rowid,
    level               SMALLINT NOT NULL,
    public_id           $text NOT NULL,
    deleted_at          BIGINT NOT NULL
);

-- What was sent to whom; kept when the resource is deleted.
CREATE TABLE exports (
    seq                 $rowid,
    level               SMALLINT NOT NULL,
    public_id           $text NOT NULL,
    remote_modality     $text NOT NULL,
    patient_id          $text NOT NULL,
    study_instance_uid  $text NOT NULL,
    series_instance_uid $text NOT NULL,
    sop_instance_uid    $text NOT NULL,
    exported_at         BIGINT NOT NULL
);

-- Settings that outlive a restart and are shared by the servers of one archive.
CREATE TABLE properties (
    name                $text PRIMARY KEY,
    value               $text NOT NULL
) $clustered;

-- Blobs that no row refers to any more; removed from the storage area after the transaction, and
-- again after a crash.
CREATE TABLE removals (
    attachment_uuid     $text PRIMARY KEY
) $clustered;
