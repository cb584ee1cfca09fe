//! One call; see `realtime_worker_fuzz::frame`.
#![no_main]

libfuzzer_sys::fuzz_target!(|text: &str| realtime_worker_fuzz::frame(text));
