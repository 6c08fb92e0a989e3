//! Policies that see an observation instead of the state.

use crate::Real;
use ndarray::ArrayRef2;

/// The policy over states that a policy over observations amounts to.
///
/// ID `alias.stochastic`: states with the same observation get the same law of actions, so that a deterministic policy over
/// observations has fewer choices than one over states, and a stochastic one may be strictly better than each of them.
///
/// Shapes: `observation` `[S]` (of each state), `policy` `[O, A]`, `out` `[S, A]`, overwritten.
///
/// # Panics
/// If the shapes do not belong together, or an observation is outside of the policy.
///
/// Source: S. P. Singh, T. Jaakkola, M. I. Jordan (1994), Learning Without State-Estimation in Partially Observable Markovian
/// Decision Processes.
// ANCHOR: alias.stochastic
pub fn lift<F: Real>(observation: &[usize], policy: &ArrayRef2<F>, out: &mut ArrayRef2<F>) {
    assert!(
        out.dim() == (observation.len(), policy.ncols()),
        "out has shape {:?} but observation has {} entries and policy shape {:?}",
        out.dim(),
        observation.len(),
        policy.dim()
    );
    for (mut row, &seen) in out.rows_mut().into_iter().zip(observation) {
        row.assign(&policy.row(seen));
    }
}

/// What going right with probability `right` is worth in two cells that look alike, with the goal between them.
///
/// ID `alias.stochastic`: `J(p) = (p / (1 - gamma (1 - p)) + (1 - p) / (1 - gamma p)) / 2` from a uniform start and with reward 1 at
/// the goal. From the left cell right leads there, from the right cell left; the other way is a wall. Both deterministic choices reach it from
/// one cell only: `J(0) = J(1) = 1/2`. The best is `J(1/2)`; who sees the cell reaches 1.
///
/// Source: S. P. Singh, T. Jaakkola, M. I. Jordan (1994), Learning Without State-Estimation in Partially Observable Markovian
/// Decision Processes.
pub fn merged_cells_value<F: Real>(right: F, gamma: F) -> F {
    let left = F::one() - right;
    // At gamma = 1 a cell whose goal is never taken is worth 0, not 0/0.
    let worth = |p: F, wall: F| if p == F::zero() { F::zero() } else { p / (F::one() - gamma * wall) };
    F::of(0.5) * (worth(right, left) + worth(left, right))
}
// ANCHOR_END: alias.stochastic

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::{Array2, array};

    #[test]
    fn equal_observations_give_equal_laws() {
        let mut out = Array2::zeros((3, 2));
        lift(&[1, 0, 1], &array![[1.0, 0.0], [0.25, 0.75]], &mut out);
        assert_eq!(out, array![[0.25, 0.75], [1.0, 0.0], [0.25, 0.75]]);
    }

    #[test]
    fn tossing_a_coin_beats_either_rule() {
        let j = |p| merged_cells_value(p, 0.9f64);
        assert_eq!((j(0.0), j(1.0)), (0.5, 0.5));
        assert!((j(0.5) - 0.909_091).abs() < 1e-6);
        assert_eq!(merged_cells_value(1.0, 1.0), 0.5);
    }
}
