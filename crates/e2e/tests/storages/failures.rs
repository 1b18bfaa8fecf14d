//! Storages that refuse, break off, lie or hand out something else: people are told in one sentence which storage it is and what happens
//! next, no device takes it for synced, and when it is over everything arrives.

use crate::stories::{Stage, fresh, write};
use stacksync_e2e::device::{Device, wait_until_same};
use stacksync_e2e::mischief::{Deed, Mischief};
use stacksync_e2e::random::Random;
use stacksync_e2e::storage::{Kind, Storage};
use stacksync_e2e::tree::assert_same;
use stacksync_e2e::wait;
use std::time::{Duration, Instant};

/// What goes wrong with an upload, and a word of the sentence.
const PUTS: [(Deed, &str); 12] = [
    (Deed::Answer(401, "", "no ticket"), "did not accept the ticket: 401 Unauthorized (no ticket)"),
    (Deed::Answer(403, "", "<Error><Code>AccessDenied</Code></Error>"), "did not accept the ticket: 403 Forbidden (AccessDenied)"),
    (Deed::Answer(404, "", "NoSuchBucket"), "has no container for this folder"),
    (Deed::Answer(409, "", "<Error><Code>OperationAborted</Code></Error>"), "answered 409 Conflict (OperationAborted)"),
    (Deed::Answer(413, "", "over quota"), "is full, nothing is lost"),
    (Deed::Answer(429, "", "too many"), "answered 429 Too Many Requests (too many)"),
    (Deed::Answer(500, "", "oh no"), "answered 500 Internal Server Error (oh no)"),
    (Deed::Answer(503, "", ""), "answered 503 Service Unavailable;"),
    (Deed::Answer(301, "Location: http://127.0.0.1:9/\r\n", ""), "sends this device elsewhere"),
    (Deed::Answer(405, "", ""), "refuses it: 405 Method Not Allowed"),
    (Deed::CutRequest, "broke the connection"),
    // Nobody at the storage knows it: the service finds out at the commit.
    (Deed::Lie, "chunks"),
];

/// The same for downloads. A chunk that is not what its name says is the storage's fault whatever it answers.
const GETS: [(Deed, &str); 7] = [
    (Deed::Answer(403, "", "<Error><Code>AccessDenied</Code></Error>"), "did not accept the ticket: 403 Forbidden (AccessDenied)"),
    (Deed::Answer(404, "", ""), "does not have it"),
    (Deed::Answer(429, "", "too many"), "answered 429 Too Many Requests (too many)"),
    (Deed::Answer(500, "", "oh no"), "answered 500 Internal Server Error (oh no)"),
    (Deed::CutAnswer, "broke the connection"),
    (Deed::ShortAnswer, "damaged"),
    (Deed::FlipAnswer, "damaged"),
];

/// The storage as devices reach it.
fn for_devices(storage: Storage, address: &str) -> Storage {
    let key = if storage.kind() == Kind::S3 { "s3.public_endpoint" } else { "swift.public_url" };
    storage.with(key, address)
}

/// Just too long to travel with others: one object each.
const FILE_BYTES: usize = 132_000;

/// A file for each deed, and what it holds.
fn files(device: &Device, prefix: &str, deeds: usize, random: &mut Random) -> Vec<(String, Vec<u8>)> {
    let files: Vec<_> = (0..deeds).map(|number| (format!("{prefix}-{number:02}"), random.bytes(FILE_BYTES))).collect();
    files.iter().for_each(|(name, content)| write(&device.path(name), content));
    files
}

/// The device that syncs tells of all these files, in all these words.
fn must_tell(device: &Device, files: &[(String, Vec<u8>)], words: &[&str]) {
    wait::until("the device tells what is wrong", || {
        let told = device.problems();
        let lacking: Vec<&str> =
            files.iter().map(|(name, _)| name.as_str()).chain(words.iter().copied()).filter(|word| !told.contains(word)).collect();
        if lacking.is_empty() { Ok(()) } else { Err(format!("{lacking:?} is not in {told}")) }
    });
}

pub fn whatever_the_storage_does_the_file_waits_and_people_are_told(kind: Kind) {
    let storage = fresh(kind).with("storage.relay", "off");
    let mischief = Mischief::before(storage.own_address());
    let place = format!("the storage at {} ", mischief.address());
    let stage = Stage::new(for_devices(storage, &format!("http://{}", mischief.address())));
    let (mut a, mut b) = (stage.device("a"), stage.device("b"));
    let mut random = Random::from_environment("storages: mischief");
    let words = |cases: &[(Deed, &'static str)]| cases.iter().map(|(_, word)| *word).collect::<Vec<_>>();
    let deeds = |cases: &[(Deed, &str)]| cases.iter().map(|(deed, _)| deed.clone()).collect::<Vec<_>>();

    mischief.plan("PUT", deeds(&PUTS));
    let up = files(&a, "up", PUTS.len(), &mut random);
    a.start();
    must_tell(&a, &up, &[&words(&PUTS)[..], &[&place, "it is tried again"]].concat());
    // Nobody is told of a version whose bytes are not there, and nobody's file is touched.
    b.sync_once();
    assert_eq!(std::fs::read_dir(b.root()).unwrap().count(), 0, "something was reported as synced");
    up.iter().for_each(|(name, content)| assert_eq!(&std::fs::read(a.path(name)).unwrap(), content, "{name}"));
    mischief.behave();
    b.start();
    wait_until_same(&[&a, &b]);
    b.stop();

    let down = files(&a, "down", GETS.len(), &mut random);
    a.stop();
    a.sync_once();
    mischief.plan("GET", deeds(&GETS));
    b.start();
    must_tell(&b, &down, &[&words(&GETS)[..], &[&place, "it is tried again"]].concat());
    down.iter().for_each(|(name, _)| assert!(!b.path(name).exists(), "{name}: something else than the file is there"));
    mischief.behave();
    wait_until_same(&[&a, &b]);
}

pub fn tickets_that_end_in_the_middle_of_a_transfer_are_replaced(kind: Kind) {
    let storage = fresh(kind).with("storage.relay", "off");
    let mischief = Mischief::before(storage.own_address());
    let storage = for_devices(storage, &format!("http://{}", mischief.address()));
    let stage = Stage::with_settings(storage, &[("STACKSYNC_TICKET_LIFETIME", "4s")]);
    let (a, b) = (stage.device("a"), stage.device("b"));
    // One request at a time, each of two seconds: others wait longer than their tickets are good for.
    let mut random = Random::from_environment("storages: expiry");
    (0..6).for_each(|number| write(&a.path(&number.to_string()), random.bytes(200_000)));
    let started = Instant::now();
    a.must(&["sync", "--once", "--limit-up", "100KiB/s"]);
    b.must(&["sync", "--once", "--limit-down", "100KiB/s"]);
    // Twelve seconds each, less what is made up for at the beginning.
    assert!(started.elapsed() >= Duration::from_secs(22), "faster than it may: {:?}", started.elapsed());
    assert_same(a.root(), b.root());
    let chunks = stage.server.admin(&["storage", "scrub"])["checked"].as_u64().unwrap() as usize;
    assert!(mischief.count("PUT") > chunks, "no ticket ended: {} puts of {chunks} chunks", mischief.count("PUT"));
}

#[test]
fn a_storage_that_has_no_address_is_told_and_waited_for() {
    let storage = fresh(Kind::S3).with("storage.relay", "off");
    let stage = Stage::new(for_devices(storage, "http://storage.invalid:8080"));
    let a = stage.device("a");
    write(&a.path("late"), Random::from_environment("storages: no address").bytes(60_000));
    let said = a.must_fail(&["sync", "--once"]);
    for word in ["late", "the storage at storage.invalid:8080 cannot be reached", "it is tried again"] {
        assert!(said.contains(word), "'{word}' is not in:\n{said}");
    }
}
