use crate::{Check, Outcome, checks, equations};

/// Every check, in the order of the ledger and, within an equation, as its module lists them.
pub fn registry() -> Vec<Check> {
    let mut all: Vec<Check> = [
        checks::mdp::checks(),
        checks::prob::checks(),
        checks::tools::checks(),
        checks::returns::checks(),
        checks::bellman::checks(),
        checks::dp::checks(),
        checks::maxent::checks(),
        checks::rtdp::checks(),
        checks::tabular::checks(),
        checks::mc::checks(),
        checks::td::checks(),
        checks::sarsa::checks(),
        checks::qlearn::checks(),
        checks::step_sizes::checks(),
        checks::linear::checks(),
        checks::alias::checks(),
        checks::tabular_agents::checks(),
        checks::frame_stack::checks(),
        checks::gae::checks(),
        checks::fisher::checks(),
        checks::trust_region::checks(),
        checks::trpo_agent::checks(),
        checks::ppo::checks(),
        checks::kl::checks(),
        checks::pg::checks(),
        checks::policy::checks(),
        checks::nn::checks(),
        checks::conv::checks(),
        checks::dqn::checks(),
        checks::mcts::checks(),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_selects_by_id_or_property_in_the_ledgers_order() {
        let mut names = Vec::new();
        let count = verify("return.recursion::", 2, 1, |outcome| {
            assert!(outcome.passed, "{:?}", outcome.failure);
            names.push(format!("{}::{}", outcome.id, outcome.property));
        });
        assert!(count == names.len() && count > 1);
        assert!(names.iter().all(|name| name.starts_with("return.recursion::")));
        assert_eq!(verify("no such check", 1, 0, |_| ()), 0);
        let order: Vec<_> = registry().iter().map(|check| equations::position(check.id)).collect();
        assert!(order.is_sorted() && order.iter().all(Option::is_some));
    }
}
