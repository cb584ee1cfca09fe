//! The Phoenix wire protocol, in both of its versions, as Supabase's clients speak it.

pub mod frame;
mod binary;
