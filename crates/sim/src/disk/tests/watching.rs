//! The watcher's hints.

use super::*;

fn hints(disk: &mut Disk) -> Vec<String> {
    let shown = |event| match event {
        Event::Touched(path) => path.to_string(),
        Event::Overflow => "*".to_owned(),
    };
    disk.take_events().into_iter().map(shown).collect()
}

#[test]
fn every_change_is_hinted_at() {
    let mut disk = Disk::new(Flavour::default(), 1);
    assert_eq!(hints(&mut disk), Vec::<String>::new());
    disk.make_folder(&path("d")).unwrap();
    // Not watched yet: only that the folder appeared is known, and that it is to be looked into.
    disk.make_file(&path("d/early"), vec![1]).unwrap();
    assert_eq!(hints(&mut disk), ["d"]);
    disk.make_file(&path("d/late"), vec![1]).unwrap();
    disk.rewrite(&path("d/early"), b"x").unwrap();
    assert_eq!(hints(&mut disk), ["d/early", "d/late"]);
    disk.rename(&path("d/late"), &path("late")).unwrap();
    disk.remove(&path("d/early")).unwrap();
    assert_eq!(hints(&mut disk), ["d/early", "d/late", "late"]);
    put(&mut disk, "d/own", "x", None).unwrap();
    assert_eq!(hints(&mut disk), ["d/own"]);
}

#[test]
fn a_renamed_folder_is_hinted_at_under_its_old_path_for_a_moment() {
    let mut disk = Disk::new(Flavour::default(), 1);
    disk.make_folder(&path("d")).unwrap();
    disk.make_folder(&path("d/e")).unwrap();
    disk.make_file(&path("d/e/file"), vec![1]).unwrap();
    hints(&mut disk);
    disk.rewrite(&path("d/e/file"), b"x").unwrap();
    disk.rename(&path("d"), &path("r")).unwrap();
    assert_eq!(hints(&mut disk), ["d", "d/e/file", "r", "r/e"]);
    disk.rewrite(&path("r/e/file"), b"y").unwrap();
    assert_eq!(hints(&mut disk), ["r/e/file"]);
}

#[test]
fn hints_get_lost_come_late_and_overflow() {
    for (fault, expected) in [(Fault::EventLost, vec![]), (Fault::EventLate, vec![]), (Fault::EventOverflow, vec!["*"])] {
        let mut disk = Disk::new(Flavour::default(), 1);
        let mut rates = Rates::NONE;
        rates.set(fault, 10_000);
        disk.set_rates(&rates);
        disk.make_file(&path("file"), vec![1]).unwrap();
        assert_eq!(hints(&mut disk), expected, "{fault}");
        assert_eq!(disk.take_faults(), [fault]);
        disk.set_rates(&Rates::NONE);
        let later = hints(&mut disk);
        assert_eq!(later, if fault == Fault::EventLate { vec!["file"] } else { vec![] }, "{fault}");
        disk.make_file(&path("other"), vec![1]).unwrap();
        assert_eq!(hints(&mut disk), ["other"], "{fault}");
    }
}
