use crate::backup::Rows;
use crate::bounds::{Bound, Bounder, Errors};
use crate::options::config;
use crate::workers::Workers;
use crate::{Options, SolveError};
use rederive_env::Mdp;
use rederive_math::Real;
use std::mem::swap;
use std::ops::Range;

/// How many states [`evaluate_direct`] takes: elimination needs S^2 numbers and S^3 / 3 products.
const DIRECT_STATES: usize = 4096;

/// The value of a policy.
#[derive(Clone, Debug, PartialEq)]
pub struct Evaluation {
    /// The value of every state `[S]`, off by at most [`error_bound`](Self::error_bound).
    pub value: Vec<f64>,
    /// How many sweeps over the policy's rows it took.
    pub iterations: u64,
    /// The largest Bellman error `|r + gamma P V - V|` in the last sweep.
    pub residual: f64,
    /// How far from the truth any entry of `value` may be, at most.
    pub error_bound: f64,
}

/// The rows of a policy: one per state.
pub struct Chosen<P> {
    first_entry: Vec<u32>,
    prob: Vec<P>,
    next: Vec<u32>,
    reward: Vec<f64>,
}

impl<P: Real> Chosen<P> {
    pub fn new() -> Self {
        Chosen { first_entry: Vec::new(), prob: Vec::new(), next: Vec::new(), reward: Vec::new() }
    }

    /// The rows of the actions `policy`, copied so that they lie next to each other. Rows of states whose action is still that of
    /// `before`, the policy of the last call, stay where they are: after the first improvements most do.
    pub fn fill(&mut self, mdp: &Mdp<P>, policy: &[u32], before: &[u32]) {
        if self.reward.len() == policy.len() && self.replace(mdp, policy, before) {
            return;
        }
        self.clear();
        let pair = |s: usize| mdp.pairs(s).start + policy[s] as usize;
        let entries = (0..policy.len()).map(|s| mdp.entries(pair(s)).len()).sum();
        self.prob.reserve(entries);
        self.next.reserve(entries);
        self.reward.reserve(policy.len());
        self.first_entry.reserve(policy.len());
        for (s, &action) in policy.iter().enumerate() {
            let pair = mdp.pairs(s).start + action as usize;
            let entries = mdp.entries(pair);
            self.prob.extend_from_slice(&mdp.prob()[entries.clone()]);
            self.next.extend_from_slice(&mdp.next()[entries]);
            self.end_row(mdp.reward()[pair]);
        }
    }

    /// Overwrites the rows whose action has changed, if each new one is as long as the old.
    fn replace(&mut self, mdp: &Mdp<P>, policy: &[u32], before: &[u32]) -> bool {
        for s in 0..policy.len() {
            if policy[s] == before[s] {
                continue;
            }
            let pair = mdp.pairs(s).start + policy[s] as usize;
            let entries = mdp.entries(pair);
            let row = self.first_entry[s] as usize..self.first_entry[s + 1] as usize;
            if row.len() != entries.len() {
                return false;
            }
            self.prob[row.clone()].copy_from_slice(&mdp.prob()[entries.clone()]);
            self.next[row].copy_from_slice(&mdp.next()[entries]);
            self.reward[s] = mdp.reward()[pair];
        }
        true
    }

    fn clear(&mut self) {
        self.first_entry.clear();
        self.first_entry.push(0);
        self.prob.clear();
        self.next.clear();
        self.reward.clear();
    }

    fn end_row(&mut self, reward: f64) {
        self.first_entry.push(u32::try_from(self.prob.len()).expect("no more entries than the process has"));
        self.reward.push(reward);
    }

    pub fn rows(&self) -> Rows<'_, P> {
        Rows { first_entry: &self.first_entry, prob: &self.prob, next: &self.next, reward: &self.reward }
    }

    pub fn reward_mut(&mut self) -> &mut [f64] {
        &mut self.reward
    }

    /// How many transitions the rows have.
    pub fn entries(&self) -> usize {
        self.prob.len()
    }
}

impl Chosen<f64> {
    /// The rows of a stochastic policy, mixed: `prob` holds the probability of every pair.
    pub fn mix<P: Real>(&mut self, mdp: &Mdp<P>, policy: &[f64]) {
        self.clear();
        let mut row: Vec<(u32, f64)> = Vec::new();
        for s in 0..mdp.num_states() {
            let mut reward = 0.0;
            row.clear();
            // Probabilities are known up to a factor: whatever they sum to stands for 1.
            let sum: f64 = policy[mdp.pairs(s)].iter().sum();
            for pair in mdp.pairs(s) {
                let weight = policy[pair] / sum;
                reward += weight * mdp.reward()[pair];
                let entries = mdp.entries(pair);
                row.extend(
                    mdp.next()[entries.clone()]
                        .iter()
                        .zip(&mdp.prob()[entries])
                        .map(|(&n, &p)| (n, weight * p.to_f64())),
                );
            }
            row.sort_unstable_by_key(|&(next, _)| next);
            let mut last = None;
            for &(next, prob) in &row {
                if last == Some(next) {
                    *self.prob.last_mut().expect("there was an entry") += prob;
                } else {
                    self.prob.push(prob);
                    self.next.push(next);
                    last = Some(next);
                }
            }
            self.end_row(reward);
        }
    }
}

/// `new = r + gamma P v` over the rows of a policy.
pub fn sweep<P: Real>(
    rows: Rows<'_, P>,
    gamma: f64,
    v: &[f64],
    new: &mut [f64],
    workers: &Workers,
) -> Errors {
    let part = |range: Range<usize>, new: &mut [f64], _: &mut [()]| {
        rows.backup(range.clone(), v, gamma, new);
        let mut errors = Errors::NONE;
        for (&old, &new) in v[range].iter().zip(new.iter()) {
            errors.add(old, new);
        }
        errors
    };
    workers.split(v.len(), new, &mut [], part, Errors::join)
}

/// Iterative policy evaluation: `V <- r + gamma P V` over the rows that `policy` (an action per state) chooses, from 0.
///
/// Equations `bellman.v` and `dp.policy-evaluation`. It stops by the span bound, like
/// [`value_iteration`](crate::value_iteration).
///
/// # Errors
/// As [`value_iteration`](crate::value_iteration); also an action that a state does not have.
///
/// # Panics
/// If `policy` does not have an action for every state.
pub fn evaluate<P: Real>(mdp: &Mdp<P>, policy: &[u32], options: &Options) -> Result<Evaluation, SolveError> {
    options.validate()?;
    let mut chosen = Chosen::new();
    chosen.fill(mdp, checked(mdp, policy)?, &[]);
    iterate(mdp, chosen.rows(), options)
}

/// The same for a stochastic policy, which gives every pair its probability: `policy[pairs(s)]` sums to 1.
///
/// # Errors
/// As [`evaluate`]; also probabilities that are none or do not sum to 1 within 1e-9.
///
/// # Panics
/// If `policy` does not have a probability for every pair.
pub fn evaluate_stochastic<P: Real>(
    mdp: &Mdp<P>,
    policy: &[f64],
    options: &Options,
) -> Result<Evaluation, SolveError> {
    options.validate()?;
    assert_eq!(policy.len(), mdp.num_pairs(), "length of `policy` against the number of pairs of `mdp`");
    for s in 0..mdp.num_states() {
        let row = &policy[mdp.pairs(s)];
        let sum: f64 = row.iter().sum();
        let law = 0.0..=1.0 + 1e-9;
        if !(row.iter().all(|p| law.contains(p)) && (1.0 - 1e-9..=1.0 + 1e-9).contains(&sum)) {
            return Err(config("policy", format!("{row:?} in state {s}"), "probabilities that sum to 1"));
        }
    }
    let mut chosen = Chosen::new();
    chosen.mix(mdp, policy);
    iterate(mdp, chosen.rows(), options)
}

fn iterate<P: Real, Q: Real>(
    mdp: &Mdp<P>,
    rows: Rows<'_, Q>,
    options: &Options,
) -> Result<Evaluation, SolveError> {
    let bounder = Bounder::new(rows, mdp, options)?;
    let workers = Workers::new(options.threads, rows.prob.len())?;
    let mut v = vec![0.0; mdp.num_states()];
    let mut new = v.clone();
    for iterations in 1.. {
        let errors = sweep(rows, options.gamma, &v, &mut new, &workers);
        let bound = bounder.bound(&errors)?;
        if bound.error <= options.tol {
            return Ok(done(new, iterations, &errors, &bound));
        }
        if iterations >= options.max_iterations {
            return Err(SolveError::MaxIterations { iterations, error_bound: bound.error, tol: options.tol });
        }
        swap(&mut v, &mut new);
    }
    unreachable!("iterations run out before numbers do")
}

fn done(mut value: Vec<f64>, iterations: u64, errors: &Errors, bound: &Bound) -> Evaluation {
    if bound.shift != 0.0 {
        value.iter_mut().for_each(|v| *v += bound.shift);
    }
    Evaluation { value, iterations, residual: errors.residual(), error_bound: bound.error }
}

/// Direct policy evaluation: solves `(I - gamma P) V = r` by elimination with partial pivoting, for at most 4096 states. One
/// sweep afterwards gives the bound.
///
/// Equation `bellman.v`.
///
/// # Errors
/// As [`evaluate`]; also more states than that.
///
/// # Panics
/// If `policy` does not have an action for every state.
pub fn evaluate_direct<P: Real>(
    mdp: &Mdp<P>,
    policy: &[u32],
    options: &Options,
) -> Result<Evaluation, SolveError> {
    options.validate()?;
    let n = mdp.num_states();
    if n > DIRECT_STATES {
        return Err(config("states", n, format!("at most {DIRECT_STATES} for direct evaluation")));
    }
    let mut chosen = Chosen::new();
    chosen.fill(mdp, checked(mdp, policy)?, &[]);
    let rows = chosen.rows();
    let bounder = Bounder::new(rows, mdp, options)?;
    let v = eliminate(rows, options.gamma);
    let mut new = vec![0.0; n];
    let errors = sweep(rows, options.gamma, &v, &mut new, &Workers::new(1, 0)?);
    let bound = bounder.bound(&errors)?;
    if bound.error > options.tol {
        return Err(SolveError::MaxIterations { iterations: 1, error_bound: bound.error, tol: options.tol });
    }
    Ok(done(new, 1, &errors, &bound))
}

/// Solves `(I - gamma P) x = r`.
pub fn eliminate<P: Real>(rows: Rows<'_, P>, gamma: f64) -> Vec<f64> {
    let n = rows.reward.len();
    let mut x = rows.reward.to_vec();
    let mut matrix: Vec<Vec<f64>> = (0..n)
        .map(|i| {
            let mut row = vec![0.0; n];
            row[i] = 1.0;
            for j in rows.first_entry[i] as usize..rows.first_entry[i + 1] as usize {
                row[rows.next[j] as usize] -= gamma * rows.prob[j].to_f64();
            }
            row
        })
        .collect();
    for k in 0..n {
        let pivot = (k..n).max_by(|&i, &j| matrix[i][k].abs().total_cmp(&matrix[j][k].abs())).unwrap_or(k);
        matrix.swap(k, pivot);
        x.swap(k, pivot);
        let (above, below) = matrix.split_at_mut(k + 1);
        let pivot = &above[k];
        for (i, row) in below.iter_mut().enumerate() {
            // Most of the matrix is zero at the start.
            if row[k] != 0.0 {
                let factor = row[k] / pivot[k];
                for (a, &b) in row[k + 1..].iter_mut().zip(&pivot[k + 1..]) {
                    *a -= factor * b;
                }
                x[k + 1 + i] -= factor * x[k];
            }
        }
    }
    for k in (0..n).rev() {
        let known: f64 = matrix[k][k + 1..].iter().zip(&x[k + 1..]).map(|(a, x)| a * x).sum();
        x[k] = (x[k] - known) / matrix[k][k];
    }
    x
}

/// `policy`, if every state has its action.
fn checked<'a, P: Real>(mdp: &Mdp<P>, policy: &'a [u32]) -> Result<&'a [u32], SolveError> {
    assert_eq!(policy.len(), mdp.num_states(), "length of `policy` against the number of states of `mdp`");
    for (s, &action) in policy.iter().enumerate() {
        let actions = mdp.pairs(s).len();
        if action as usize >= actions {
            return Err(config(
                "policy",
                format!("action {action} in state {s}"),
                format!("in 0..={}", actions - 1),
            ));
        }
    }
    Ok(policy)
}
