use crate::{Check, Outcome, checks, equations};

/// Every check, in the order of the ledger and, within an equation, as its module lists them.
pub fn registry() -> Vec<Check> {
    let mut all: Vec<Check> = [
        checks::mdp::checks(),
        checks::prob::checks(),
        checks::tools::checks(),
        checks::returns::checks(),
        checks::td::checks(),
        checks::gae::checks(),
        checks::ppo::checks(),
        checks::kl::checks(),
        checks::policy::checks(),
        checks::nn::checks(),
    ]
    .into_iter()
    .flatten()
    .collect();
    all.sort_by_key(|check| equations::position(check.id).unwrap_or(usize::MAX));
    all
}

/// Runs every check whose `id::property` contains `pattern` (all, if it is empty), handing on each outcome as it comes.
/// Returns how many ran.
pub fn verify(pattern: &str, cases: u32, seed: u64, mut each: impl FnMut(Outcome)) -> usize {
    let matching: Vec<Check> =
        registry().into_iter().filter(|check| check.name().contains(pattern)).collect();
    for check in &matching {
        each(check.run(cases, seed));
    }
    matching.len()
}
