//! One call; see `realtime_worker_fuzz::fluxbase`.
#![no_main]

libfuzzer_sys::fuzz_target!(|text: &str| realtime_worker_fuzz::fluxbase(text));
