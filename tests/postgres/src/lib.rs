//! PostgreSQL servers of the tests' own: started in a temporary folder, stopped and removed with the test program, however that
//! ends.

mod random;
mod reader;
mod server;
pub mod two_users;

pub use postgres::Client;
pub use random::Random;
pub use reader::{Group, Reader, Seen};
pub use server::{Database, Server};
