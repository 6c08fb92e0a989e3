use crate::bounds::{Bound, Errors, Problem};
use crate::evaluation::Chosen;
use crate::krylov::gmres;
use crate::options::config;
use crate::{Options, SolveError};
use rederive_env::Mdp;
use rederive_math::Real;
use std::mem::swap;

/// How many products an evaluation may spend.
const MAX_PRODUCTS: u64 = 2_000;

/// The solution of a process with an entropy bonus.
#[derive(Clone, Debug, PartialEq)]
pub struct SoftSolution {
    /// The optimal soft value of every state `[S]`, off by at most [`error_bound`](Self::error_bound).
    pub value: Vec<f64>,
    /// The soft action value of every pair, `r + gamma P value`.
    pub q: Vec<f64>,
    /// The probability of every pair, `exp((q - value) / temperature)`: a distribution in every state.
    pub policy: Vec<f64>,
    /// How many sweeps, or improvements.
    pub iterations: u64,
    /// The work in full sweeps.
    pub sweeps: f64,
    /// The largest Bellman error in the last sweep.
    pub residual: f64,
    /// How far from the optimal soft value any entry of `value` may be, at most.
    pub error_bound: f64,
}

/// `temperature log sum_a exp(q_a / temperature)`, without overflow.
#[inline(always)]
fn log_sum_exp(q: &[f64], temperature: f64) -> f64 {
    let max = q.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let sum: f64 = q.iter().map(|q| ((q - max) / temperature).exp()).sum();
    max + temperature * sum.ln()
}

/// Soft value iteration: value iteration with `temperature log sum_a exp(Q / temperature)` in place of the maximum.
///
/// Equation `maxent.soft-bellman`: its fixed point is the largest `E sum_t gamma^t (r_t + temperature H(pi(. | s_t)))` of any
/// policy. The operator is monotone and shifts with its argument like the hard one, so the same span bound stops it. An iteration is
/// a sweep.
///
/// # Errors
/// As [`value_iteration`](crate::value_iteration); also a temperature that is not above 0, and `gamma = 1`.
///
/// Source: B. Ziebart (2010), Modeling Purposeful Adaptive Behavior with the Principle of Maximum Causal Entropy.
pub fn soft_value_iteration<P: Real>(
    mdp: &Mdp<P>,
    temperature: f64,
    options: &Options,
) -> Result<SoftSolution, SolveError> {
    let problem = prepare(mdp, temperature, options)?;
    let mut v = vec![0.0; mdp.num_states()];
    let mut new = v.clone();
    for iterations in 1.. {
        let (errors, bound) = soft_sweep(&problem, &v, &mut new, temperature)?;
        if problem.stop(&bound, iterations)? {
            return Ok(finish(&problem, new, temperature, iterations, iterations as f64, &errors, &bound));
        }
        swap(&mut v, &mut new);
    }
    unreachable!("iterations run out before numbers do")
}

/// Soft policy iteration: the value of a stochastic policy, entropy counted in, by GMRES; then `softmax(Q / temperature)`.
///
/// Equation `maxent.soft-improvement`. An iteration is an improvement.
///
/// # Errors
/// As [`soft_value_iteration`].
///
/// Source: T. Haarnoja, A. Zhou, P. Abbeel and S. Levine (2018), Soft actor-critic.
pub fn soft_policy_iteration<P: Real>(
    mdp: &Mdp<P>,
    temperature: f64,
    options: &Options,
) -> Result<SoftSolution, SolveError> {
    let problem = prepare(mdp, temperature, options)?;
    let mut v = vec![0.0; mdp.num_states()];
    let mut new = v.clone();
    let mut q = vec![0.0; mdp.num_pairs()];
    let mut policy = q.clone();
    let mut chosen = Chosen::new();
    let entries = mdp.prob().len().max(1) as f64;
    let mut sweeps = 0.0;
    for iterations in 1.. {
        let (errors, bound) = soft_sweep(&problem, &v, &mut new, temperature)?;
        sweeps += 1.0;
        if problem.stop(&bound, iterations)? {
            return Ok(finish(&problem, new, temperature, iterations, sweeps, &errors, &bound));
        }
        problem.rows.backup(0..q.len(), &v, options.gamma, &mut q);
        sweeps += 1.0;
        for (s, &value) in new.iter().enumerate() {
            let pairs = mdp.pairs(s);
            soften(&q[pairs.clone()], value, temperature, &mut policy[pairs]);
        }
        chosen.mix(mdp, &policy);
        for (s, reward) in chosen.reward_mut().iter_mut().enumerate() {
            let entropy: f64 =
                policy[mdp.pairs(s)].iter().map(|&p| if p > 0.0 { -p * p.ln() } else { 0.0 }).sum();
            *reward += temperature * entropy;
        }
        swap(&mut v, &mut new);
        let enough = (0.01 * errors.residual()).max(0.05 * problem.target());
        let rows = chosen.rows();
        let products =
            gmres(rows, options.gamma, rows.reward, &mut v, enough, MAX_PRODUCTS, &problem.workers);
        sweeps += products as f64 * chosen.entries() as f64 / entries;
    }
    unreachable!("iterations run out before numbers do")
}

fn prepare<'a, P: Real>(
    mdp: &'a Mdp<P>,
    temperature: f64,
    options: &Options,
) -> Result<Problem<'a, P>, SolveError> {
    if !(temperature > 0.0 && temperature.is_finite()) {
        return Err(config("temperature", temperature, "a finite number above 0"));
    }
    if options.gamma == 1.0 {
        return Err(config("gamma", 1, "below 1 where entropy is rewarded: every step earns some"));
    }
    Problem::new(mdp, options)
}

fn soft_sweep<P: Real>(
    problem: &Problem<'_, P>,
    v: &[f64],
    new: &mut [f64],
    temperature: f64,
) -> Result<(Errors, Bound), SolveError> {
    let mut errors = problem.sweep(v, new, &mut [], &mut [], |_, q| (log_sum_exp(q, temperature), 0));
    // A logarithm and exponentials round too: by a few units of what they add to the maximum.
    errors.scale += temperature * (problem.mdp.num_actions() as f64).ln();
    let bound = problem.bound(&errors)?;
    Ok((errors, bound))
}

/// `exp((q - value) / temperature)`, summing to 1.
fn soften(q: &[f64], value: f64, temperature: f64, policy: &mut [f64]) {
    let mut sum = 0.0;
    for (p, q) in policy.iter_mut().zip(q) {
        *p = ((q - value) / temperature).exp();
        sum += *p;
    }
    policy.iter_mut().for_each(|p| *p /= sum);
}

fn finish<P: Real>(
    problem: &Problem<'_, P>,
    value: Vec<f64>,
    temperature: f64,
    iterations: u64,
    sweeps: f64,
    errors: &Errors,
    bound: &Bound,
) -> SoftSolution {
    let hard = problem.finish(value, Vec::new(), iterations, sweeps, errors, bound);
    let (mut value, mut policy) = (hard.value, vec![0.0; hard.q.len()]);
    for (s, value) in value.iter_mut().enumerate() {
        let pairs = problem.mdp.pairs(s);
        *value = log_sum_exp(&hard.q[pairs.clone()], temperature);
        soften(&hard.q[pairs.clone()], *value, temperature, &mut policy[pairs]);
    }
    SoftSolution {
        value,
        q: hard.q,
        policy,
        iterations,
        sweeps: hard.sweeps,
        residual: hard.residual,
        error_bound: hard.error_bound,
    }
}
