use crate::bounds::{Problem, greedy};
use crate::{Options, Solution, SolveError};
use rederive_env::Mdp;
use rederive_math::Real;
use std::collections::BinaryHeap;

/// A state with a bound on its Bellman error, largest first; among equals the first state, so that the order is one.
#[derive(PartialEq)]
struct Urgent(f64, u32);

impl Eq for Urgent {}

impl Ord for Urgent {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.total_cmp(&other.0).then(other.1.cmp(&self.1))
    }
}

impl PartialOrd for Urgent {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

/// Prioritised sweeping: backs up the state whose Bellman error may be largest, and raises the priority of those that lead to it.
///
/// Equation `rtdp.async-backup` in the order of urgency. A change of `d` in a state changes the error of a predecessor by at most
/// `gamma max_a P d`; priorities add these up, so that they bound the errors and not only guess them. Once none is above what the
/// tolerance needs, a Jacobi sweep gives the bound. An iteration is a backup.
///
/// # Errors
/// As [`value_iteration`](crate::value_iteration).
///
/// Source: A. Moore and C. Atkeson (1993), Prioritized sweeping: reinforcement learning with less data and less time.
pub fn prioritized_sweeping<P: Real>(mdp: &Mdp<P>, options: &Options) -> Result<Solution, SolveError> {
    let problem = Problem::new(mdp, options)?;
    let states = mdp.num_states();
    let entries = mdp.prob().len().max(1) as f64;
    let (first, leads_here) = influence(mdp);
    let mut v = vec![0.0; states];
    let mut new = v.clone();
    let mut priority = vec![0.0; states];
    let mut q = problem.scratch();
    let mut read = 0usize;
    let mut iterations = 0;
    let mut enough = problem.target();
    loop {
        let errors = problem.sweep(&v, &mut new, &mut [], &mut [], |_, q| greedy(q));
        read += mdp.prob().len();
        let bound = problem.bound(&errors)?;
        if problem.stop(&bound, iterations)? {
            let sweeps = read as f64 / entries;
            return Ok(problem.finish(new, Vec::new(), iterations, sweeps, &errors, &bound));
        }
        if errors.residual() <= 2.0 * enough {
            // Rounding, or a tolerance below what was asked of the states: ask for more.
            enough *= 0.25;
        }
        let mut heap = BinaryHeap::new();
        for s in 0..states {
            priority[s] = (new[s] - v[s]).abs();
            if priority[s] > enough {
                heap.push(Urgent(priority[s], s as u32));
            }
        }
        while let Some(Urgent(urgency, s)) = heap.pop() {
            let s = s as usize;
            if urgency != priority[s] {
                continue; // it has been raised since, and stands in the heap once more
            }
            let value = problem.value(s, &v, &mut q);
            let change = (value - v[s]).abs();
            v[s] = value;
            priority[s] = 0.0;
            iterations += 1;
            let leads_here = &leads_here[first[s] as usize..first[s + 1] as usize];
            let pairs = mdp.pairs(s);
            read += mdp.entries(pairs.end - 1).end - mdp.entries(pairs.start).start + leads_here.len();
            for &(state, prob) in leads_here {
                let raised = priority[state as usize] + options.gamma * prob * change;
                if raised > priority[state as usize] {
                    priority[state as usize] = raised;
                    if raised > enough {
                        heap.push(Urgent(raised, state));
                    }
                }
            }
            if iterations >= options.max_iterations {
                break;
            }
        }
    }
}

/// For every state those that lead to it, each with the largest probability that an action has of it: offsets and the list.
fn influence<P: Real>(mdp: &Mdp<P>) -> (Vec<u32>, Vec<(u32, f64)>) {
    let mut edges: Vec<(u32, u32, f64)> = Vec::new();
    let mut row: Vec<(u32, usize, f64)> = Vec::new();
    for s in 0..mdp.num_states() {
        row.clear();
        for pair in mdp.pairs(s) {
            let entries = mdp.entries(pair);
            row.extend(
                mdp.next()[entries.clone()]
                    .iter()
                    .zip(&mdp.prob()[entries])
                    .map(|(&n, &p)| (n, pair, p.to_f64())),
            );
        }
        row.sort_unstable_by_key(|&(next, pair, _)| (next, pair));
        for to in row.chunk_by(|a, b| a.0 == b.0) {
            let actions = to.chunk_by(|a, b| a.1 == b.1).map(|same| same.iter().map(|e| e.2).sum::<f64>());
            edges.push((to[0].0, s as u32, actions.fold(0.0, f64::max)));
        }
    }
    let mut first = vec![0u32; mdp.num_states() + 1];
    for &(to, ..) in &edges {
        first[to as usize + 1] += 1;
    }
    for s in 1..first.len() {
        first[s] += first[s - 1];
    }
    // Stable: the lists are in the order of the states.
    edges.sort_by_key(|&(to, ..)| to);
    (first, edges.into_iter().map(|(_, from, prob)| (from, prob)).collect())
}
