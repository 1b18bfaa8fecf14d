//! Stories on storages of the operator's own: real servers of each kind, started by scripts/backends. Every story is told on each.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod bundles;
mod failures;
mod stories;

macro_rules! on {
    ($($place:ident: $kind:ident),+; $stories:tt) => {
        $(mod $place { crate::tell!($kind, $stories); })+
    };
}

macro_rules! tell {
    ($kind:ident, { $($file:ident::$story:ident),+ $(,)? }) => {
        $(#[test] fn $story() { crate::$file::$story(stacksync_e2e::storage::Kind::$kind); })+
    };
}
pub(crate) use tell;

// Devices go there themselves.
on!(s3: S3, swift: Swift; {
    stories::many_files_and_a_long_one_arrive_without_passing_through_the_service,
    stories::everything_passes_through_the_service_if_it_is_told_to_relay,
    stories::a_device_that_cannot_reach_the_storage_takes_the_service,
    stories::a_storage_that_is_away_is_told_and_waited_for,
    stories::a_lost_chunk_and_a_damaged_one_leave_files_alone_and_heal,
    stories::what_it_can_do_is_found_out_and_garbage_is_collected_beside_devices,
    stories::chunks_move_to_another_storage_and_back,
    failures::whatever_the_storage_does_the_file_waits_and_people_are_told,
    failures::tickets_that_end_in_the_middle_of_a_transfer_are_replaced,
    bundles::small_files_lie_in_bundles,
    bundles::a_damaged_bundle_hurts_one_file_and_is_told,
    bundles::cleaning_up_beside_devices_loses_no_bundle,
});

// Their bytes pass through the service.
on!(ftp: Ftp, sftp: Sftp; {
    stories::everything_passes_through_the_service_if_it_is_told_to_relay,
    stories::a_storage_that_is_away_is_told_and_waited_for,
    stories::a_lost_chunk_and_a_damaged_one_leave_files_alone_and_heal,
    stories::what_it_can_do_is_found_out_and_garbage_is_collected_beside_devices,
    stories::chunks_move_to_another_storage_and_back,
});

#[test]
fn a_full_storage_is_told_and_loses_nothing() {
    stories::a_full_storage_is_told_and_loses_nothing();
}
