//! How many durable commits the metadata store takes, beside what SQLite itself does with the same rows.
//!
//! One commit is one new file with two chunks. `raw` writes the rows that such commits leave, 64 of them per transaction, from one
//! thread with prepared statements and the connection settings of the store; it judges nothing. `db` goes through `Db::commit` from
//! 1, 16 and 64 callers, each a device of its own in one of 16 workspaces. Every round uses fresh files, and the order within a
//! round is fixed, so that both see the same disk.
//!
//! `cargo run --release -p stacksync-server --example bench_db [ROUNDS [DIRECTORY]]`
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a measurement that fails shall stop")]

use rusqlite::{Connection, TransactionBehavior, params};
use stacksync_core::commit::{ItemCommit, Verdict};
use stacksync_core::values::{
    Body, ChunkName, ChunkRef, DeviceId, FileBody, ItemId, ModifiedAt, Name, Place, Status, UserId, Version, WorkspaceId,
};
use stacksync_server::db::{Commit, Db, DbStats, NewDevice, NewUser, PlaceRule, UnixMs};
use std::path::Path;
use std::time::{Duration, Instant};

const USERS: usize = 16;
const RAW_BATCH: usize = 64;
const RAW_COMMITS: usize = 40_000;
/// Callers, and commits of all of them together.
const LOADS: [(usize, usize); 3] = [(1, 2_000), (16, 20_000), (64, 40_000)];

/// Numbers that follow from a seed (SplitMix64).
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

fn new_file(dice: &mut Dice, number: usize) -> ItemCommit {
    let chunks = [dice.next(), dice.next()].map(|seed| ChunkRef { name: ChunkName::of(&seed.to_be_bytes()), len: 2_048 });
    ItemCommit {
        id: ItemId::from_random(dice.next()),
        version: Version::FIRST,
        status: Status::New,
        place: Place { parent: None, name: Name::new(&format!("Document {number}.txt")).unwrap() },
        body: Body::File(FileBody { size: 4_096, chunks: chunks.into(), adler32: 77, executable: false }),
        modified: ModifiedAt(1_700_000_000_000_000_000),
    }
}

/// Rows per second that SQLite takes, as commits.
fn raw(dir: &Path) -> f64 {
    let file = dir.join("raw.db");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    // The store makes the schema, so it is the same.
    let db = Db::open(&file).unwrap();
    runtime.block_on(members(&db, USERS));
    drop(db);
    let mut connection = Connection::open(&file).unwrap();
    connection.set_db_config(rusqlite::config::DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true).unwrap();
    for (pragma, value) in [("synchronous", 2), ("foreign_keys", 1), ("cache_size", -65_536), ("wal_autocheckpoint", 4_000)] {
        connection.pragma_update(None, pragma, value).unwrap();
    }
    let mut dice = Dice(1);
    let items: Vec<_> = (0..RAW_COMMITS).map(|number| new_file(&mut dice, number)).collect();
    let device = [7_u8; 16];
    let started = Instant::now();
    for (batch, items) in items.chunks(RAW_BATCH).enumerate() {
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate).unwrap();
        for (index, item) in items.iter().enumerate() {
            let number = batch * RAW_BATCH + index + 1;
            raw_commit(&transaction, item, number, &device);
        }
        let last = ((batch + 1) * RAW_BATCH) as i64;
        let users = USERS as i64;
        transaction.execute("UPDATE meta SET last_notice = ?1", [last]).unwrap();
        for workspace in 1..=users {
            let sql = "UPDATE workspaces SET revision = ?2 WHERE number = ?1";
            transaction.prepare_cached(sql).unwrap().execute([workspace, last / users]).unwrap();
            let sql = "UPDATE users SET quota_used = ?2 WHERE number = ?1";
            transaction.prepare_cached(sql).unwrap().execute([workspace, last * 4_096 / users]).unwrap();
        }
        transaction.commit().unwrap();
    }
    RAW_COMMITS as f64 / started.elapsed().as_secs_f64()
}

fn raw_commit(connection: &Connection, item: &ItemCommit, number: usize, device: &[u8; 16]) {
    let (workspace, revision, number) = ((number % USERS) as i64 + 1, (number / USERS) as i64 + 1, number as i64);
    let body: Vec<u8> =
        item.body.chunks().iter().flat_map(|chunk| [&chunk.name.as_bytes()[..], &chunk.len.to_be_bytes()].concat()).collect();
    let sql = "INSERT INTO items (workspace, revision, id, version, status, kind, parent, name, name_key, modified, adler32, executable, \
               device, body) VALUES (?1, ?2, ?3, 1, 0, 0, 0, ?4, ?5, ?6, 77, 0, ?7, ?8)";
    let name = item.place.name.as_str();
    let key = item.place.name.key();
    let row = params![workspace, revision, item.id.get(), name, key.as_str(), item.modified.0, device, body];
    connection.prepare_cached(sql).unwrap().execute(row).unwrap();
    let sql = "INSERT INTO answers (device, request, fingerprint, answered_at, answer) VALUES (?1, ?2, ?3, 1700000000000, ?4)";
    let row = params![device, item.id.get().wrapping_mul(31), [9_u8; 16], [0_u8; 35]];
    connection.prepare_cached(sql).unwrap().execute(row).unwrap();
    let sql = "INSERT INTO notices (id, kind, workspace, subject, from_revision, to_revision, request_id) VALUES (?1, 1, ?2, ?3, ?4, ?5, ?6)";
    let row = params![number, device, device, revision - 1, revision, format!("{:032x}", item.id.get())];
    connection.prepare_cached(sql).unwrap().execute(row).unwrap();
}

type Member = (UserId, DeviceId, WorkspaceId);

/// So many devices, of [`USERS`] users in turn.
async fn members(db: &Db, devices: usize) -> Vec<Member> {
    let mut users = Vec::new();
    for number in 0..USERS {
        let email = format!("user{number}@example.org");
        let new = NewUser { name: format!("user{number}"), email, quota_limit: 1 << 50, password_phc: None };
        let user = db.add_user(new).await.unwrap();
        users.push((user.id, db.workspaces_of(user.id).await.unwrap()[0].id));
    }
    let mut members = Vec::new();
    for number in 0..devices {
        let (user, workspace) = users[number % USERS];
        let secret = [number as u8; 32];
        db.add_join_code(user, secret, UnixMs(i64::MAX)).await.unwrap();
        let (_, device) = db.redeem_join_code(secret, NewDevice::default(), secret).await.unwrap();
        members.push((user, device.id, workspace));
    }
    members
}

/// Commits per second, and how long each took.
async fn through_db(file: &Path, callers: usize, commits: usize) -> (f64, Vec<Duration>, DbStats) {
    let db = Db::open(file).unwrap();
    let members = members(&db, callers).await;
    let mut outbox = db.outbox().unwrap();
    let publisher = {
        let db = db.clone();
        tokio::spawn(async move {
            let mut told = 0;
            while told < commits {
                let notices = outbox.next_many(1_024).await.unwrap();
                told += notices.len();
                db.outbox_done(notices.last().unwrap().id).await.unwrap();
            }
        })
    };
    let prepared: Vec<Vec<Commit>> = members
        .iter()
        .enumerate()
        .map(|(caller, member)| prepare(&mut Dice(caller as u64), *member, caller * commits, commits / callers))
        .collect();
    let started = Instant::now();
    let tasks: Vec<_> = prepared.into_iter().map(|commits| tokio::spawn(call(db.clone(), commits))).collect();
    let mut took = Vec::with_capacity(commits);
    for task in tasks {
        took.extend(task.await.unwrap());
    }
    let rate = took.len() as f64 / started.elapsed().as_secs_f64();
    let stats = db.stats();
    publisher.abort();
    (rate, took, stats)
}

fn prepare(dice: &mut Dice, (user, device, workspace): Member, first: usize, count: usize) -> Vec<Commit> {
    let commit = |number| {
        let item = new_file(dice, number);
        let present = item.body.chunks().iter().map(|chunk| chunk.name).collect();
        let id = format!("{:032x}", dice.next());
        Commit { workspace, user, device, id, items: vec![item], present, place_rule: PlaceRule::Full }
    };
    (first..first + count).map(commit).collect()
}

async fn call(db: Db, commits: Vec<Commit>) -> Vec<Duration> {
    let mut took = Vec::with_capacity(commits.len());
    for commit in commits {
        let asked = Instant::now();
        let outcome = db.commit(commit).await.unwrap();
        took.push(asked.elapsed());
        assert!(matches!(outcome.answer.verdicts[..], [Verdict::Accepted(_)]));
    }
    took
}

fn median(mut numbers: Vec<f64>) -> f64 {
    numbers.sort_unstable_by(f64::total_cmp);
    numbers[numbers.len() / 2]
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let rounds: usize = arguments.next().map_or(5, |text| text.parse().expect("a number of rounds"));
    let base = arguments.next().unwrap_or_else(|| ".".into());
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let mut raw_rates = Vec::new();
    let mut loads = LOADS.map(|(callers, commits)| (callers, commits, Vec::new(), Vec::new(), DbStats::default()));
    for round in 0..rounds {
        let dir = tempfile::tempdir_in(&base).unwrap();
        raw_rates.push(raw(dir.path()));
        println!("round {round}: raw {:.0}/s", raw_rates[round]);
        for (callers, commits, rates, took, last) in &mut loads {
            let file = dir.path().join(format!("db{callers}.db"));
            let (rate, times, stats) = runtime.block_on(through_db(&file, *callers, *commits));
            println!("round {round}: {callers} callers {rate:.0}/s");
            rates.push(rate);
            took.extend(times);
            *last = stats;
        }
    }
    let raw_rate = median(raw_rates);
    println!("\nraw SQLite, {RAW_BATCH} per transaction: {raw_rate:.0} commits/s (median of {rounds})");
    for (callers, _, rates, mut took, stats) in loads {
        let rate = median(rates);
        took.sort_unstable();
        let at = |share: usize| took[(took.len() - 1) * share / 1_000].as_secs_f64() * 1_000.0;
        println!(
            "{callers:>2} callers: {rate:>6.0} commits/s, {:.2} of raw; p50 {:.2} ms, p99 {:.2} ms, p99.9 {:.2} ms; {:.1} per transaction",
            rate / raw_rate,
            at(500),
            at(990),
            at(999),
            stats.jobs as f64 / stats.batches.max(1) as f64,
        );
    }
}
