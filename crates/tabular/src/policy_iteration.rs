use crate::bounds::{Bound, Errors, Problem, greedy};
use crate::evaluation::{Chosen, eliminate, sweep};
use crate::krylov::gmres;
use crate::{Options, Solution, SolveError};
use rederive_env::Mdp;
use rederive_math::Real;
use std::mem::swap;

/// Up to how many states policies are evaluated by elimination.
const DIRECT: usize = 128;

/// How much of the Bellman error a partial evaluation leaves, when `changed` of all states have a new action: the value of a
/// policy that is about to change is not worth knowing exactly, that of one that has settled is.
fn leave(changed: f64) -> f64 {
    (3.0 * changed).clamp(0.03, 0.5)
}

/// How many sweeps of evaluation there are between improvements, at most.
const MAX_SWEEPS: u64 = 500;

/// How many products a Krylov evaluation may spend.
const MAX_PRODUCTS: u64 = 2_000;

/// How many of them an inexact evaluation may: what it can't settle by then, improvements do.
const FEW_PRODUCTS: u64 = 60;

/// The action of largest value, but the incumbent if that one is as good within `margin`.
///
/// Without it two actions of equal value can take turns for ever, each time better than the other by a rounding error.
#[inline(always)]
fn keep(q: &[f64], incumbent: u32, margin: f64) -> (f64, u32) {
    let (best, action) = greedy(q);
    (best, if q[incumbent as usize] >= best - margin { incumbent } else { action })
}

/// Policy iteration: exact evaluation, then improvement in every state.
///
/// Equation `dp.policy-iteration`. Policies are evaluated by elimination up to 128 states, and by GMRES to the precision that the
/// tolerance needs beyond. An action is only replaced by one that is better by more than rounding, so that tied policies do not take
/// turns. An iteration is an improvement.
///
/// # Errors
/// As [`value_iteration`](crate::value_iteration).
///
/// Source: R. Howard (1960), Dynamic Programming and Markov Processes.
pub fn policy_iteration<P: Real>(mdp: &Mdp<P>, options: &Options) -> Result<Solution, SolveError> {
    improve(mdp, options, |problem, round, v, _| {
        if v.len() <= DIRECT {
            *v = eliminate(round.chosen.rows(), options.gamma);
            return v.len() as f64;
        }
        krylov(problem, round.chosen, v, 0.02 * problem.target(), MAX_PRODUCTS)
    })
}

/// Modified policy iteration: between two improvements the policy is evaluated by sweeps over its own rows, which are one in A
/// of all rows. The fewer actions have changed, the more exactly it is evaluated.
///
/// Equations `dp.policy-iteration` and `dp.policy-evaluation`. What counts as the error is what the bound is taken from: its span,
/// unless episodes end. An iteration is an improvement.
///
/// # Errors
/// As [`value_iteration`](crate::value_iteration).
///
/// Source: M. Puterman and M. Shin (1978), Modified policy iteration algorithms for discounted Markov decision problems.
pub fn modified_policy_iteration<P: Real>(mdp: &Mdp<P>, options: &Options) -> Result<Solution, SolveError> {
    let size = |errors: &Errors| {
        if mdp.ends() || options.gamma == 1.0 { errors.residual() } else { 0.5 * (errors.high - errors.low) }
    };
    improve(mdp, options, |problem, round, v, new| {
        // Finer than the tolerance needs is of no use either.
        let enough = (round.leave * size(&round.errors)).max(0.5 * problem.target());
        for count in 1..=MAX_SWEEPS {
            let errors = sweep(round.chosen.rows(), options.gamma, v, new, &problem.workers);
            swap(v, new);
            if size(&errors) <= enough {
                return count as f64;
            }
        }
        MAX_SWEEPS as f64
    })
}

/// Inexact policy iteration: policies are evaluated by GMRES until a hundredth of the Bellman error is left.
///
/// Equation `dp.policy-iteration`. It is the method for `gamma` close to 1, and for processes that mix slowly or nearly go in cycles,
/// where sweeps take `1 / (1 - gamma)` times as long. An iteration is an improvement.
///
/// # Errors
/// As [`value_iteration`](crate::value_iteration).
///
/// Source: M. Gargiani, R. Sieber, E. Balta, D. Liao-McPherson and J. Lygeros (2023), Inexact policy iteration methods for large-scale
/// Markov decision processes.
pub fn inexact_policy_iteration<P: Real>(mdp: &Mdp<P>, options: &Options) -> Result<Solution, SolveError> {
    improve(mdp, options, |problem, round, v, _| {
        // Measured against the largest error, not the mean: while the news of a reward spreads, few states have an error, and exact values
        // of policies that have not heard of it are of no use.
        krylov(
            problem,
            round.chosen,
            v,
            (0.01 * round.errors.residual()).max(0.05 * problem.target()),
            FEW_PRODUCTS,
        )
    })
}

/// Brings `v` closer to the value of the chosen rows: until the error is `enough` (root mean square: that is what
/// GMRES measures, and the largest entry is some times that). Returns how many sweeps over the rows that took.
fn krylov<P: Real>(
    problem: &Problem<'_, P>,
    chosen: &Chosen<P>,
    v: &mut [f64],
    enough: f64,
    most: u64,
) -> f64 {
    let rows = chosen.rows();
    gmres(rows, problem.options.gamma, rows.reward, v, enough, most, &problem.workers) as f64
}

/// What an evaluation is told: the rows to evaluate, the Bellman errors before, and the share of them that may be left.
struct Round<'a, P> {
    chosen: &'a Chosen<P>,
    errors: Errors,
    leave: f64,
}

/// What the three have in common. `evaluate` brings `v`, which is `T V` of the last improvement, closer to the value of the rows that
/// were chosen, and says how many sweeps over these rows that took; the last argument is scratch.
fn improve<P: Real>(
    mdp: &Mdp<P>,
    options: &Options,
    mut evaluate: impl FnMut(&Problem<'_, P>, Round<'_, P>, &mut Vec<f64>, &mut Vec<f64>) -> f64,
) -> Result<Solution, SolveError> {
    let problem = Problem::new(mdp, options)?;
    let states = mdp.num_states();
    let mut v = vec![problem.pessimistic(); states];
    let mut policy = vec![0; states];
    if !mdp.ends() {
        // Backing up a constant takes no transitions: the first improvement is for nothing.
        for s in 0..states {
            let (reward, action) = greedy(&mdp.reward()[mdp.pairs(s)]);
            v[s] = options.gamma.mul_add(v[s], reward);
            policy[s] = action;
        }
    }
    let mut new = v.clone();
    let mut before = policy.clone();
    let mut chosen = Chosen::new();
    let mut sweeps = 0.0;
    let mut margin = 0.0;
    let mut q = Vec::new();
    let mut last = f64::INFINITY;
    for iterations in 1.. {
        // ANCHOR: dp.policy-iteration
        swap(&mut policy, &mut before);
        let errors: Errors =
            problem.sweep(&v, &mut new, &mut policy, &mut q, |s, q| keep(q, before[s], margin));
        sweeps += 1.0;
        let bound: Bound = problem.bound(&errors)?;
        if problem.stop(&bound, iterations)? {
            return Ok(problem.finish(new, q, iterations, sweeps, &errors, &bound));
        }
        // Action values are kept by the sweep that is likely to be the last.
        if q.is_empty() && bound.error * (bound.error / last) <= options.tol {
            q.resize(mdp.num_pairs(), 0.0);
        }
        last = bound.error;
        margin = 2.0 * problem.rounding(errors.scale);
        chosen.fill(mdp, &policy, &before);
        let changed = policy.iter().zip(&before).filter(|(a, b)| a != b).count();
        let leave = leave(changed as f64 / states as f64);
        swap(&mut v, &mut new);
        let rows = evaluate(&problem, Round { chosen: &chosen, errors, leave }, &mut v, &mut new);
        // ANCHOR_END: dp.policy-iteration
        sweeps += rows * chosen.entries() as f64 / mdp.prob().len().max(1) as f64;
    }
    unreachable!("iterations run out before numbers do")
}

/// Whether a reward matters many steps before it comes: episodes end, so that values are no mean over a mixing chain, or the discount
/// is above 0.999. Evaluation by sweeps is slow there.
pub fn news_travel_far<P: Real>(mdp: &Mdp<P>, gamma: f64) -> bool {
    mdp.ends() || gamma > 0.999
}

/// The solver to take when there is no reason for another: [`inexact_policy_iteration`] where [`news_travel_far`], and
/// [`modified_policy_iteration`] elsewhere.
///
/// # Errors
/// As [`value_iteration`](crate::value_iteration).
pub fn solve<P: Real>(mdp: &Mdp<P>, options: &Options) -> Result<Solution, SolveError> {
    if news_travel_far(mdp, options.gamma) {
        inexact_policy_iteration(mdp, options)
    } else {
        modified_policy_iteration(mdp, options)
    }
}

#[cfg(test)]
mod tests {
    use super::keep;

    #[test]
    fn ties_keep_the_incumbent() {
        let (a, b) = (1.0, 1.0 + f64::EPSILON);
        // Whichever of two equal actions looks better by rounding, neither replaces the other.
        assert_eq!((keep(&[a, b], 0, 1e-12).1, keep(&[b, a], 1, 1e-12).1), (0, 1));
        // One that is better by more does, and the value is always that of the best.
        assert_eq!(keep(&[1.0, 2.0, 2.0], 0, 1e-12), (2.0, 1));
        assert_eq!(keep(&[a, b], 0, 1e-12).0, b);
    }
}
