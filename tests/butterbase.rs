//! What Butterbase's clients receive: changes, presence, heartbeats, functions, plans, tables, expiry. Every script
//! runs undisturbed, with a hibernation and with a crash between any two of its steps.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test stops at the first surprise")]

mod rig;

mod butterbase {
    mod words;

    mod changes;
    mod database;
    mod functions;
    mod presence;
    mod relays;
    mod sockets;
}
