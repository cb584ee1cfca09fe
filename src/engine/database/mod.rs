//! What a database says: of its tables, of the changes it has committed, of who may see them; and what it is told of
//! those who listen.

pub mod batch;
pub mod catalog;
pub mod interest;
pub mod verdict;
