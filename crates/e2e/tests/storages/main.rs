//! Stories on storages of the operator's own: real servers of each kind, started by scripts/backends. Every story is told on each.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod stories;

macro_rules! on_each {
    ($($story:ident),+ $(,)?) => {
        mod s3 {
            $(#[test] fn $story() { crate::stories::$story(stacksync_e2e::storage::Kind::S3); })+
        }
        mod swift {
            $(#[test] fn $story() { crate::stories::$story(stacksync_e2e::storage::Kind::Swift); })+
        }
    };
}

on_each!(
    many_files_and_a_long_one_arrive_without_passing_through_the_service,
    everything_passes_through_the_service_if_it_is_told_to_relay,
    a_device_that_cannot_reach_the_storage_takes_the_service,
    a_storage_that_is_away_is_told_and_waited_for,
    a_lost_chunk_and_a_damaged_one_leave_files_alone_and_heal,
    what_it_can_do_is_found_out_and_garbage_is_collected_beside_devices,
    chunks_move_to_another_storage_and_back,
);

#[test]
fn a_full_storage_is_told_and_loses_nothing() {
    stories::a_full_storage_is_told_and_loses_nothing();
}
