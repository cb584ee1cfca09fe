//! Values in transit: JSON texts that are read without being rebuilt, forms with precise errors, and rows.
//!
//! A value that no rule changes is sent with its original bytes: numbers keep their digits, keys their order.

pub mod form;
pub mod json;
pub mod percent;
pub mod row;
pub mod time;
