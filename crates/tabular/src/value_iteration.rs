use crate::bounds::{Errors, Problem, greedy};
use crate::{Options, Solution, SolveError};
use rederive_env::Mdp;
use rederive_math::Real;
use std::mem::swap;

/// Value iteration: all states at once from the old values (Jacobi sweeps), on `options.threads` threads.
///
/// Equations `bellman.optimality` and `dp.vi-rate`: `V <- max_a (r + gamma P V)`, from 0. It stops by the span bound
/// (`bounds.rs`), not by `max |T V - V|`: on processes that mix well that takes a hundredth of the sweeps. An iteration is a sweep.
///
/// # Errors
/// Options out of range, a tolerance that rounding puts out of reach, `gamma = 1` on a process that need not end, or too few
/// iterations.
///
/// Source: R. Bellman (1957), Dynamic Programming; J. MacQueen (1966), A modified dynamic programming method for Markovian
/// decision problems.
pub fn value_iteration<P: Real>(mdp: &Mdp<P>, options: &Options) -> Result<Solution, SolveError> {
    let problem = Problem::new(mdp, options)?;
    let mut v = vec![0.0; mdp.num_states()];
    let mut new = v.clone();
    let mut q = Vec::new();
    let mut last = f64::INFINITY;
    for iterations in 1.. {
        let errors = problem.sweep(&v, &mut new, &mut [], &mut q, |_, q| greedy(q));
        let bound = problem.bound(&errors)?;
        if problem.stop(&bound, iterations)? {
            return Ok(problem.finish(new, q, iterations, iterations as f64, &errors, &bound));
        }
        // Action values are kept by the sweep that is likely to be the last.
        if q.is_empty() && bound.error * (bound.error / last) <= options.tol {
            q.resize(mdp.num_pairs(), 0.0);
        }
        last = bound.error;
        swap(&mut v, &mut new);
    }
    unreachable!("iterations run out before numbers do")
}

/// Value iteration on action values.
///
/// Equation `dp.q-vi`: `Q <- r + gamma P max_a' Q`, from 0. Its maxima are the iterates of [`value_iteration`], one sweep later;
/// it needs room for one number per pair and is there for comparison with Q-learning, whose mean update it is.
///
/// # Errors
/// As [`value_iteration`].
///
/// Source: C. Watkins (1989), Learning from Delayed Rewards.
pub fn q_value_iteration<P: Real>(mdp: &Mdp<P>, options: &Options) -> Result<Solution, SolveError> {
    let problem = Problem::new(mdp, options)?;
    let mut q = vec![0.0; mdp.num_pairs()];
    let mut v = vec![0.0; mdp.num_states()];
    let mut new = v.clone();
    for iterations in 1.. {
        problem.rows.backup(0..q.len(), &v, options.gamma, &mut q);
        let mut errors = Errors::NONE;
        for s in 0..v.len() {
            new[s] = greedy(&q[mdp.pairs(s)]).0;
            errors.add(v[s], new[s]);
        }
        let bound = problem.bound(&errors)?;
        if problem.stop(&bound, iterations)? {
            return Ok(problem.finish(new, q, iterations, iterations as f64, &errors, &bound));
        }
        swap(&mut v, &mut new);
    }
    unreachable!("iterations run out before numbers do")
}

/// The optimality operator of a process, for those who iterate it themselves: one application is one Jacobi sweep.
///
/// Equation `bellman.optimality`: `(T V)(s) = max_a (r + gamma P V)(s, a)`.
pub struct Optimality<'a, P: Real>(Problem<'a, P>);

impl<'a, P: Real> Optimality<'a, P> {
    /// The operator of `mdp` for `options.gamma`, on `options.threads` threads.
    ///
    /// # Errors
    /// Options out of range, or `gamma = 1` on a process that need not end.
    pub fn new(mdp: &'a Mdp<P>, options: &Options) -> Result<Self, SolveError> {
        Problem::new(mdp, options).map(Optimality)
    }

    /// Writes `T v` into `new` and returns `max |T v - v|`.
    ///
    /// # Panics
    /// If `v` or `new` does not have an entry for every state.
    pub fn apply(&self, v: &[f64], new: &mut [f64]) -> f64 {
        let states = self.0.mdp.num_states();
        assert!(v.len() == states && new.len() == states, "lengths of `v` and `new` against {states} states");
        self.0.sweep(v, new, &mut [], &mut [], |_, q| greedy(q)).residual()
    }
}
