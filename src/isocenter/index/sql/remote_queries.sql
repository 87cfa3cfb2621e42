-- Queries to remote modalities, with their answers.

-- name: insert_remote_query
INSERT INTO remote_queries (query_id, created_at, document)
VALUES (:query_id, :created_at, :document);

-- name: insert_remote_answer
INSERT INTO remote_answers (query_id, number, content) VALUES (:query_id, :number, :content);

-- name: list_remote_queries
SELECT query_id FROM remote_queries ORDER BY query_id;

-- name: select_remote_query
SELECT document, (SELECT count(*) FROM remote_answers a WHERE a.query_id = q.query_id)
FROM remote_queries q WHERE query_id = :query_id;

-- name: list_remote_answers
SELECT content FROM remote_answers
WHERE query_id = :query_id AND number >= :since ORDER BY number LIMIT :limit;

-- name: list_excess_queries
SELECT query_id FROM remote_queries
WHERE created_at < :before
   OR query_id IN (SELECT query_id FROM remote_queries
                   ORDER BY created_at DESC, query_id LIMIT 1000000 OFFSET :kept);

-- name: delete_remote_answers
DELETE FROM remote_answers WHERE query_id IN :query_ids[text];

-- name: delete_remote_queries
DELETE FROM remote_queries WHERE query_id IN :query_ids[text];
