-- Jobs, what they could not deal with, what they offer for download, and results that are not
-- visible yet. Times are microseconds since 1970, UTC.

CREATE TABLE jobs (
    job_id              $text PRIMARY KEY,
    kind                $text NOT NULL,
    -- Numbers of JobState.
    state               SMALLINT NOT NULL,
    -- What is to become of a running job after its step: pause, cancel, or empty.
    requested           $text NOT NULL,
    priority            BIGINT NOT NULL,
    destination         $text NOT NULL,
    created_at          BIGINT NOT NULL,
    started_at          BIGINT,
    completed_at        BIGINT,
    runtime             BIGINT NOT NULL,
    resume_at           BIGINT,
    progress            SMALLINT NOT NULL,
    -- The server that runs it, empty if none does.
    owner               $text NOT NULL,
    -- JSON, as are content, checkpoint, user_data and failure.
    arguments           $text NOT NULL,
    content             $text NOT NULL,
    checkpoint          $text,
    user_data           $text,
    failure             $text,
    idempotency_key     $text
);

-- The queue, in its order; the history; the unfinished.
CREATE INDEX jobs_queue ON jobs (priority DESC, created_at, job_id) WHERE state = 0;
CREATE INDEX jobs_history ON jobs (completed_at, job_id) WHERE state IN (2, 3);
CREATE INDEX jobs_active ON jobs (state) WHERE state IN (1, 5);
CREATE INDEX jobs_created ON jobs (created_at, job_id);
CREATE UNIQUE INDEX jobs_idempotency ON jobs (idempotency_key) WHERE idempotency_key IS NOT NULL;

CREATE TABLE job_failed_items (
    job_id              $text NOT NULL REFERENCES jobs (job_id) ON DELETE CASCADE,
    name                $text NOT NULL,
    code                BIGINT NOT NULL,
    details             $text NOT NULL,
    PRIMARY KEY (job_id, name)
) $clustered;

-- What jobs offer for download: a content in parts, each a blob of the storage area. Before the job
-- has succeeded there are parts only; `document` is for whoever goes on with the next part.
CREATE TABLE job_outputs (
    job_id              $text NOT NULL REFERENCES jobs (job_id) ON DELETE CASCADE,
    name                $text NOT NULL,
    file_name           $text NOT NULL,
    media_type          $text NOT NULL,
    size                BIGINT NOT NULL,
    created_at          BIGINT NOT NULL,
    PRIMARY KEY (job_id, name)
) $clustered;

CREATE INDEX job_outputs_age ON job_outputs (created_at);

CREATE TABLE job_parts (
    job_id              $text NOT NULL REFERENCES jobs (job_id) ON DELETE CASCADE,
    name                $text NOT NULL,
    number              BIGINT NOT NULL,
    attachment_uuid     $text NOT NULL,
    size                BIGINT NOT NULL,
    document            $text NOT NULL,
    PRIMARY KEY (job_id, name, number)
) $clustered;

CREATE INDEX job_parts_attachment ON job_parts (attachment_uuid);

-- Servers that take jobs, and when they last showed that they live.
CREATE TABLE job_owners (
    owner               $text PRIMARY KEY,
    alive_at            BIGINT NOT NULL
) $clustered;
