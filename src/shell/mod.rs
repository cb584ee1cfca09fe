//! The runtime: the only place that names `worker` or JavaScript. It decides nothing; it reads, writes and sends.

mod broadcaster;
mod entry;
mod environment;
mod gate;
mod http;
mod keys;
mod pump;
mod runtime;
mod sockets;
mod storage;
