//! Refuses to build without a decision on how the random generator is seeded. A build script cannot decide it: Cargo runs the one of
//! aws-lc-sys first, which reads the variable. See docs/decisions/0014-seeding-of-the-random-generator.md.

use std::env;

const VARIABLE: &str = "AWS_LC_SYS_NO_JITTER_ENTROPY";

fn main() {
    println!("cargo::rerun-if-changed=src/build.rs");
    // aws-lc-sys also reads the variable for one target only.
    let target = env::var("TARGET").unwrap_or_default().replace(['-', '.'], "_");
    let names = [VARIABLE.to_owned(), format!("{VARIABLE}_{target}")];
    for name in &names {
        println!("cargo::rerun-if-env-changed={name}");
    }
    if names.iter().all(|name| env::var_os(name).is_none()) {
        println!(
            "cargo::error={VARIABLE} is not set, so that the first TLS handshake of each process would take 20 to 60 ms longer. \
             Run Cargo in the folder of the project, where .cargo/config.toml sets it to 1, or build with maturin or pip."
        );
    }
}
