//! What Fluxbase's clients receive beyond the conformance script: both contracts on one socket, sockets without a
//! token, presence keys, own messages, disabled tables.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test stops at the first surprise")]

mod rig;

mod fluxbase {
    mod words;

    mod channels;
    mod presence;
    mod sockets;
    mod tables;
}
