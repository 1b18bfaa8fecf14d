//! The tables as both stores have them: names, columns, and rows that belong to neither.

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Column {
    Int,
    Small,
    Flag,
    Text,
    Uuid,
    Bytes,
}

/// A value of a row. Flags are numbers, uuids are bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cell {
    Null,
    Int(i64),
    Text(String),
    Bytes(Vec<u8>),
}

/// A row, in the order of its table's columns.
pub type Row = Vec<Cell>;

/// A table.
pub struct Table {
    pub name: &'static str,
    /// Name in SQLite, name in PostgreSQL, kind.
    pub columns: &'static [(&'static str, &'static str, Column)],
    /// Names of the columns by which rows are sorted, as in SQLite and as in PostgreSQL.
    pub order: (&'static str, &'static str),
    /// Whether PostgreSQL numbers its rows by the first column.
    pub numbered: bool,
}

macro_rules! columns {
    ($($sqlite:literal $(/ $postgres:literal)? : $kind:ident),+ $(,)?) => {
        &[$(($sqlite, columns!(@ $sqlite $($postgres)?), Column::$kind)),+]
    };
    (@ $sqlite:literal) => { $sqlite };
    (@ $sqlite:literal $postgres:literal) => { $postgres };
}

/// All tables but `meta`, each after those that it refers to.
pub static TABLES: [Table; 11] = [
    Table {
        name: "users",
        columns: columns![
            "number": Int, "id": Uuid, "name": Text, "name_key": Text, "email": Text, "quota_limit": Int, "quota_used": Int,
            "password": Text, "disabled": Flag, "created_at": Int,
        ],
        order: ("number", "number"),
        numbered: true,
    },
    Table {
        name: "devices",
        columns: columns![
            "number": Int, "id": Uuid, "user" / "owner": Int, "token_hash": Bytes, "name": Text, "os": Text, "app_version": Text,
            "ip": Text, "created_at": Int, "seen_at": Int, "revoked": Flag,
        ],
        order: ("number", "number"),
        numbered: true,
    },
    Table {
        name: "join_codes",
        columns: columns!["code_hash": Bytes, "user" / "owner": Int, "expires_at": Int],
        order: ("code_hash", "code_hash"),
        numbered: false,
    },
    Table {
        name: "workspaces",
        columns: columns![
            "number": Int, "id": Uuid, "owner": Int, "is_default": Flag, "is_encrypted": Flag, "revision": Int,
        ],
        order: ("number", "number"),
        numbered: true,
    },
    Table {
        name: "memberships",
        columns: columns!["user" / "member": Int, "workspace": Int, "name": Text, "name_key": Text, "parent": Int],
        order: ("user, workspace", "member, workspace"),
        numbered: false,
    },
    Table {
        name: "items",
        columns: columns![
            "workspace": Int, "revision": Int, "id": Int, "version": Int, "status": Small, "kind": Small, "parent": Int, "name": Text,
            "name_key": Text, "modified": Int, "adler32": Int, "executable": Flag, "device": Uuid, "body": Bytes,
        ],
        order: ("workspace, revision", "workspace, revision"),
        numbered: false,
    },
    Table {
        name: "past_versions",
        columns: columns![
            "id": Int, "version": Int, "revision": Int, "status": Small, "kind": Small, "parent": Int, "name": Text, "modified": Int,
            "adler32": Int, "executable": Flag, "device": Uuid, "body": Bytes,
        ],
        order: ("id, version", "id, version"),
        numbered: false,
    },
    Table {
        name: "bundles",
        columns: columns![
            "number": Int, "workspace": Int, "name": Bytes, "bytes": Int, "made_at": Int, "retired_at": Int,
        ],
        order: ("number", "number"),
        numbered: true,
    },
    Table {
        name: "bundled",
        columns: columns!["workspace": Int, "chunk": Bytes, "bundle": Int, "start": Int, "bytes": Int],
        order: ("workspace, chunk, bundle", "workspace, chunk, bundle"),
        numbered: false,
    },
    Table {
        name: "answers",
        columns: columns!["device": Uuid, "request": Int, "fingerprint": Bytes, "answered_at": Int, "answer": Bytes],
        // SQLite numbers them by age.
        order: ("number", "answered_at, device, request"),
        numbered: false,
    },
    Table {
        name: "notices",
        columns: columns![
            "id": Int, "kind": Small, "workspace": Uuid, "subject": Uuid, "from_revision": Int, "to_revision": Int, "request_id": Text,
            "name": Text, "parent": Int,
        ],
        order: ("id", "id"),
        numbered: true,
    },
];

/// A number that hardly any other row has.
pub fn checksum(row: &Row) -> u128 {
    let mut hasher = blake3::Hasher::new();
    for cell in row {
        match cell {
            Cell::Null => hasher.update(&[0]),
            Cell::Int(number) => hasher.update(&[1]).update(&number.to_be_bytes()),
            Cell::Text(text) => hasher.update(&[2]).update(&(text.len() as u64).to_be_bytes()).update(text.as_bytes()),
            Cell::Bytes(bytes) => hasher.update(&[3]).update(&(bytes.len() as u64).to_be_bytes()).update(bytes),
        };
    }
    u128::from_be_bytes(*hasher.finalize().as_bytes().first_chunk().unwrap_or(&[0; 16]))
}
