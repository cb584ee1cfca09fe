//! Every limit, in one place, with its default. docs/configuration.md prints these tables and a test compares the two.

use crate::code::Refusal;
use crate::value::form::Field;

/// Bytes of a request body.
pub const BODY_BYTES: usize = 1024 * 1024;
/// Events of one request.
pub const BATCH_EVENTS: usize = 100;
/// Bytes of an idempotency key, a subscription id or a message id.
pub const ID_BYTES: usize = 255;
/// Bytes of an event, table, schema or user name.
pub const NAME_BYTES: usize = 255;
/// Characters of an organization id.
pub const ORGANIZATION_CHARACTERS: usize = 128;
/// How long an idempotency key is remembered, in milliseconds.
pub const IDEMPOTENCY_WINDOW: u64 = 10 * 60_000;
/// How long a connection may take to authenticate, in milliseconds.
pub const AUTH_DEADLINE: u64 = 10_000;
/// How long an expired token keeps its connection, in milliseconds.
pub const EXPIRY_GRACE: u64 = 30_000;
/// How long a subscription waits for the database to answer before its client is told so, in milliseconds.
pub const MAX_DATABASE_WAIT: u64 = 15_000;
/// How long presence differences of one topic are coalesced, in milliseconds.
pub const PRESENCE_WINDOW: u64 = 50;
/// The window in which errors are counted, in milliseconds.
pub const ERROR_WINDOW: u64 = 60_000;
/// Steps that all regular expressions together may take for one publication.
pub const MAX_PUBLICATION_STEPS: u64 = 4_000_000;
/// Regular expressions in all filters of one connection.
pub const REGULAR_EXPRESSIONS: usize = 8;
/// A socket with channels is closed after this many times `framesPerSecond` plus `topics` rejections within a minute.
pub const REJECTION_FACTOR: u64 = 10;
/// Bytes of a retained publication: a row of the storage has at most 2 MB.
pub const RETAINED_BYTES: usize = 2_000_000;
/// Bytes of a connection's state up to which the client may add to it: the state must fit into a row, too.
pub const STATE_BYTES: usize = 1_500_000;
/// Frames of one connection that wait while keys are fetched, besides one join and one fresh token for each channel.
pub const WAITING_FRAMES: usize = 32;
/// Bytes of the members in one frame of a roster; further members follow one by one.
pub const MAX_ROSTER_PAGE: usize = 256 * 1024;
/// Bytes of the members of a roster for clients that take each roster as complete, which is therefore sent in one
/// frame. The default limits allow less.
pub const MAX_WHOLE_ROSTER: usize = 6 * 1024 * 1024;
/// Bytes of the frames that wait while keys are fetched, for one organization: an object has 128 MB.
pub const WAITING_BYTES: usize = 16 * 1024 * 1024;

macro_rules! limits {
    ($(#[doc = $about:literal])* $type:ident { $( $name:ident $key:literal $default:literal $doc:literal; )* }) => {
        $(#[doc = $about])*
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub struct $type { $( #[doc = $doc] pub $name: u64, )* }

        impl $type {
            /// Name, default and meaning of each, in the order of the table.
            pub const TABLE: &'static [(&'static str, u64, &'static str)] = &[ $( ($key, $default, $doc), )* ];

            /// Reads `{ name: number }`; a missing name keeps its default.
            ///
            /// # Errors
            /// On an unknown name or a value that is not a whole number.
            pub fn read(field: &Field<'_>) -> Result<$type, Refusal> {
                let mut form = field.form()?;
                let limits = $type { $( $name: form.take($key).map_or(Ok($default), |value| limit(&value, $key))?, )* };
                form.finish()?;
                Ok(limits)
            }
        }

        impl Default for $type {
            fn default() -> Self { $type { $( $name: $default, )* } }
        }
    };
}

/// A client's message that is longer than this, in UTF-16 units or bytes, closes its socket with 1009 before it is
/// copied into the memory of the Wasm.
pub const MESSAGE_LENGTH: u32 = 1 << 22;

/// With less, a client on a slow line would be closed while it is still reading.
const MIN_UNREAD_BYTES: u64 = 65_536;

/// Reads a limit. A rate of zero is refused, because its bucket could not limit anything.
fn limit(value: &Field<'_>, name: &str) -> Result<u64, Refusal> {
    match value.count()? {
        0 if name.ends_with("PerSecond") || name.starts_with("filterSteps") || name == "refusedPerAddress" => {
            Err(value.refuse("must be at least 1"))
        }
        count if name == "unreadBytes" && count < MIN_UNREAD_BYTES => Err(value.refuse("must be at least 65536")),
        count if name == "frameBytes" && count > u64::from(MESSAGE_LENGTH) => {
            Err(value.refuse("must be at most 4194304"))
        }
        count => Ok(count),
    }
}

limits! {
    /// The limits that a deployment may set in `REALTIME.limits`.
    Limits {
        connections "connections" 10000 "connections of one organization";
        pending "pending" 1000 "connections of one organization that have not authenticated yet";
        pending_per_address "pendingPerAddress" 100 "the same for one address, if Cloudflare reports it";
        anonymous_per_address "anonymousPerAddress" 100 "connections without a credential from one address, if Cloudflare reports it";
        refused_per_address "refusedPerAddress" 30 "attempts to connect from one address that are refused for their credential, per minute, if Cloudflare reports it";
        frame_bytes "frameBytes" 65536 "bytes of one frame from a client, at most 4194304";
        frames_per_second "framesPerSecond" 100 "frames per second from one connection, joins aside, with a burst of twice as many";
        unread_bytes "unreadBytes" 8388608 "bytes sent to one connection without a sign that it reads them, at least 65536";
        filter_steps_per_user "filterStepsPerUser" 1000000 "steps that one user's regular expressions may take per second, with a burst of twice as many";
        filter_steps "filterSteps" 5000000 "the same for all users";
        joins_per_second "joinsPerSecond" 100 "channels that one socket may join per second, with a burst of twice as many";
        errors_per_minute "errorsPerMinute" 10 "refused frames of one connection within a minute";
        subscriptions "subscriptions" 100 "table subscriptions of one connection";
        filter_bytes "filterBytes" 16384 "bytes of all filters of one connection";
        topics "topics" 100 "topics of one connection";
        presences "presences" 20 "topics in which one connection, or one channel of a socket with several, is present";
        presence_members "presenceMembers" 1000 "members present in one topic";
        presence_bytes "presenceBytes" 4096 "bytes of one presence's metadata";
        connections_per_user "connectionsPerUser" 100 "connections of one user";
        work_per_connection "workPerConnection" 5000 "frames to others, or KiB of them, that one connection may cause per second, with a burst of twice as many";
        work_per_user "workPerUser" 10000 "the same for one user, over sockets and HTTP";
        work_of_clients "workOfClients" 30000 "the same for all clients; the API worker's publications count against `publicationsPerSecond`";
        publications_per_second "publicationsPerSecond" 1000 "publications per second that one organization accepts over HTTP, with a burst of twice as many";
    }
}

limits! {
    /// How much history is retained for recovery, set in `REALTIME.history`.
    HistoryLimits {
        count "count" 10000 "publications retained";
        seconds "seconds" 259200 "seconds for which a publication is retained";
        bytes "bytes" 33554432 "bytes of all retained publications";
        replay "replay" 5000 "publications that one recovery may replay";
        replay_bytes "replayBytes" 4194304 "bytes of the publications that one recovery may replay";
    }
}
