use super::bellman::{best_backup, look_ahead};
use crate::generators::{Mdp, gamma, mdp_of};
use crate::measure::{EXACT, TOL_INEQ, TOL_STAT, Worst, require};
use crate::oracles::optimal_value;
use crate::{Check, Measured, fixed, random};
use ndarray::{Array3, array};
use proptest::collection::vec;
use proptest::prelude::*;
use rederive_math::bellman;

/// Every check of this family.
pub fn checks() -> Vec<Check> {
    vec![
        random("rtdp.async-backup", "convergence", 1e-6, orders(), convergence).at_most(64),
        random("rtdp.async-backup", "from-above", TOL_INEQ, orders(), from_above).at_most(64),
        random("rtdp.async-backup", "one-state", EXACT, orders(), one_state),
        fixed("rtdp.async-backup", "closed", TOL_STAT, |_| closed()),
    ]
}

/// MDP and an order of states with about 400 visits to each.
fn orders() -> impl Strategy<Value = (Mdp, Vec<usize>)> + Clone + Send + Sync {
    (mdp_of(2..=8, 2..=4, gamma(0.9)), vec(0..840usize, 3200))
        .prop_map(|(mdp, order)| {
            let order = order[..400 * mdp.states()].iter().map(|s| s % mdp.states()).collect();
            (mdp, order)
        })
        .no_shrink()
}

fn backup(mdp: &Mdp, value: &mut [f64], state: usize) -> f64 {
    bellman::backup_state(&mdp.p, &mdp.r, mdp.gamma, value, state)
}

/// `max |R| / (1 - gamma)` everywhere: above all values, and a sweep can only lower it.
fn optimistic(mdp: &Mdp) -> Vec<f64> {
    let most = mdp.r.iter().fold(0.0, |m: f64, r| m.max(r.abs()));
    vec![most / (1.0 - mdp.gamma); mdp.states()]
}

fn convergence((mdp, order): (Mdp, Vec<usize>)) -> Measured {
    let best = optimal_value(&mdp);
    let mut worst = Worst::new();
    for start in [optimistic(&mdp), vec![0.0; mdp.states()], optimistic(&mdp).iter().map(|v| -v).collect()] {
        let mut value = start;
        for &s in &order {
            backup(&mdp, &mut value, s);
        }
        worst.all(&value, &best);
    }
    worst.done()
}

fn from_above((mdp, order): (Mdp, Vec<usize>)) -> Measured {
    let best = optimal_value(&mdp);
    let mut value = optimistic(&mdp);
    let scale = value[0].max(1.0) / (1.0 - mdp.gamma);
    let mut worst = Worst::new();
    for &s in &order {
        let before = value[s];
        let change = backup(&mdp, &mut value, s);
        worst.at_most(change / scale, 0.0).same(change, value[s] - before);
        worst.at_most(best[s] / scale, value[s] / scale);
    }
    worst.done()
}

/// A backup writes its own state alone, with what the sweep would write there.
fn one_state((mdp, order): (Mdp, Vec<usize>)) -> Measured {
    let mut value = optimistic(&mdp);
    for &s in &order[..mdp.states()] {
        let swept = best_backup(&mdp, &value);
        let before = value.clone();
        backup(&mdp, &mut value, s);
        for k in 0..mdp.states() {
            let expected = if k == s { swept[k] } else { before[k] };
            require(value[k].to_bits() == expected.to_bits(), || {
                format!("a backup of {s} left {} in {k} instead of {expected}", value[k])
            })?;
        }
    }
    Ok(0.0)
}

fn closed() -> Measured {
    let mut worst = Worst::new();
    let process = |moves: &[(usize, usize, usize, f64)]| {
        let (mut p, mut r) = (Array3::zeros((3, 2, 3)), Array3::zeros((3, 2, 3)));
        for &(s, a, next, reward) in moves {
            p[[s, a, next]] = 1.0;
            r[[s, a, next]] = reward;
        }
        Mdp { p, r, mu: array![1.0, 0.0, 0.0], gamma: 0.9 }
    };
    // In 0, a pays 1 and ends, b pays nothing and leads to a state worth 10: whichever was taken, the value is 9. Reward and best
    // successor of two different actions would give 10.
    let mdp = process(&[
        (0, 0, 2, 1.0),
        (0, 1, 1, 0.0),
        (1, 0, 2, 10.0),
        (1, 1, 2, 10.0),
        (2, 0, 2, 0.0),
        (2, 1, 2, 0.0),
    ]);
    let mut value = [0.0, 10.0, 0.0];
    backup(&mdp, &mut value, 0);
    worst.printed(value[0], 9.0, 10);
    // In 0, a pays 5 and ends, b pays nothing and leads to a state worth 1: the best action is the one that pays.
    let mdp = process(&[
        (0, 0, 2, 5.0),
        (0, 1, 1, 0.0),
        (1, 0, 2, 1.0),
        (1, 1, 2, 1.0),
        (2, 0, 2, 0.0),
        (2, 1, 2, 0.0),
    ]);
    let mut value = [0.0, 1.0, 0.0];
    backup(&mdp, &mut value, 0);
    worst.printed(value[0], 5.0, 10);
    let q = look_ahead(&mdp, &value);
    worst.printed(q[[0, 0]], 5.0, 10).printed(q[[0, 1]], 0.9, 10);
    // One state that pays 1 or 0, behaviour irrelevant: 10, where the value of the uniform policy is 5.
    let (p, r) = (Array3::ones((1, 2, 1)), array![[[1.0], [0.0]]]);
    let mut value = [0.0];
    for _ in 0..400 {
        bellman::backup_state(&p, &r, 0.9, &mut value, 0);
    }
    worst.printed(value[0], 10.0, 10);
    // Terminal states stay at 0; without discount for the future one backup is enough.
    worst.holds(bellman::backup_state(&mdp.p, &mdp.r, 0.9, &mut [0.0, 1.0, 0.0], 2) == 0.0);
    let mut value = [7.0, 7.0, 7.0];
    bellman::backup_state(&mdp.p, &mdp.r, 0.0, &mut value, 0);
    worst.printed(value[0], 5.0, 10);
    worst.done()
}
