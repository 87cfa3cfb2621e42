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
    patients            BIGINT NOT NULL,
    studies             BIGINT NOT NULL,
    series              BIGINT NOT NULL,
    instances           BIGINT NOT NULL,
    disk_size           BIGINT NOT NULL,
    uncompressed_size   BIGINT NOT NULL
);

INSERT INTO archive VALUES (1, 0, 0, 0, 0, 0, 0, 0, 0);

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
    -- JSON object: code of the metadata, as text, to value.
    metadata            $text NOT NULL,
    -- Seconds since 1970, UTC.
    last_update         BIGINT NOT NULL,
    is_stable           SMALLINT NOT NULL,
    -- Instances only.
    index_in_series     BIGINT,
    -- Series only.
    expected_instances  BIGINT
);

-- The one index whose keys arrive in random order.
CREATE UNIQUE INDEX resources_public_id ON resources (level, public_id);
-- Children in the order in which they are answered.
CREATE INDEX resources_children ON resources (parent_id, public_id);
CREATE INDEX resources_identifier ON resources (identifier);
CREATE INDEX resources_unstable ON resources (last_update) WHERE is_stable = 0;

-- Normalized values of the identifying tags of patients, studies and series.
CREATE TABLE search (
    resource_id         BIGINT NOT NULL REFERENCES resources (internal_id) ON DELETE CASCADE,
    tag                 BIGINT NOT NULL,
    value               $text NOT NULL,
    PRIMARY KEY (resource_id, tag)
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

CREATE TABLE labels (
    resource_id         BIGINT NOT NULL REFERENCES resources (internal_id) ON DELETE CASCADE,
    label               $text NOT NULL,
    PRIMARY KEY (resource_id, label)
) $clustered;

CREATE TABLE changes (
    seq                 $rowid,
    change_type         BIGINT NOT NULL,
    resource_id         BIGINT NOT NULL REFERENCES resources (internal_id) ON DELETE CASCADE,
    changed_at          BIGINT NOT NULL
);

CREATE INDEX changes_resource ON changes (resource_id);

-- Blobs that no row refers to any more; removed from the storage area after the transaction, and
-- again after a crash.
CREATE TABLE removals (
    attachment_uuid     $text PRIMARY KEY
) $clustered;
