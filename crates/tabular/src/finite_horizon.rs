use crate::bounds::{Problem, greedy};
use crate::options::config;
use crate::{Options, SolveError};
use ndarray::Array2;
use rederive_env::Mdp;
use rederive_math::Real;

/// The solution of a process that stops after a number of decisions.
#[derive(Clone, Debug, PartialEq)]
pub struct FiniteHorizon {
    /// `value[[k, s]]` is the best expected discounted reward from `s` with `k` decisions left, `[horizon + 1, S]`; row 0 is 0.
    pub value: Array2<f64>,
    /// `policy[[k, s]]` is the first of the best actions in `s` with `k + 1` decisions left, `[horizon, S]`. It depends on `k`.
    pub policy: Array2<u32>,
    /// What rounding may have done to a value, at most: the only error there is.
    pub error_bound: f64,
}

/// Backward induction: exact, for any discount in [0, 1].
///
/// Equation `dp.finite-horizon-vi`: `V_0 = 0`, `V_k(s) = max_a sum_s' P(s' | s, a) [R + gamma V_{k-1}(s')]`, each from the
/// whole of the one before: a sweep in place would mix horizons. Shapes: `[horizon + 1, S]` and `[horizon, S]`.
///
/// # Errors
/// A horizon of 0, or `gamma` outside [0, 1].
///
/// Source: R. Bellman (1957), Dynamic Programming.
pub fn finite_horizon<P: Real>(
    mdp: &Mdp<P>,
    horizon: usize,
    gamma: f64,
    threads: usize,
) -> Result<FiniteHorizon, SolveError> {
    if horizon == 0 {
        return Err(config("horizon", 0, "1 or more"));
    }
    if !(0.0..=1.0).contains(&gamma) {
        return Err(config("gamma", gamma, "in [0, 1]"));
    }
    // The bounds of an infinite horizon are not needed, and gamma = 1 needs no proof: the sweeps are those of any discount.
    let mut problem = Problem::new(mdp, &Options { threads, ..Options::new(0.0) })?;
    problem.options.gamma = gamma;
    let states = mdp.num_states();
    let mut value = Array2::zeros((horizon + 1, states));
    let mut policy = Array2::zeros((horizon, states));
    let mut error_bound = 0.0;
    // ANCHOR: dp.finite-horizon-vi
    for k in 1..=horizon {
        let (before, after) = value.multi_slice_mut((ndarray::s![k - 1, ..], ndarray::s![k, ..]));
        let v = before.into_slice().expect("rows lie together");
        let new = after.into_slice().expect("rows lie together");
        let actions = policy.row_mut(k - 1).into_slice().expect("rows lie together");
        let errors = problem.sweep(v, new, actions, &mut [], |_, q| greedy(q));
        error_bound = problem.rounding(errors.scale) + gamma * error_bound;
    }
    // ANCHOR_END: dp.finite-horizon-vi
    if !f64::is_finite(error_bound) {
        return Err(config("reward", "so large that values overflow", "of smaller magnitude"));
    }
    Ok(FiniteHorizon { value, policy, error_bound })
}
