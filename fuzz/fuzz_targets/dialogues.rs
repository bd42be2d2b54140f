#![no_main]

use httpcore_rs::fuzzing::dialogues;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| dialogues(data));
