//! One call; see `realtime_worker_fuzz::butterbase`.
#![no_main]

libfuzzer_sys::fuzz_target!(|text: &str| realtime_worker_fuzz::butterbase(text));
