//! Every crash point is visited: the programs die there, start again, settle, and nothing is lost, torn or left over.

use stacksync_e2e::crash::visit::{self, Scene, points_of};
use std::collections::BTreeMap;

/// Half of the points, so that two processors share them.
fn half(points: Vec<String>, odd: usize) -> Vec<String> {
    points.into_iter().enumerate().filter(|(index, _)| index % 2 == odd).map(|(_, name)| name).collect()
}

#[test]
fn a_device_dies_at_every_point_of_a_sync_one_half() {
    visit::device_syncs(tempfile::tempdir().unwrap().path(), &half(points_of(Scene::DeviceSyncs), 0));
}

#[test]
fn a_device_dies_at_every_point_of_a_sync_other_half() {
    visit::device_syncs(tempfile::tempdir().unwrap().path(), &half(points_of(Scene::DeviceSyncs), 1));
}

#[test]
fn the_server_dies_at_every_point_of_its_service_one_half() {
    visit::server_serves(tempfile::tempdir().unwrap().path(), &half(points_of(Scene::ServerServes), 0));
}

#[test]
fn the_server_dies_at_every_point_of_its_service_other_half() {
    visit::server_serves(tempfile::tempdir().unwrap().path(), &half(points_of(Scene::ServerServes), 1));
}

#[test]
fn a_server_on_postgresql_dies_at_every_point_of_its_service() {
    visit::postgres_serves(tempfile::tempdir().unwrap().path());
}

#[test]
fn a_device_dies_at_every_point_of_joining() {
    visit::joining(tempfile::tempdir().unwrap().path(), &points_of(Scene::Joining));
}

#[test]
fn a_device_dies_at_every_point_of_leaving() {
    visit::leaving(tempfile::tempdir().unwrap().path(), &points_of(Scene::Leaving));
}

#[test]
fn a_device_dies_while_it_puts_a_damaged_state_aside_or_clears_old_trash() {
    visit::damaged_state_and_old_trash(tempfile::tempdir().unwrap().path());
}

#[test]
fn a_device_whose_home_is_on_another_disk_dies_at_every_point() {
    visit::other_disk(tempfile::tempdir().unwrap().path());
}

#[test]
fn a_device_whose_disk_cannot_exchange_names_dies_at_every_point() {
    visit::plain_disk(tempfile::tempdir().unwrap().path());
}

#[test]
fn a_server_dies_at_every_point_of_its_first_start() {
    visit::new_server(tempfile::tempdir().unwrap().path(), &points_of(Scene::NewServer));
}

#[test]
fn the_storage_dies_while_it_sets_a_damaged_chunk_aside() {
    visit::damaged_chunk(tempfile::tempdir().unwrap().path());
}

#[test]
fn a_removal_of_a_user_dies() {
    visit::removed_user(tempfile::tempdir().unwrap().path());
}

/// Each scene above has points: none is played for nothing because a name changed.
#[test]
fn every_scene_has_points() {
    let mut scenes: BTreeMap<String, usize> = BTreeMap::new();
    for point in stacksync_e2e::crash::points::all() {
        *scenes.entry(format!("{:?}", visit::scene(&point))).or_default() += 1;
    }
    println!("{scenes:?}");
    assert_eq!(scenes.len(), 12, "{scenes:?}");
}
