-- What jobs keep others from touching, and instances that are to be published together.

-- A job is not begun while another one runs that has a name in common with it.
CREATE TABLE job_locks (
    job_id              $text NOT NULL REFERENCES jobs (job_id) ON DELETE CASCADE,
    name                $text NOT NULL,
    PRIMARY KEY (job_id, name)
) $clustered;

-- New instances that nobody sees yet. A job publishes all of its own in one transaction.
CREATE TABLE staged (
    job_id              $text NOT NULL REFERENCES jobs (job_id) ON DELETE CASCADE,
    -- Of the source in the plan of the job, from 0.
    position            BIGINT NOT NULL,
    source_id           $text NOT NULL,
    -- The file of the source that was read; it must still be that one in the end.
    source_attachment   $text NOT NULL,
    attachment_uuid     $text NOT NULL,
    size                BIGINT NOT NULL,
    -- JSON: see index.staging.
    document            $text NOT NULL,
    PRIMARY KEY (job_id, position)
) $clustered;

CREATE INDEX staged_attachment ON staged (attachment_uuid);
