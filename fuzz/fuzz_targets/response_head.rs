#![no_main]

use httpcore_rs::fuzzing::response_head;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| response_head(data));
