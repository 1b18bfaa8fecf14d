-- Format 2. Many instances: what they share beside the metadata, and what they say of themselves. Instances of format 1 that run
-- already go on.

-- What the service signs and proves itself with, whichever instance does: made once.
CREATE TABLE secrets (
    name text PRIMARY KEY,
    value bytea NOT NULL
);

-- Where its devices reach it, and how far its clock is ahead of the database's.
ALTER TABLE instances ADD COLUMN address text NOT NULL DEFAULT '', ADD COLUMN clock_ahead_ms bigint NOT NULL DEFAULT 0;

-- By the database's clock: how long a notice has been waiting.
ALTER TABLE notices ADD COLUMN written_at timestamptz NOT NULL DEFAULT now();
