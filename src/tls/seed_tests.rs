//! Seeding of the random generator: docs/decisions/0014-seeding-of-the-random-generator.md.

use std::env::current_exe;
use std::fs;

/// Returns whether this program contains a symbol. Symbols of C are not stripped from tests.
fn is_linked(symbol: &[u8]) -> bool {
    let program = fs::read(current_exe().expect("the path of this program")).expect("this program");
    memchr::memmem::find(&program, symbol).is_some()
}

#[test]
fn the_generator_is_seeded_by_the_operating_system_alone() {
    let generator = ["CRYPTO", "sysrand"].join("_");
    let jitter = ["jent", "entropy", "collector", "alloc"].join("_");
    assert!(is_linked(generator.as_bytes()), "the symbols of aws-lc cannot be read, or have other names");
    assert!(!is_linked(jitter.as_bytes()), "aws-lc was built without AWS_LC_SYS_NO_JITTER_ENTROPY=1");
}
