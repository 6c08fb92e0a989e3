use crate::bounds::{Problem, greedy};
use crate::{Options, Solution, SolveError};
use rederive_env::Mdp;
use rederive_math::Real;

/// After how many sweeps in place the bound is looked at again.
const BETWEEN_BOUNDS: u64 = 8;

/// Value iteration in place: every state sees the newest values of the others, the best states first, so that the news of a reward
/// reaches in one sweep whatever lies behind it.
///
/// Equation `rtdp.async-backup`. Sweeps in place have no span bound of their own; every eighth one (early on, more) is followed by a
/// Jacobi sweep that gives the bound, whose shift is kept, and by whose values the states are ordered. An iteration is a sweep in
/// place. One thread does it all: shared among threads, the order and with it the result would depend on their number.
///
/// # Errors
/// As [`value_iteration`](crate::value_iteration).
///
/// Source: D. Bertsekas and J. Tsitsiklis (1989), Parallel and Distributed Computation.
pub fn gauss_seidel<P: Real>(mdp: &Mdp<P>, options: &Options) -> Result<Solution, SolveError> {
    let problem = Problem::new(mdp, options)?;
    let states = mdp.num_states();
    let mut v = vec![problem.pessimistic(); states];
    let mut new = v.clone();
    let (mut iterations, mut sweeps) = (0, 0.0);
    let mut quiet = false;
    let mut order: Vec<u32> = (0..states as u32).collect();
    let mut q = problem.scratch();
    loop {
        if quiet || u64::is_power_of_two(iterations) || iterations % BETWEEN_BOUNDS == 0 {
            let errors = problem.sweep(&v, &mut new, &mut [], &mut [], |_, q| greedy(q));
            sweeps += 1.0;
            let bound = problem.bound(&errors)?;
            if problem.stop(&bound, iterations)? {
                return Ok(problem.finish(new, Vec::new(), iterations, sweeps, &errors, &bound));
            }
            for (v, &new) in v.iter_mut().zip(&new) {
                *v = new + bound.shift;
            }
            // Stable: equals stay in the order they had, and the result is one.
            order.sort_by(|&a, &b| v[b as usize].total_cmp(&v[a as usize]));
        }
        let mut change: f64 = 0.0;
        for &s in &order {
            let s = s as usize;
            let value = problem.value(s, &v, &mut q);
            change = change.max((value - v[s]).abs());
            v[s] = value;
        }
        iterations += 1;
        sweeps += 1.0;
        quiet = change <= problem.target();
    }
}
