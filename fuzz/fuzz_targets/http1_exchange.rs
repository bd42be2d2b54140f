#![no_main]

use httpcore_rs::fuzzing::http1_exchange;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| http1_exchange(data));
