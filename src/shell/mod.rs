//! The runtime: the only module that names `worker` or JavaScript. It decides nothing; it reads, writes and sends.

// The Worker.
mod api;
mod entry;
mod gate;
mod pump;
mod streamed;
// The Durable Object.
mod broadcaster;
mod opening;
mod relay;
mod life;
mod lives;
mod function;
mod source_link;
// The object of a database.
mod connection;
mod organization_link;
mod source;
mod source_storage;
mod sockets;
mod storage;
// Shared by both.
mod environment;
mod fault;
mod http;
mod keys;
mod rejection;
mod runtime;
