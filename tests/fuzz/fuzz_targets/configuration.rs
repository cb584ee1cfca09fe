//! One call; see `realtime_worker_fuzz::configuration`.
#![no_main]

libfuzzer_sys::fuzz_target!(|text: &str| realtime_worker_fuzz::configuration(text));
