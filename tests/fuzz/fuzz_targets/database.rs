//! One call; see `realtime_worker_fuzz::database`.
#![no_main]

libfuzzer_sys::fuzz_target!(|text: &str| realtime_worker_fuzz::database(text));
