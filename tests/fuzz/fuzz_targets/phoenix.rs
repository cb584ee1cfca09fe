//! One call; see `realtime_worker_fuzz::phoenix`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| realtime_worker_fuzz::phoenix(bytes));
