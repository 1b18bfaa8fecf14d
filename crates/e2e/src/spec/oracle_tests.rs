//! The oracle accepts what may be, and rejects each kind of harm.

use super::*;

const OLD: Value = Value(0);
const A: Value = Value(1);
const B: Value = Value(2);
const C: Value = Value(3);

/// Two devices that both have `doc` with the old value.
fn shared() -> Oracle {
    let mut oracle = Oracle::new(2, Moves::Followed);
    oracle.happened(0, &Event::Created { path: "doc".into(), new: OLD }).unwrap();
    let end = picture(&[("doc", OLD)]);
    oracle.settled(&[end.clone(), Picture::new()], &[end.clone(), end]).unwrap();
    oracle
}

fn picture(files: &[(&str, Value)]) -> Picture {
    files.iter().map(|(path, value)| ((*path).to_owned(), Node::File(*value))).collect()
}

fn wrote(old: Value, new: Value) -> Event {
    Event::Wrote { old, new }
}

fn moved(value: Value, to: &str) -> Event {
    Event::Moved { value, to: to.into() }
}

/// What the oracle says when both devices end with this; what one of them held before is not asked, as both did something.
fn end(oracle: &mut Oracle, files: &[(&str, Value)]) -> Result<(), Violation> {
    let end = picture(files);
    oracle.actors.extend([0, 1]);
    oracle.settled(&[end.clone(), end.clone()], &[end.clone(), end])
}

fn story(events: &[(usize, Event)], files: &[(&str, Value)]) -> Result<(), Violation> {
    let mut oracle = shared();
    for (device, event) in events {
        oracle.happened(*device, event)?;
    }
    end(&mut oracle, files)
}

/// What happened, and what is left.
type Case = (Vec<(usize, Event)>, Vec<(&'static str, Value)>);

#[test]
fn what_may_be_is_accepted() {
    let delete = || Event::Deleted { value: OLD };
    let cases: Vec<Case> = vec![
        (vec![(0, wrote(OLD, A))], vec![("doc", A)]),
        (vec![(0, wrote(OLD, A)), (1, wrote(OLD, B))], vec![("doc", A), ("doc (copy)", B)]),
        (vec![(0, wrote(OLD, A)), (1, wrote(OLD, B))], vec![("doc", B), ("doc (copy)", A)]),
        // The second one had the first one's value before him.
        (vec![(0, wrote(OLD, A)), (1, wrote(A, B))], vec![("doc", B)]),
        (vec![(0, delete())], vec![]),
        (vec![(0, delete()), (1, wrote(OLD, B))], vec![("doc", B)]),
        (vec![(0, delete()), (1, delete())], vec![]),
        (vec![(0, moved(OLD, "new")), (1, wrote(OLD, B))], vec![("new", B)]),
        (vec![(0, moved(OLD, "new")), (1, delete())], vec![("new", OLD)]),
        (vec![(0, moved(OLD, "new")), (1, delete())], vec![]),
        // The other one worked on the conflict copy.
        (vec![(0, wrote(OLD, A)), (1, wrote(OLD, B)), (0, wrote(B, C))], vec![("doc", A), ("doc (copy)", C)]),
        (vec![(0, wrote(OLD, A)), (1, wrote(OLD, B)), (0, Event::Deleted { value: B })], vec![("doc", A)]),
    ];
    for (events, files) in cases {
        assert_eq!(story(&events, &files), Ok(()), "{events:?} -> {files:?}");
    }
}

#[test]
fn a_lost_value_is_rejected() {
    assert!(matches!(story(&[(0, wrote(OLD, A))], &[]), Err(Violation::Wrong { .. })));
    assert!(matches!(story(&[(0, Event::Created { path: "new".into(), new: A })], &[("doc", OLD)]), Err(Violation::Wrong { .. })));
}

#[test]
fn an_edit_that_came_back_to_the_old_value_is_rejected() {
    assert!(matches!(story(&[(0, wrote(OLD, A))], &[("doc", OLD)]), Err(Violation::Wrong { .. })));
}

#[test]
fn an_overwritten_edit_is_rejected() {
    let events = [(0, wrote(OLD, A)), (1, wrote(OLD, B))];
    for kept in [A, B] {
        assert!(matches!(story(&events, &[("doc", kept)]), Err(Violation::Wrong { .. })), "{kept}");
    }
}

#[test]
fn a_conflict_that_is_none_is_rejected() {
    let events = [(0, wrote(OLD, A)), (1, wrote(A, B))];
    assert!(matches!(story(&events, &[("doc", B), ("doc (copy)", A)]), Err(Violation::Wrong { .. })));
}

#[test]
fn a_resurrected_deletion_is_rejected() {
    assert!(matches!(story(&[(0, Event::Deleted { value: OLD })], &[("doc", OLD)]), Err(Violation::Wrong { .. })));
    // Also when it comes back later.
    let mut oracle = shared();
    oracle.happened(0, &Event::Deleted { value: OLD }).unwrap();
    assert_eq!(end(&mut oracle, &[]), Ok(()));
    assert!(matches!(end(&mut oracle, &[("doc", OLD)]), Err(Violation::Wrong { .. })));
}

#[test]
fn a_deletion_that_beats_an_edit_is_rejected() {
    let events = [(0, Event::Deleted { value: OLD }), (1, wrote(OLD, B))];
    assert!(matches!(story(&events, &[]), Err(Violation::Wrong { .. })));
    assert!(matches!(story(&events, &[("doc", OLD)]), Err(Violation::Wrong { .. })));
}

#[test]
fn a_conflict_copy_that_is_never_propagated_is_rejected() {
    let mut oracle = shared();
    oracle.happened(0, &wrote(OLD, A)).unwrap();
    oracle.happened(1, &wrote(OLD, B)).unwrap();
    let (here, there) = (picture(&[("doc", A)]), picture(&[("doc", A), ("doc (copy)", B)]));
    let verdict = oracle.settled(&[here.clone(), there.clone()], &[here, there]);
    assert!(matches!(verdict, Err(Violation::Different(_))));
}

#[test]
fn devices_that_differ_are_rejected() {
    let mut oracle = shared();
    oracle.happened(0, &wrote(OLD, A)).unwrap();
    let (here, there) = (picture(&[("doc", A)]), picture(&[("doc", OLD)]));
    assert!(matches!(oracle.settled(&[here.clone(), there.clone()], &[here, there]), Err(Violation::Different(_))));
}

#[test]
fn a_device_that_goes_back_in_time_is_rejected() {
    let mut oracle = shared();
    oracle.happened(0, &wrote(OLD, A)).unwrap();
    oracle.happened(1, &wrote(A, B)).unwrap();
    assert_eq!(oracle.happened(1, &wrote(OLD, C)), Err(Violation::Impossible { device: 1, value: OLD }));
}

#[test]
fn torn_and_made_up_contents_are_rejected() {
    let torn = Picture::from([("doc".to_owned(), Node::Strange)]);
    let mut oracle = shared();
    assert!(matches!(oracle.settled(&[torn.clone(), torn.clone()], &[torn.clone(), torn]), Err(Violation::Strange(_))));
    assert!(matches!(story(&[], &[("doc", OLD), ("new", C)]), Err(Violation::Strange(_))));
}

#[test]
fn a_file_that_became_two_is_rejected() {
    let events = [(0, moved(OLD, "new")), (1, moved(OLD, "other"))];
    assert_eq!(story(&events, &[("new", OLD)]), Ok(()));
    assert!(matches!(story(&events, &[("new", OLD), ("other", OLD)]), Err(Violation::Twice(..))));
}

#[test]
fn a_place_that_nobody_gave_is_rejected() {
    assert!(matches!(story(&[(0, moved(OLD, "new"))], &[("elsewhere", OLD)]), Err(Violation::Misplaced(..))));
}

#[test]
fn whoever_works_alone_finds_what_he_made() {
    let mut oracle = shared();
    oracle.happened(0, &moved(OLD, "new")).unwrap();
    let (made, old) = (picture(&[("new", OLD)]), picture(&[("doc", OLD)]));
    let verdict = oracle.settled(&[made, old.clone()], &[old.clone(), old]);
    assert!(matches!(verdict, Err(Violation::Meddled(_))));
}

#[test]
fn a_tool_that_copies_moves_may_keep_both() {
    let mut oracle = Oracle::new(2, Moves::Copied);
    oracle.happened(0, &Event::Created { path: "doc".into(), new: OLD }).unwrap();
    assert_eq!(end(&mut oracle, &[("doc", OLD)]), Ok(()));
    oracle.happened(0, &moved(OLD, "new")).unwrap();
    oracle.happened(1, &wrote(OLD, B)).unwrap();
    assert_eq!(end(&mut oracle, &[("doc", B), ("new", OLD)]), Ok(()));
}
