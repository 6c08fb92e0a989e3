use crate::generators::{Mdp, Policy, gamma, mdp_of, unit};
use crate::measure::{EXACT, TOL_INEQ, TOL_SOLVE, TOL_STAT, Worst, require};
use crate::oracles::{best_stationary, policy_value, tuples};
use crate::{Check, Measured, fixed, panics, random};
use ndarray::{Array1, Array2, Array3};
use proptest::collection::vec;
use proptest::prelude::*;
use rederive_math::aliasing;

/// Every check of this family.
pub fn checks() -> Vec<Check> {
    vec![
        random("alias.stochastic", "definition", TOL_SOLVE, (unit(), gamma(0.99)), definition),
        random("alias.stochastic", "best", TOL_INEQ, (unit(), gamma(0.99)), best_is_half),
        random("alias.stochastic", "merged", TOL_INEQ, merged_case(), merged).at_most(64),
        random("alias.stochastic", "lift", EXACT, vec(0..3usize, 1..=6), lift),
        fixed("alias.stochastic", "closed", TOL_STAT, |_| closed()),
    ]
}

/// Two cells with the goal between them: the left one, the right one, and the goal, which ends. Actions: right, left.
fn cells(gamma: f64) -> Mdp {
    let (mut p, mut r) = (Array3::zeros((3, 2, 3)), Array3::zeros((3, 2, 3)));
    for (s, action, next) in [(0, 0, 2), (0, 1, 0), (1, 0, 1), (1, 1, 2), (2, 0, 2), (2, 1, 2)] {
        p[[s, action, next]] = 1.0;
        r[[s, action, next]] = f64::from(u8::from(s != 2 && next == 2));
    }
    Mdp { p, r, mu: Array1::from(vec![0.5, 0.5, 0.0]), gamma }
}

/// The objective of a policy over observations.
fn objective(mdp: &Mdp, observation: &[usize], policy: &Array2<f64>) -> f64 {
    let mut lifted = Policy::from_elem((mdp.states(), mdp.actions()), f64::NAN);
    aliasing::lift(observation, policy, &mut lifted);
    policy_value(mdp, &lifted).iter().zip(&mdp.mu).map(|(v, m)| v * m).sum()
}

fn right(p: f64) -> Array2<f64> {
    Array2::from_shape_fn((1, 2), |(_, a)| if a == 0 { p } else { 1.0 - p })
}

fn definition((p, gamma): (f64, f64)) -> Measured {
    let solved = objective(&cells(gamma), &[0, 0, 0], &right(p));
    Worst::new().solved(aliasing::merged_cells_value(p, gamma), solved, gamma).done()
}

/// The coin is best, and better than both sure choices as soon as anything is worth waiting for.
fn best_is_half((p, gamma): (f64, f64)) -> Measured {
    let coin = aliasing::merged_cells_value(0.5, gamma);
    let mut worst = Worst::new();
    worst.at_most(aliasing::merged_cells_value(p, gamma), coin).at_most(coin, 1.0);
    let strict = gamma < 1e-6 || coin > 0.5 + 1e-8;
    worst.holds(strict).done()
}

/// A process, two observations for its states, and how fine the grid of policies is.
fn merged_case() -> impl Strategy<Value = (Mdp, Vec<usize>)> + Clone + Send + Sync {
    (mdp_of(3..=3, 2..=2, gamma(0.95)), vec(0..2usize, 3))
}

/// Over a grid of stochastic policies the best is never worse than the best sure one, nor better than who sees the state.
fn merged((mdp, observation): (Mdp, Vec<usize>)) -> Measured {
    const STEPS: usize = 8;
    let (mut sure, mut any) = (f64::NEG_INFINITY, f64::NEG_INFINITY);
    tuples(STEPS + 1, 2, &mut |grid| {
        let policy = Array2::from_shape_fn((2, 2), |(seen, a)| {
            let first = grid[seen] as f64 / STEPS as f64;
            if a == 0 { first } else { 1.0 - first }
        });
        let value = objective(&mdp, &observation, &policy);
        any = any.max(value);
        if grid.iter().all(|&g| g == 0 || g == STEPS) {
            sure = sure.max(value);
        }
    });
    let seeing: f64 = best_stationary(&mdp).iter().zip(&mdp.mu).map(|(v, m)| v * m).sum();
    let mut worst = Worst::new();
    worst.at_most(sure, any).at_most(any, seeing).done()
}

/// States that look alike get the same law, whatever they are.
fn lift(observation: Vec<usize>) -> Measured {
    let policy = Array2::from_shape_fn((3, 2), |(seen, a)| (3 * seen + a) as f64);
    let mut out = Array2::from_elem((observation.len(), 2), f64::NAN);
    aliasing::lift(&observation, &policy, &mut out);
    for (s, &seen) in observation.iter().enumerate() {
        let row = [out[[s, 0]], out[[s, 1]]];
        let expected = [(3 * seen) as f64, (3 * seen + 1) as f64];
        require(row == expected, || format!("state {s} sees {seen} and gets {row:?}"))?;
    }
    let refused =
        panics(|| aliasing::lift(&observation, &policy, &mut Array2::zeros((observation.len() + 1, 2))));
    require(refused, || "shapes that do not fit are accepted".to_owned())?;
    Ok(0.0)
}

fn closed() -> Measured {
    let j = |p| aliasing::merged_cells_value(p, 0.9);
    let mut worst = Worst::new();
    worst.printed(j(0.0), 0.5, 12).printed(j(1.0), 0.5, 12).printed(j(0.5), 0.909_091, 6);
    // Who sees the cell reaches the goal at once.
    let seeing = best_stationary(&cells(0.9));
    worst.printed(0.5 * (seeing[0] + seeing[1]), 1.0, 12);
    // Without discount every policy that tosses a coin gets there, and the sure ones still do not.
    worst.printed(aliasing::merged_cells_value(0.3, 1.0), 1.0, 12);
    worst.printed(aliasing::merged_cells_value(1.0, 1.0), 0.5, 12).done()
}
