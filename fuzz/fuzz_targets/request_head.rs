#![no_main]

use httpcore_rs::fuzzing::request_head;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| request_head(data));
