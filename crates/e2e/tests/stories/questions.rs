//! Everything that a device decides can be asked for, as text and as JSON.

use crate::write;
use stacksync_e2e::world::World;

#[test]
fn plan_why_log_and_status_answer() {
    let (world, [a, b]) = World::with_devices();
    write(&a.path("doc.txt"), "text");
    world.settle(&[&a, &b]);
    write(&a.path("coming.txt"), "not synced yet");
    let plan = a.json(&["plan"]).to_string();
    assert!(plan.contains("coming.txt"), "{plan}");
    assert!(!plan.contains("doc.txt"), "what is in sync is not in the plan: {plan}");
    assert!(a.ask(&["plan"]).contains("coming.txt"));
    assert!(b.tree().files() == 1, "asking for a plan does nothing");

    let coming = a.path("coming.txt").display().to_string();
    let doc = a.path("doc.txt").display().to_string();
    for question in [vec!["why", &coming], vec!["why", &doc], vec!["log"], vec!["log", &doc], vec!["status"]] {
        assert!(!a.ask(&question).trim().is_empty(), "{question:?} says nothing");
        a.json(&question);
    }
    assert!(b.json(&["log"]).to_string().contains("doc.txt"));
    a.sync_once();
    assert!(!a.json(&["plan"]).to_string().contains("coming.txt"));
}

#[test]
fn wrong_use_is_answered_with_an_error() {
    let world = World::new();
    let nobody = world.stranger("nobody");
    for wrong in [vec!["sync", "--once"], vec!["status"], vec!["no-such-command"], vec!["join"], vec!["log"]] {
        assert!(!nobody.must_fail(&wrong).trim().is_empty(), "{wrong:?} fails without a word");
    }
    assert!(nobody.must(&["--version"]).contains(env!("CARGO_PKG_VERSION")));
    assert!(nobody.must(&["--help"]).contains("join"));
}
