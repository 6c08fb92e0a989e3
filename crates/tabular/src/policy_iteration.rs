use crate::bounds::{Bound, Errors, Problem, greedy};
use crate::evaluation::{Chosen, eliminate, sweep};
use crate::krylov::gmres;
use crate::{Options, Solution, SolveError};
use rederive_env::Mdp;
use rederive_math::Real;
use std::mem::swap;

/// Up to how many states policies are evaluated by elimination.
const DIRECT: usize = 128;

/// How much of the Bellman error a partial evaluation leaves; less costs more than the next improvement gains.
const LEAVE: f64 = 0.05;

/// How many sweeps of evaluation there are between improvements, at most.
const MAX_SWEEPS: u64 = 500;

/// How many products a Krylov evaluation may spend.
const MAX_PRODUCTS: u64 = 2_000;

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
    let exact =
        |problem: &Problem<'_, P>, chosen: &mut Chosen<P>, v: &mut Vec<f64>, _: &mut Vec<f64>, _: &Errors| {
            if v.len() <= DIRECT {
                *v = eliminate(chosen.rows(), options.gamma);
                return v.len() as f64;
            }
            let target = 0.1 * problem.target();
            krylov(problem, chosen, v, target) as f64
        };
    improve(mdp, options, exact)
}

/// Modified policy iteration: between two improvements the policy is evaluated by sweeps over its own rows, which are one in A
/// of all rows, until a twentieth of the Bellman error is left.
///
/// Equations `dp.policy-iteration` and `dp.policy-evaluation`. What counts as the error is what the bound is taken from: its span,
/// unless episodes end. An iteration is an improvement.
///
/// # Errors
/// As [`value_iteration`](crate::value_iteration).
///
/// Source: M. Puterman and M. Shin (1978), Modified policy iteration algorithms for discounted Markov decision problems.
pub fn modified_policy_iteration<P: Real>(mdp: &Mdp<P>, options: &Options) -> Result<Solution, SolveError> {
    let sweeps = |problem: &Problem<'_, P>,
                  chosen: &mut Chosen<P>,
                  v: &mut Vec<f64>,
                  new: &mut Vec<f64>,
                  errors: &Errors| {
        let size = |errors: &Errors| {
            if mdp.ends() || options.gamma == 1.0 {
                errors.residual()
            } else {
                0.5 * (errors.high - errors.low)
            }
        };
        // Finer than the tolerance needs is of no use either.
        let enough = (LEAVE * size(errors)).max(0.5 * problem.target());
        for count in 1..=MAX_SWEEPS {
            let errors = sweep(chosen.rows(), options.gamma, v, new, &problem.workers);
            swap(v, new);
            if size(&errors) <= enough {
                return count as f64;
            }
        }
        MAX_SWEEPS as f64
    };
    improve(mdp, options, sweeps)
}

/// Inexact policy iteration: policies are evaluated by GMRES until a twentieth of the Bellman error is left.
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
    let inexact = |problem: &Problem<'_, P>,
                   chosen: &mut Chosen<P>,
                   v: &mut Vec<f64>,
                   _: &mut Vec<f64>,
                   errors: &Errors| {
        let target = (LEAVE * errors.residual()).max(0.25 * problem.target());
        krylov(problem, chosen, v, target) as f64
    };
    improve(mdp, options, inexact)
}

/// Solves for the value of the chosen rows from `v`, until the Bellman error is about `target`.
fn krylov<P: Real>(problem: &Problem<'_, P>, chosen: &mut Chosen<P>, v: &mut [f64], target: f64) -> u64 {
    let rows = chosen.rows();
    // The root mean square is what GMRES measures; the largest entry is a few times that.
    let target = 0.25 * target;
    gmres(rows, problem.options.gamma, rows.reward, v, target, MAX_PRODUCTS, &problem.workers)
}

/// What the three have in common. `evaluate` brings `v`, which is `T V` of the last improvement, closer to the value of the rows that
/// were chosen, and says how many sweeps over these rows that took.
fn improve<P: Real>(
    mdp: &Mdp<P>,
    options: &Options,
    mut evaluate: impl FnMut(&Problem<'_, P>, &mut Chosen<P>, &mut Vec<f64>, &mut Vec<f64>, &Errors) -> f64,
) -> Result<Solution, SolveError> {
    let problem = Problem::new(mdp, options)?;
    let states = mdp.num_states();
    let mut v = vec![0.0; states];
    let mut new = v.clone();
    let mut policy = vec![0; states];
    let mut before = policy.clone();
    let mut chosen = Chosen::new();
    let mut sweeps = 0.0;
    let mut margin = 0.0;
    for iterations in 1.. {
        // ANCHOR: dp.policy-iteration
        swap(&mut policy, &mut before);
        let errors: Errors = problem.sweep(&v, &mut new, &mut policy, |s, q| keep(q, before[s], margin));
        sweeps += 1.0;
        let bound: Bound = problem.bound(&errors)?;
        if problem.stop(&bound, iterations)? {
            return Ok(problem.finish(new, iterations, sweeps, &errors, &bound));
        }
        margin = 2.0 * problem.rounding(errors.scale);
        chosen.fill(mdp, &policy, &before);
        swap(&mut v, &mut new);
        let rows = evaluate(&problem, &mut chosen, &mut v, &mut new, &errors);
        // ANCHOR_END: dp.policy-iteration
        sweeps += rows * chosen.entries() as f64 / mdp.prob().len().max(1) as f64;
    }
    unreachable!("iterations run out before numbers do")
}
