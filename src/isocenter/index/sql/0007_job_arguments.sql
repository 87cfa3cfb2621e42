-- Long arguments of jobs have rows of their own, so that saving a step does not pass over them; then
-- `jobs.arguments` is empty.
CREATE TABLE job_arguments (
    job_id              $text PRIMARY KEY REFERENCES jobs (job_id) ON DELETE CASCADE,
    arguments           $text NOT NULL
);
