-- Format 5. The notices of all commits of one transaction are one row, which no index but its key knows; a workspace names its last
-- one and who wrote it. What is told of workspaces themselves stays in `notices`, and so does what instances of an earlier format write,
-- which go on.

CREATE TABLE commit_notices (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    instance uuid,
    written_at timestamptz NOT NULL DEFAULT now(),
    workspaces uuid[] NOT NULL,
    devices uuid[] NOT NULL,
    from_revisions bigint[] NOT NULL,
    to_revisions bigint[] NOT NULL,
    request_ids text[] NOT NULL
) WITH (toast_tuple_target = 8160);
-- It lives for a moment only: what squeezes it costs more than it saves.
ALTER TABLE commit_notices ALTER COLUMN workspaces SET STORAGE EXTERNAL, ALTER COLUMN devices SET STORAGE EXTERNAL,
    ALTER COLUMN from_revisions SET STORAGE EXTERNAL, ALTER COLUMN to_revisions SET STORAGE EXTERNAL,
    ALTER COLUMN request_ids SET STORAGE EXTERNAL;

ALTER TABLE workspaces ADD COLUMN notice bigint, ADD COLUMN notice_by uuid;

DROP INDEX notices_of;
