//! The tests' own PostgreSQL servers: started in a temporary folder, and stopped and removed with the test program,
//! however it ends.

mod random;
mod reader;
mod server;
pub mod two_users;

pub use postgres::Client;
pub use random::Random;
pub use reader::{Group, Reader, Seen};
pub use server::{Database, Server};
