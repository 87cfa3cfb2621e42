-- What the server knows of remote systems: modalities, queries and their answers, reports of storage
-- commitment, routing rules. Times are microseconds since 1970, UTC; documents are JSON.

CREATE TABLE remote_modalities (
    name                $text PRIMARY KEY,
    document            $text NOT NULL
);

CREATE TABLE remote_queries (
    query_id            $text PRIMARY KEY,
    created_at          BIGINT NOT NULL,
    document            $text NOT NULL
);

CREATE INDEX remote_queries_age ON remote_queries (created_at, query_id);

-- `content` is a DICOM file in base64: the answer as it came.
CREATE TABLE remote_answers (
    query_id            $text NOT NULL REFERENCES remote_queries (query_id) ON DELETE CASCADE,
    number              BIGINT NOT NULL,
    content             $text NOT NULL,
    PRIMARY KEY (query_id, number)
) $clustered;

CREATE TABLE commitments (
    transaction_uid     $text PRIMARY KEY,
    created_at          BIGINT NOT NULL,
    remote_aet          $text NOT NULL,
    -- Pending, Success or Failure.
    status              $text NOT NULL,
    document            $text NOT NULL
);

CREATE INDEX commitments_age ON commitments (created_at, transaction_uid);

CREATE TABLE routing_rules (
    name                $text PRIMARY KEY,
    document            $text NOT NULL
);
