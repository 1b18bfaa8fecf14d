-- Format 2. Small chunks lie together in bundles.

-- A bundle at the chunk storage. One that is retired is not looked into any more, and removed some time later.
CREATE TABLE bundles (
    number INTEGER PRIMARY KEY,
    workspace INTEGER NOT NULL REFERENCES workspaces,
    name BLOB NOT NULL,
    bytes INTEGER NOT NULL,
    made_at INTEGER NOT NULL,
    retired_at INTEGER,
    UNIQUE (workspace, name)
) STRICT;

-- Where in which bundle a chunk is: `start` and `bytes` from its beginning.
CREATE TABLE bundled (
    workspace INTEGER NOT NULL,
    chunk BLOB NOT NULL,
    bundle INTEGER NOT NULL,
    start INTEGER NOT NULL,
    bytes INTEGER NOT NULL,
    PRIMARY KEY (workspace, chunk, bundle)
) STRICT, WITHOUT ROWID;
