//! The conformance script: what every dialect does, written once. Each behaviour runs in each dialect and with the
//! dialects mixed, and each of these undisturbed, with a hibernation and with a crash between any two steps. Where
//! dialects differ, their profiles declare it and the script states the consequence.
//!
//! To add a dialect: its adapter, a module beside `native`, and its entry in [`DIALECTS`]. Nothing else here changes.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "a test may fail")]

mod rig;

mod conformance {
    pub mod adapter;
    pub mod feed;
    pub mod words;
    pub mod stage;

    pub mod butterbase;
    pub mod event_stream;
    pub mod fluxbase;
    pub mod native;
    pub mod phoenix;

    pub mod mixed;
    pub mod presence;
    pub mod returning;
    pub mod tables;
    pub mod tokens;
    pub mod topics;
}

use conformance::adapter::{Can, Dialect};
use conformance::stage::Stage;
use conformance::{mixed, presence, returning, tables, tokens, topics, words};

/// Every dialect.
const DIALECTS: &[Dialect] = &[
    conformance::native::NATIVE,
    conformance::phoenix::ONE,
    conformance::phoenix::TWO,
    conformance::phoenix::TWO_BINARY,
    conformance::fluxbase::FLUXBASE,
    conformance::event_stream::EVENT_STREAM,
    conformance::butterbase::BUTTERBASE,
];

/// A behaviour of every dialect that can express it.
struct Behaviour {
    name: &'static str,
    /// The module of its script.
    module: &'static str,
    /// Capabilities without which it cannot be expressed.
    needs: &'static [Can],
    script: fn(&mut Stage<'_>),
}

impl Behaviour {
    fn can_be_said_in(&self, dialect: &Dialect) -> bool {
        self.needs.iter().all(|can| dialect.can(*can))
    }
}

macro_rules! behaviours {
    ($($file:ident: $($name:ident $(needs $need:ident)?),+;)+) => {
        const BEHAVIOURS: &[Behaviour] = &[$($(
            Behaviour { name: stringify!($name), module: stringify!($file), needs: &[$(Can::$need)?], script: $file::$name },
        )+)+];

        $($(
            #[test]
            fn $name() {
                play(stringify!($name));
            }
        )+)+
    };
}

behaviours! {
    tables:
        each_operation_brings_its_rows,
        a_subscription_narrows_by_schema_table_event_and_filter needs Narrow,
        an_update_may_take_a_row_out_of_a_filter,
        several_that_match_bring_a_change_once needs Narrow,
        a_change_for_two_subscriptions,
        what_was_not_asked_for,
        masks_are_those_of_the_table_and_of_the_request,
        the_audience_is_the_user_and_the_roles,
        only_the_columns_that_may_leave_do,
        rows_are_for_those_whom_a_rule_names,
        an_update_may_make_a_row_appear_or_disappear,
        a_filter_is_judged_on_what_its_subscriber_sees,
        a_table_of_other_roles_is_refused,
        a_filter_of_another_grammar_is_refused needs Narrow,
        an_idempotency_key_counts_once,
        a_batch_comes_in_its_order;
    topics:
        what_the_api_says_is_for_the_subscribers needs HearMessages,
        what_a_member_says_is_for_the_others needs HearMessages,
        echo_and_acknowledgement_are_asked_for needs HearMessages,
        bytes_are_for_those_who_have_frames_for_them needs HearMessages,
        messages_are_masked_and_have_an_audience needs HearMessages,
        a_change_to_a_topic_is_for_those_who_asked_for_changes,
        reading_takes_a_right,
        writing_takes_a_right_of_its_own needs HearMessages,
        a_message_that_is_too_large_is_refused needs HearMessages,
        who_is_not_subscribed_may_speak_or_is_told_that_it_is_not needs HearMessages,
        who_has_unsubscribed_hears_nothing_until_it_subscribes_again needs HearMessages,
        a_name_stands_for_one_subscription,
        a_connection_has_only_so_many_topics,
        whether_anyone_is_there_is_answered needs HearPong;
    presence:
        coming_changing_and_leaving_is_told_to_everyone_who_watches,
        who_appears_without_watching_is_told_from_then_on,
        who_disconnects_leaves,
        being_present_takes_a_right_of_its_own,
        seeing_who_is_present_takes_a_right_of_its_own,
        what_one_says_of_oneself_has_a_greatest_length,
        seeing_who_is_present_does_not_need_the_messages,
        private_and_public_topics_of_one_name_never_meet needs HearMessages,
        a_user_may_be_there_more_than_once,
        a_topic_holds_only_so_many,
        presence_and_the_subscription_to_its_topic,
        the_lobby_is_a_place_without_a_topic needs EnterLobby;
    tokens:
        a_fresh_token_that_takes_the_right_to_a_topic_ends_the_subscription,
        a_fresh_token_that_takes_and_gives_the_right_to_a_table,
        a_fresh_token_gives_rights_at_once needs HearMessages,
        a_fresh_token_changes_what_is_seen_of_rows,
        a_fresh_token_that_takes_the_right_to_be_present_ends_the_presence,
        a_token_that_ends_is_told,
        whose_token_ends_leaves,
        a_token_that_is_renewed_in_time_ends_nothing,
        a_token_that_is_renewed_after_its_end,
        a_fresh_token_that_is_none,
        a_first_token_that_is_not_good,
        a_fresh_token_of_another_user;
    returning:
        what_was_missed_comes_in_order_and_once,
        what_was_said_before_a_subscription_can_be_asked_for needs HearMessages,
        what_is_missed_is_seen_with_the_identity_of_now,
        more_than_may_be_told_again needs HearMessages,
        a_deploy_ends_every_connection_and_leaves_no_ghost;
}

/// The modules whose scripts include changes of tables.
const WITH_CHANGES: [&str; 3] = ["tables", "tokens", "returning"];
/// Capabilities that need the API worker as the publisher: an audience, columns, masks, a topic, an idempotency key.
const OF_THE_API: &[&str] = &[
    "masks_are_those_of_the_table_and_of_the_request",
    "the_audience_is_the_user_and_the_roles",
    "only_the_columns_that_may_leave_do",
    "an_idempotency_key_counts_once",
    "a_batch_comes_in_its_order",
    "a_change_to_a_topic_is_for_those_who_asked_for_changes",
];

/// The casts of a script: all members in one dialect, and the dialects in turn, starting with each one that can express
/// it.
fn casts(behaviour: &Behaviour) -> Vec<Vec<Dialect>> {
    let able: Vec<Dialect> = DIALECTS.iter().filter(|dialect| behaviour.can_be_said_in(dialect)).copied().collect();
    let alone = able.iter().map(|dialect| vec![*dialect]);
    let in_turn = (0..able.len()).map(|first| {
        let mut cast = able.clone();
        cast.rotate_left(first);
        cast
    });
    alone.chain(in_turn).collect()
}

/// Runs a behaviour with every cast that can express it, in every way.
fn play(name: &str) {
    let behaviour = BEHAVIOURS.iter().find(|behaviour| behaviour.name == name).unwrap();
    for cast in casts(behaviour) {
        perform(&cast, false, behaviour.script);
        if WITH_CHANGES.contains(&behaviour.module) && !OF_THE_API.contains(&name) {
            perform(&cast, true, behaviour.script);
        }
    }
}

/// Runs a behaviour with its members spread over the tenant's own object and this many relays.
fn play_over(relays: u32, behaviour: &Behaviour) {
    // Each dialect alone, and all of them in turn.
    let casts = casts(behaviour);
    let alone = casts.iter().take_while(|cast| cast.len() == 1).count();
    let has_changes = WITH_CHANGES.contains(&behaviour.module) && !OF_THE_API.contains(&behaviour.name);
    for cast in casts.into_iter().take(alone + 1) {
        for from_database in [false, true].into_iter().filter(|from_database| !from_database || has_changes) {
            rig::relays::every_way_with_relays(words::realtime(from_database), relays, |rig| {
                let mut stage = Stage::new(rig, &cast, from_database);
                (behaviour.script)(&mut stage);
                stage.ends();
            });
        }
    }
}

#[test]
fn everything_is_the_same_over_one_relay() {
    BEHAVIOURS.iter().for_each(|behaviour| play_over(1, behaviour));
}

#[test]
fn everything_is_the_same_over_three_relays() {
    BEHAVIOURS.iter().for_each(|behaviour| play_over(3, behaviour));
}

/// Changes are published by the API worker, or come from the database.
fn perform(cast: &[Dialect], from_database: bool, script: impl Fn(&mut Stage<'_>)) {
    rig::every_way(words::realtime(from_database), |rig| {
        let mut stage = Stage::new(rig, cast, from_database);
        script(&mut stage);
        stage.ends();
    });
}

#[test]
fn each_dialect_runs_every_behaviour_but_those_that_it_declares() {
    for dialect in DIALECTS {
        let left_out = BEHAVIOURS.iter().filter(|behaviour| !behaviour.can_be_said_in(dialect));
        assert_eq!(
            left_out.map(|behaviour| behaviour.name).collect::<Vec<_>>(),
            dialect.leaves_out,
            "{}",
            dialect.name
        );
    }
}

#[test]
fn all_dialects_of_one_tenant_see_the_same() {
    for from_database in [false, true] {
        perform(DIALECTS, from_database, |stage| mixed::everyone_sees_the_same(stage, DIALECTS.len()));
    }
}

#[test]
fn each_dialect_has_golden_frames_of_both_sides() {
    for dialect in DIALECTS {
        for side in ["client", "server"] {
            let folder = format!("{}/tests/dialects/{}/{side}", env!("CARGO_MANIFEST_DIR"), dialect.golden);
            let frames = std::fs::read_dir(&folder).map(Iterator::count).unwrap_or_default();
            assert!(frames > 0, "{} has no golden frames in {folder}", dialect.name);
        }
    }
}
