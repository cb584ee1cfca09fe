//! Values as they travel: JSON texts that are looked at without being rebuilt, forms that name what is wrong, rows.
//!
//! A value that no rule touches leaves as the bytes it came in: no number loses a digit, no key its place.

pub mod form;
pub mod json;
pub mod percent;
pub mod row;
