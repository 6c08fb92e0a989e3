use crate::backup::Rows;
use crate::bounds::{Problem, greedy};
use crate::options::config;
use crate::{Options, Solution, SolveError};
use rederive_env::Mdp;
use rederive_math::{Real, Stream};

/// How many steps a trial has, at most.
const MAX_STEPS: usize = 10_000;

/// One greedy trial of real-time dynamic programming: from `state`, backs up the state, takes the action that looks best (the first
/// of ties) and draws the next state, until the episode ends or `max_steps` backups are done. Returns how many were.
///
/// Equation `rtdp.coverage`: with `value >= V*` at the start, repeated trials converge to `V*` wherever the optimal policy goes;
/// from values that are too low, a state that matters may never be visited, and never be put right.
///
/// # Panics
/// If `value` does not have an entry for every state, or there is no such state.
///
/// Source: A. Barto, S. Bradtke and S. Singh (1995), Learning to act using real-time dynamic programming.
pub fn trial<P: Real>(
    mdp: &Mdp<P>,
    value: &mut [f64],
    mut state: usize,
    gamma: f64,
    max_steps: usize,
    rng: &mut Stream,
) -> usize {
    assert_eq!(value.len(), mdp.num_states(), "length of `value` against the number of states of `mdp`");
    let mut q = vec![0.0; mdp.num_actions()];
    // ANCHOR: rtdp.coverage
    for step in 1..=max_steps {
        let (best, action) = greedy(look_ahead(mdp, state, value, gamma, &mut q));
        value[state] = best;
        let pair = mdp.pairs(state).start + action as usize;
        let Some(next) = draw(mdp, pair, rng) else {
            return step;
        };
        state = next;
    }
    // ANCHOR_END: rtdp.coverage
    max_steps
}

/// The action values of a state.
fn look_ahead<'q, P: Real>(mdp: &Mdp<P>, state: usize, v: &[f64], gamma: f64, q: &'q mut [f64]) -> &'q [f64] {
    let pairs = mdp.pairs(state);
    let q = &mut q[..pairs.len()];
    Rows::of(mdp).backup(pairs, v, gamma, q);
    q
}

/// Draws what follows a pair: a state, or the end.
fn draw<P: Real>(mdp: &Mdp<P>, pair: usize, rng: &mut Stream) -> Option<usize> {
    let mut u = rng.unit();
    let entries = mdp.entries(pair);
    for j in entries.clone() {
        u -= mdp.prob()[j].to_f64();
        if u < 0.0 {
            return Some(mdp.next()[j] as usize);
        }
    }
    // What rounding left of a row without an end belongs to its last entry.
    (u < 1e-6 && !mdp.ends() && !entries.is_empty()).then(|| mdp.next()[entries.end - 1] as usize)
}

/// Real-time dynamic programming between bounds, for the value of the start states alone: `start` is their distribution `[S]`.
///
/// Equations `rtdp.async-backup` and `rtdp.coverage`. An upper and a lower bound on the optimal value are backed up along trials
/// that act greedily for the upper one and go where the two are furthest apart, weighted by probability. Both stay bounds, whatever the
/// order. It stops when the mean gap over the start states is at most twice the tolerance.
///
/// `value` is the middle of the bounds, and `error_bound` holds for its mean over the start states: states that no trial needed
/// keep wide bounds, which is what the method saves. `residual` is the largest gap between the bounds in a start state. An
/// iteration is a trial.
///
/// # Errors
/// As [`value_iteration`](crate::value_iteration); also a `start` that is no distribution.
///
/// # Panics
/// If `start` does not have an entry for every state.
///
/// Source: H. B. McMahan, M. Likhachev and G. Gordon (2005), Bounded real-time dynamic programming.
pub fn rtdp<P: Real>(
    mdp: &Mdp<P>,
    start: &[f64],
    options: &Options,
    seed: u64,
) -> Result<Solution, SolveError> {
    let problem = Problem::new(mdp, options)?;
    let states = mdp.num_states();
    assert_eq!(start.len(), states, "length of `start` against the number of states of `mdp`");
    let mass: f64 = start.iter().sum();
    if !(start.iter().all(|p| (0.0..=1.0 + 1e-9).contains(p)) && (1.0 - 1e-9..=1.0 + 1e-9).contains(&mass)) {
        return Err(config("start", format!("a sum of {mass}"), "probabilities that sum to 1"));
    }
    // Where episodes end, nothing is worth less than the worst reward at every step, or 0 for none.
    let (worst, best) =
        mdp.reward().iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), &r| (l.min(r), h.max(r)));
    let (worst, best) = if mdp.ends() { (worst.min(0.0), best.max(0.0)) } else { (worst, best) };
    let horizon = problem.horizon();
    let mut low = vec![worst * horizon; states];
    let mut high = vec![best * horizon; states];
    let scale = low[0].abs().max(high[0].abs());
    let slack = 2.0 * problem.rounding(2.0 * scale) * horizon;
    problem.reachable(slack)?;
    let mut rng = Stream::new(seed, "rtdp", 0);
    let mut q = problem.scratch();
    let mut gaps: Vec<f64> = Vec::new();
    let mut path: Vec<usize> = Vec::new();
    let mut read = 0usize;
    let mut iterations = 0;
    loop {
        let gap: f64 = start
            .iter()
            .zip(high.iter().zip(&low))
            .map(|(p, (h, l))| if *p > 0.0 { p * (h - l) } else { 0.0 })
            .sum();
        let error = 0.5 * gap + slack;
        if error <= options.tol {
            return Ok(end(&problem, &low, &high, start, iterations, read, error));
        }
        if iterations >= options.max_iterations {
            return Err(SolveError::MaxIterations { iterations, error_bound: error, tol: options.tol });
        }
        let weights = start
            .iter()
            .zip(high.iter().zip(&low))
            .map(|(p, (h, l))| if *p > 0.0 { p * (h - l) } else { 0.0 });
        let Some(mut state) = choose(weights, gap, &mut rng) else {
            return Ok(end(&problem, &low, &high, start, iterations, read, error));
        };
        iterations += 1;
        path.clear();
        let begin = high[state] - low[state];
        loop {
            let action = back_up(&problem, state, &mut low, &mut high, &mut q, &mut read);
            path.push(state);
            let entries = mdp.entries(mdp.pairs(state).start + action as usize);
            gaps.clear();
            gaps.extend(
                mdp.next()[entries.clone()]
                    .iter()
                    .zip(&mdp.prob()[entries])
                    .map(|(&s, &p)| p.to_f64() * (high[s as usize] - low[s as usize])),
            );
            let total: f64 = gaps.iter().sum();
            // What is left of the gap ahead is small against that at the start: the trial has done its work.
            if total * 20.0 <= begin || path.len() >= MAX_STEPS {
                break;
            }
            let first = mdp.entries(mdp.pairs(state).start + action as usize).start;
            match choose(gaps.iter().copied(), total, &mut rng) {
                Some(i) => state = mdp.next()[first + i] as usize,
                None => break,
            }
        }
        // Backwards, what the trial found out reaches the start at once.
        for &s in path.iter().rev() {
            back_up(&problem, s, &mut low, &mut high, &mut q, &mut read);
        }
    }
}

/// Backs up both bounds of a state, and returns the action that the upper one takes.
fn back_up<P: Real>(
    problem: &Problem<'_, P>,
    state: usize,
    low: &mut [f64],
    high: &mut [f64],
    q: &mut [f64],
    read: &mut usize,
) -> u32 {
    let (mdp, gamma) = (problem.mdp, problem.options.gamma);
    let pairs = mdp.pairs(state);
    *read += 2 * (mdp.entries(pairs.end - 1).end - mdp.entries(pairs.start).start);
    // A bound never gets worse: a backup that seems to make it so is rounding.
    low[state] = low[state].max(greedy(look_ahead(mdp, state, low, gamma, q)).0);
    let (value, action) = greedy(look_ahead(mdp, state, high, gamma, q));
    high[state] = high[state].min(value);
    action
}

/// Draws an index with probability in proportion to `weights`, which sum to `total`; nothing if they are all 0.
fn choose(weights: impl Iterator<Item = f64>, total: f64, rng: &mut Stream) -> Option<usize> {
    let mut u = rng.unit() * total;
    let mut last = None;
    for (i, weight) in weights.enumerate() {
        if weight > 0.0 {
            last = Some(i);
            u -= weight;
            if u < 0.0 {
                break;
            }
        }
    }
    last
}

fn end<P: Real>(
    problem: &Problem<'_, P>,
    low: &[f64],
    high: &[f64],
    start: &[f64],
    iterations: u64,
    read: usize,
    error_bound: f64,
) -> Solution {
    let mdp = problem.mdp;
    let value: Vec<f64> = low.iter().zip(high).map(|(l, h)| 0.5 * (l + h)).collect();
    let mut q = vec![0.0; mdp.num_pairs()];
    // The policy is that of the lower bound: it is worth at least as much as that says.
    problem.rows.backup(0..q.len(), low, problem.options.gamma, &mut q);
    let policy = (0..mdp.num_states()).map(|s| greedy(&q[mdp.pairs(s)]).1).collect();
    problem.rows.backup(0..q.len(), &value, problem.options.gamma, &mut q);
    let gaps = start.iter().zip(low.iter().zip(high)).filter(|(p, _)| **p > 0.0).map(|(_, (l, h))| h - l);
    Solution {
        q,
        policy,
        iterations,
        sweeps: read as f64 / mdp.prob().len().max(1) as f64,
        residual: gaps.fold(0.0, f64::max),
        error_bound,
        value,
    }
}
