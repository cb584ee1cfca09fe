//! The runtime: the only place that names `worker` or JavaScript. It decides nothing; it reads, writes and sends.

// The Worker.
mod entry;
mod gate;
mod pump;
mod supabase;
// The Durable Object.
mod broadcaster;
mod sockets;
mod storage;
// What both use.
mod environment;
mod fault;
mod http;
mod keys;
mod runtime;
