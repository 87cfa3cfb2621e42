-- Entries of the modality worklist that clients manage. Times are microseconds since 1970, UTC.
--
-- `study_uid` is normalized as the identifiers of resources; `content` is a DICOM file in base64.

CREATE TABLE worklists (
    worklist_id         $text PRIMARY KEY,
    created_at          BIGINT NOT NULL,
    updated_at          BIGINT NOT NULL,
    study_uid           $text NOT NULL,
    content             $text NOT NULL
);

CREATE INDEX worklists_age ON worklists (created_at);
CREATE INDEX worklists_study ON worklists (study_uid);
