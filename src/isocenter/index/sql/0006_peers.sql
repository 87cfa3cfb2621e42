-- Peers: servers with this REST API that are called. Documents are JSON, and hold passwords.
-- And what routing remembers, so that nothing goes round in circles.

CREATE TABLE remote_peers (
    name                $text PRIMARY KEY,
    document            $text NOT NULL
);

-- What a routing rule has sent already: the resource that was looked at, and a sum of its content and
-- its destination. Not a key of resources, since it outlives their being replaced.
CREATE TABLE routed (
    public_id           $text NOT NULL,
    rule                $text NOT NULL,
    fingerprint         $text NOT NULL,
    PRIMARY KEY (public_id, rule)
) $clustered;
