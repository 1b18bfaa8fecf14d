-- Format 1. Ids that leave the service are 16-byte blobs (items: 64-bit integers); inside, rows point to each other by small numbers.
-- Moments are milliseconds since 1970, sizes are bytes.

CREATE TABLE meta (
    only INTEGER PRIMARY KEY CHECK (only = 1),
    epoch BLOB NOT NULL,
    last_notice INTEGER NOT NULL
) STRICT;

CREATE TABLE users (
    number INTEGER PRIMARY KEY,
    id BLOB NOT NULL UNIQUE,
    name TEXT NOT NULL,
    name_key TEXT NOT NULL UNIQUE,
    email TEXT NOT NULL UNIQUE,
    quota_limit INTEGER NOT NULL CHECK (quota_limit >= 0),
    quota_used INTEGER NOT NULL DEFAULT 0 CHECK (quota_used >= 0),
    password TEXT,
    disabled INTEGER NOT NULL DEFAULT 0,
    created_at INTEGER NOT NULL
) STRICT;

CREATE TABLE devices (
    number INTEGER PRIMARY KEY,
    id BLOB NOT NULL UNIQUE,
    user INTEGER NOT NULL REFERENCES users,
    token_hash BLOB NOT NULL UNIQUE,
    name TEXT NOT NULL,
    os TEXT NOT NULL,
    app_version TEXT NOT NULL,
    ip TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    seen_at INTEGER NOT NULL,
    revoked INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX devices_of ON devices (user);

-- A code is deleted when it is used.
CREATE TABLE join_codes (
    code_hash BLOB PRIMARY KEY,
    user INTEGER NOT NULL REFERENCES users,
    expires_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE workspaces (
    number INTEGER PRIMARY KEY,
    id BLOB NOT NULL UNIQUE,
    owner INTEGER NOT NULL REFERENCES users,
    is_default INTEGER NOT NULL,
    is_encrypted INTEGER NOT NULL DEFAULT 0,
    revision INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX workspaces_of ON workspaces (owner);

CREATE TABLE memberships (
    user INTEGER NOT NULL REFERENCES users,
    workspace INTEGER NOT NULL REFERENCES workspaces,
    name TEXT NOT NULL,
    name_key TEXT NOT NULL,
    parent INTEGER,
    PRIMARY KEY (user, workspace),
    UNIQUE (user, name_key)
) STRICT, WITHOUT ROWID;
CREATE INDEX members ON memberships (workspace);

-- The latest version of every item, in the order of the workspace's revisions: a page of changes is one range, a new item is
-- appended. A new version takes the item to the end. `parent` is 0 at the top; `name_key` is null while the item is deleted;
-- `body` is the packed chunk list of a file or the target of a link.
CREATE TABLE items (
    workspace INTEGER NOT NULL REFERENCES workspaces,
    revision INTEGER NOT NULL,
    id INTEGER NOT NULL,
    version INTEGER NOT NULL,
    status INTEGER NOT NULL,
    kind INTEGER NOT NULL,
    parent INTEGER NOT NULL,
    name TEXT NOT NULL,
    name_key TEXT,
    modified INTEGER NOT NULL,
    adler32 INTEGER NOT NULL,
    executable INTEGER NOT NULL,
    device BLOB NOT NULL,
    body BLOB NOT NULL,
    PRIMARY KEY (workspace, revision)
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX items_by_id ON items (id);
CREATE UNIQUE INDEX live_names ON items (workspace, parent, name_key) WHERE name_key IS NOT NULL;
CREATE INDEX live_folders ON items (parent) WHERE kind = 1 AND name_key IS NOT NULL;

-- What `items` held before: the history.
CREATE TABLE past_versions (
    id INTEGER NOT NULL,
    version INTEGER NOT NULL,
    revision INTEGER NOT NULL,
    status INTEGER NOT NULL,
    kind INTEGER NOT NULL,
    parent INTEGER NOT NULL,
    name TEXT NOT NULL,
    modified INTEGER NOT NULL,
    adler32 INTEGER NOT NULL,
    executable INTEGER NOT NULL,
    device BLOB NOT NULL,
    body BLOB NOT NULL,
    PRIMARY KEY (id, version)
) STRICT, WITHOUT ROWID;

-- Answers to commits, for retries. `request` is a hash of the request id, `fingerprint` one of the items.
CREATE TABLE answers (
    number INTEGER PRIMARY KEY,
    device BLOB NOT NULL,
    request INTEGER NOT NULL,
    fingerprint BLOB NOT NULL,
    answered_at INTEGER NOT NULL,
    answer BLOB NOT NULL
) STRICT;
CREATE UNIQUE INDEX answers_by_request ON answers (device, request);

-- What is still to be told. `subject` is the committing device (kind 1) or the user to tell (kind 2).
CREATE TABLE notices (
    id INTEGER PRIMARY KEY,
    kind INTEGER NOT NULL,
    workspace BLOB NOT NULL,
    subject BLOB NOT NULL,
    from_revision INTEGER,
    to_revision INTEGER,
    request_id TEXT,
    name TEXT,
    parent INTEGER
) STRICT;
