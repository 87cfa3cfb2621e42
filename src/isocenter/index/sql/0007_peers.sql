-- Peers: servers with this REST API that are called. Documents are JSON, and hold passwords.

CREATE TABLE remote_peers (
    name                $text PRIMARY KEY,
    document            $text NOT NULL
);
