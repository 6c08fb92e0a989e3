//! Every registered check as a test of its own, named `id::property`, and the consistency of book, source and benchmarks.

use libtest_mimic::{Arguments, Trial};
use rederive_tests::{Check, DEFAULT_CASES, DEFAULT_SEED, consistency, registry};
use std::path::Path;

fn main() {
    let checks = registry();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let defects = consistency::defects(&consistency::facts(&root, &checks));
    let mut trials: Vec<Trial> = checks.into_iter().map(trial).collect();
    trials.push(Trial::test("consistency", move || {
        if defects.is_empty() { Ok(()) } else { Err(defects.join("\n").into()) }
    }));
    libtest_mimic::run(&Arguments::from_args(), trials).exit();
}

fn trial(check: Check) -> Trial {
    Trial::test(check.name(), move || {
        check.run(DEFAULT_CASES, DEFAULT_SEED).failure.map_or(Ok(()), |failure| Err(failure.into()))
    })
}
