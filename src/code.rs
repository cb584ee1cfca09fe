//! Every error and close code of the product, in one table: the enum, the numbers, the sentence, whether a retry helps.
//!
//! docs/protocol-native.md prints this table and a test compares the two. A refusal on the wire or over HTTP is always one of these.

use std::borrow::Cow;

/// Whether and how to retry after a code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// The same request will fail again until it is corrected.
    No,
    /// Retry later, with backoff and jitter.
    Later,
    /// Retry with a fresh token.
    FreshToken,
}

macro_rules! codes {
    ($( $(#[doc = $doc:literal])* $name:ident $word:literal $status:literal $close:tt $retry:ident $sentence:literal; )*) => {
        /// A reason that a client can act on.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Code { $( #[doc = $sentence] $name, )* }

        impl Code {
            /// Every code, in the order of the table.
            pub const ALL: &'static [Code] = &[ $( Code::$name, )* ];

            /// The code as text, in frames, answers and logs.
            pub const fn as_str(self) -> &'static str { match self { $( Code::$name => $word, )* } }

            /// The HTTP status of a refusal with this code.
            pub const fn status(self) -> u16 { match self { $( Code::$name => $status, )* } }

            /// The WebSocket close code, if this code ends the connection.
            pub const fn close(self) -> Option<u16> { match self { $( Code::$name => codes!(@close $close), )* } }

            /// One sentence for humans.
            pub const fn sentence(self) -> &'static str { match self { $( Code::$name => $sentence, )* } }

            /// Whether a retry helps.
            pub const fn retry(self) -> Retry { match self { $( Code::$name => Retry::$retry, )* } }
        }
    };
    (@close -) => { None };
    (@close $number:literal) => { Some($number) };
}

codes! {
    InvalidRequest "invalid_request" 400 - No "The request is not of the documented form.";
    UnknownMaskType "unknown_mask_type" 400 - No "The mask type is not one of email, phone, ssn, creditCard, name, redact.";
    Unauthorized "unauthorized" 401 - No "The bearer token is missing or wrong.";
    InvalidToken "invalid_token" 401 1008 FreshToken "The session token, API key or ticket is not valid.";
    TokenExpired "token_expired" 401 1008 FreshToken "The token has expired.";
    WrongOrganization "wrong_organization" 403 1008 No "The token does not belong to this organization.";
    WrongUser "wrong_user" 403 - No "A connection can only be refreshed by its own user.";
    Forbidden "forbidden" 403 - No "The channel policies do not allow this.";
    PublicTopicsDisabled "public_topics_disabled" 403 - No "Public topics are switched off.";
    OriginNotAllowed "origin_not_allowed" 403 - No "The page's origin is not in ALLOWED_ORIGINS.";
    NotFound "not_found" 404 - No "There is nothing at this path.";
    MethodNotAllowed "method_not_allowed" 405 - No "The path does not answer this method.";
    PayloadTooLarge "payload_too_large" 413 - No "The body is larger than 1 MiB.";
    UnsupportedMediaType "unsupported_media_type" 415 - No "The body must be application/json.";
    UpgradeRequired "upgrade_required" 426 - No "This path speaks WebSocket only.";
    RateLimited "rate_limited" 429 - Later "Too many messages in a short time.";
    Configuration "configuration" 500 - No "A variable or secret of the deployment is missing or malformed.";
    Internal "internal" 500 1011 Later "The server failed; nothing of the request was kept.";
    Overloaded "overloaded" 503 - Later "The organization's object cannot take more requests now.";
    KeysUnavailable "keys_unavailable" 503 1013 Later "The keys of JWKS_URL could not be fetched.";
    AppPaused "app_paused" 503 1013 Later "The app is paused.";
    ListenerLimit "listener_limit" 503 1013 Later "The app has as many realtime listeners as its plan allows.";
    RealtimeDisabled "realtime_disabled" 403 1013 No "Realtime is not part of the app's plan.";
    NoHandler "no_handler" 404 - No "No function answers this event.";
    CallFailed "call_failed" 502 - Later "The function could not be called.";
    CallLimit "call_limit" 429 - Later "As many calls are waiting for their answers as may.";
    ConnectionLimit "connection_limit" 503 1013 Later "The organization has as many connections as it may, or as many silent ones.";
    AuthTimeout "auth_timeout" 401 1008 Later "No auth frame came within 10 seconds.";
    AuthRequired "auth_required" 401 1008 No "The first frame must be an auth frame.";
    InvalidFrame "invalid_frame" 400 - No "The frame is not of the documented form.";
    UnknownType "unknown_type" 400 - No "The frame's type is unknown.";
    FrameTooLarge "frame_too_large" 413 - No "The frame is larger than a frame may be.";
    InvalidFilter "invalid_filter" 400 - No "The filter does not follow the grammar.";
    NameTooLong "name_too_long" 400 - No "A topic, event, table or subscription name is too long.";
    SubscriptionExists "subscription_exists" 400 - No "A subscription of this connection has that id already.";
    UnknownSubscription "unknown_subscription" 400 - No "No subscription of this connection has that id.";
    SubscriptionLimit "subscription_limit" 429 - No "The connection has as many table subscriptions as it may.";
    TopicLimit "topic_limit" 429 - No "The connection has as many topics as it may.";
    JoinLimit "join_limit" 429 1001 Later "Too many channels were entered in a short time.";
    PresenceLimit "presence_limit" 429 - No "The topic or the connection has as many presences as it may.";
    MetadataTooLarge "metadata_too_large" 413 - No "The presence metadata is too large.";
    UnknownTable "unknown_table" 404 - No "The database has no such table.";
    TableNotEnabled "table_not_enabled" 409 - No "The table is not enabled for realtime.";
    TableDenied "table_denied" 403 - No "The database role may not read the table.";
    NoPolicy "no_policy" 403 - No "Row-level security is on, and no policy lets the database role see a row.";
    SourceUnavailable "source_unavailable" 503 - Later "The database has not answered yet.";
    NotTracked "not_tracked" 400 - No "The connection is not tracked in this topic.";
    TooManyErrors "too_many_errors" 429 1008 Later "Too many refused frames within a minute.";
    TooManyAttempts "too_many_attempts" 429 1013 Later "Too many attempts to connect from this address were refused.";
    TooSlow "too_slow" 503 1013 Later "The client reads more slowly than events come.";
    ServiceRestart "service_restart" 503 1012 Later "The connection's state is of another version; connect again.";
}

impl Code {
    /// The close code and reason of a connection that ends with this code.
    pub fn closing(self) -> (u16, &'static str) {
        (self.close().unwrap_or(POLICY_VIOLATION), self.as_str())
    }
}

/// RFC 6455, 7.4.1: for codes without a close code of their own.
const POLICY_VIOLATION: u16 = 1008;

/// A more precise reason than the code, for dialects with a message of their own for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The text is not a token.
    MalformedToken,
    /// The token lacks a required claim.
    MissingClaims,
    /// The topic to join has no name.
    UnnamedTopic,
    /// Messages of a public topic cannot be replayed.
    PublicReplay,
    /// A right to read has been lost.
    ReadRevoked,
    /// The requested retention of a message is zero.
    InvalidRetention,
    /// This cannot be subscribed to without a credential.
    CredentialRequired,
}

/// A rejected request or frame: why, with which message, and where in the input.
///
/// It never contains a token, a key or a value of a payload (invariant 10).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The reason.
    pub code: Code,
    /// A sentence for humans: the code's own, unless more is known.
    pub message: Cow<'static, str>,
    /// The path of the offending key, such as `messages[3].eventType`.
    pub field: Option<String>,
    /// A more precise reason, for dialects with a message of their own for it.
    pub reason: Option<Reason>,
    /// After how many milliseconds to retry, if known.
    pub retry_after: Option<u64>,
}

impl Refusal {
    /// A refusal with the code's own sentence.
    pub fn of(code: Code) -> Self {
        Refusal { code, message: Cow::Borrowed(code.sentence()), field: None, reason: None, retry_after: None }
    }

    /// A refusal with a more precise reason, which dialects may word themselves.
    pub fn with(code: Code, reason: Reason) -> Self {
        Refusal { reason: Some(reason), ..Refusal::of(code) }
    }

    /// A refusal with a more precise sentence.
    pub fn because(code: Code, message: impl Into<Cow<'static, str>>) -> Self {
        Refusal { code, message: message.into(), field: None, reason: None, retry_after: None }
    }

    /// A refusal of the value at `field`.
    pub fn at(code: Code, field: impl Into<String>, message: impl Into<Cow<'static, str>>) -> Self {
        Refusal { code, message: message.into(), field: Some(field.into()), reason: None, retry_after: None }
    }
}

impl From<Code> for Refusal {
    fn from(code: Code) -> Self {
        Refusal::of(code)
    }
}
