//! One tenant's server: the engine with its dialects, and the requests of the HTTP surface. Both are pure, and so is
//! this.

pub mod request_head;
pub mod route;
pub mod entrance;
pub mod handshake;
pub mod held_socket;
pub mod streaming;
pub mod admission;
pub mod ticket;
pub mod relay;
pub mod publish;
pub mod changes;
pub mod source;
pub mod tenant_server;
pub mod outgoing;
pub mod unread;
pub mod log;
pub mod answer;
pub mod metrics;
pub mod fault;
pub mod administration;
pub mod api;
pub mod control_plane;
pub mod dialects;
pub mod native;
pub mod event_stream;
pub mod butterbase;
pub mod supabase;
pub mod fluxbase;
