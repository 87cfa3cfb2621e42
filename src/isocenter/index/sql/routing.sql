-- Rules of routing, and what they look at.

-- name: list_routing_rules
SELECT name, document FROM routing_rules ORDER BY name;

-- name: set_routing_rule
INSERT INTO routing_rules (name, document) VALUES (:name, :document)
ON CONFLICT (name) DO UPDATE SET document = excluded.document;

-- name: delete_routing_rule
DELETE FROM routing_rules WHERE name = :name;

-- name: read_property
SELECT value FROM properties WHERE name = :name;

-- name: delete_property
DELETE FROM properties WHERE name = :name;

-- name: read_last_change
SELECT last_change FROM archive;

-- name: list_routed_of_studies
SELECT s.public_id, s.public_id, t.public_id, s.main_tags, t.main_tags, p.main_tags, s.metadata
FROM resources t
JOIN resources s ON s.parent_id = t.internal_id
JOIN resources p ON p.internal_id = t.parent_id
WHERE t.level = 1 AND t.public_id IN :public_ids[text];

-- name: list_routed_series
SELECT s.public_id, s.public_id, t.public_id, s.main_tags, t.main_tags, p.main_tags, s.metadata
FROM resources s
JOIN resources t ON t.internal_id = s.parent_id
JOIN resources p ON p.internal_id = t.parent_id
WHERE s.level = 2 AND s.public_id IN :public_ids[text];

-- name: list_routed_instances
SELECT i.public_id, s.public_id, t.public_id, s.main_tags, t.main_tags, p.main_tags, i.metadata
FROM resources i
JOIN resources s ON s.internal_id = i.parent_id
JOIN resources t ON t.internal_id = s.parent_id
JOIN resources p ON p.internal_id = t.parent_id
WHERE i.level = 3 AND i.public_id IN :public_ids[text];

-- name: list_fingerprints
SELECT public_id, fingerprint FROM routed WHERE rule = :rule AND public_id IN :public_ids[text];

-- name: set_fingerprint
INSERT INTO routed (public_id, rule, fingerprint) VALUES (:public_id, :rule, :fingerprint)
ON CONFLICT (public_id, rule) DO UPDATE SET fingerprint = excluded.fingerprint;

-- name: delete_fingerprints_of_rule
DELETE FROM routed WHERE rule = :rule;

-- name: has_fingerprints
SELECT 1 FROM routed LIMIT 1;

-- name: delete_fingerprints_below
DELETE FROM routed WHERE public_id IN (
    WITH RECURSIVE below (internal_id, public_id) AS (
        SELECT internal_id, public_id FROM resources WHERE internal_id IN :roots[bigint]
        UNION ALL
        SELECT r.internal_id, r.public_id FROM below b JOIN resources r ON r.parent_id = b.internal_id
    )
    SELECT public_id FROM below);

-- A resource may have been deleted meanwhile, and the rule may have sent something newer.
-- name: add_fingerprint
INSERT INTO routed (public_id, rule, fingerprint)
SELECT r.public_id, :rule, :fingerprint FROM resources r WHERE r.public_id = :public_id
ON CONFLICT (public_id, rule) DO NOTHING;

-- name: delete_fingerprint
DELETE FROM routed WHERE public_id = :public_id AND rule = :rule AND fingerprint = :fingerprint;

-- name: list_rules_with_fingerprints
SELECT DISTINCT rule FROM routed;
