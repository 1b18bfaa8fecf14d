//! The suite that makes a store a store: every test runs against an SQLite file and against a database of a real PostgreSQL.

mod accounts;
mod bundles;
mod commits;
pub mod home;
mod outbox;
mod random;
pub mod world;

/// The tests of these modules for each store.
macro_rules! on_every_store {
    ($($module:ident: $($test:ident),+ $(,)?;)+) => {
        on_every_store!(@ sqlite, Sqlite, $($module: $($test),+;)+);
        on_every_store!(@ postgres, Postgres, $($module: $($test),+;)+);
    };
    (@ $store:ident, $kind:ident, $($module:ident: $($test:ident),+;)+) => {
        mod $store {
            $(mod $module {
                $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $test() {
                    crate::db::tests::$module::$test(crate::db::tests::home::Kind::$kind).await;
                })+
            })+
        }
    };
}

on_every_store! {
    accounts:
        names_and_addresses_are_unique_whatever_their_case,
        an_account_can_be_changed_and_nobody_elses,
        a_join_code_works_once_and_in_time,
        of_many_that_bring_one_code_one_gets_in,
        a_revoked_device_is_known_but_its_token_is_not,
        workspaces_belong_to_their_members,
        removing_a_user_removes_all_that_is_his_and_nothing_else,
        the_quota_is_one_for_all_workspaces_of_an_owner;
    bundles:
        the_index_of_bundles_conforms,
        a_bundle_that_is_brought_and_retired_at_once_is_one_of_the_two,
        bundles_go_with_their_workspace;
    commits:
        a_commit_is_saved_whole_and_read_back,
        every_refusal_of_the_rule_reaches_the_caller_and_changes_nothing,
        folders_nest_to_the_limit_and_no_deeper_by_any_way,
        a_repeated_request_gets_the_first_answer_whatever_happened_since,
        the_same_request_id_of_another_device_is_another_request,
        a_version_that_is_there_already_is_known_by_its_content_without_the_request_id,
        items_of_one_commit_see_each_other,
        a_commit_needs_a_member_who_is_not_disabled,
        too_large_commits_are_refused_as_a_whole,
        concurrent_commits_take_contiguous_revisions_and_lose_no_update,
        racing_for_the_last_bytes_of_the_quota_never_exceeds_it,
        pages_followed_during_commits_miss_nothing,
        page_borders,
        the_tree_comes_folder_by_folder;
    outbox:
        a_commit_is_told_with_its_outcome_and_forgotten_when_done,
        what_changed_nothing_is_not_told,
        what_an_earlier_run_left_is_told_first,
        a_slow_publisher_still_hears_everything_once_and_in_order,
        workspaces_are_told_to_their_member_also_by_other_processes;
    random:
        the_store_and_the_rule_in_memory_say_the_same;
}
