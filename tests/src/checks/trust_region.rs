use super::fisher::{advantage, occupancy};
use crate::generators::{
    Mdp, Policy, Roll, Segment, gamma, mdp_and_policies, mdp_and_policy, mdp_of, normals, policy, roll,
    tiny_and_policies,
};
use crate::measure::{EXACT, TOL_FD, TOL_ID, TOL_INEQ, TOL_SOLVE, TOL_STAT, Worst};
use crate::oracles::{
    action_value, deterministic, gradient, optimal_value, policy_value, trajectories, trajectories_from,
    tuples,
};
use crate::{Check, Measured, fixed, panics, random};
use ndarray::{Array1, Array2, Array3, array, s};
use proptest::collection::vec;
use proptest::prelude::*;
use rederive_math::performance as perf;
use rederive_math::preference::Games;
use rederive_math::trust_region::{self as region, NotAMinoriser};

/// Every check of this family.
pub fn checks() -> Vec<Check> {
    vec![
        random("trpo.telescoping", "definition", TOL_ID, roll(), telescoping),
        random("trpo.telescoping", "limit", TOL_INEQ, (roll(), 0.0..=0.9f64), telescoping_limit),
        fixed("trpo.telescoping", "no-limit", EXACT, |_| telescoping_closed()),
        random("trpo.pdl", "definition", TOL_SOLVE, mdp_and_policies(0.99), pdl),
        random("trpo.pdl", "finite-horizon", TOL_ID, tiny_and_policies(), pdl_finite),
        random("trpo.pdl", "edges", TOL_SOLVE, mdp_and_policy(0.99), pdl_edges),
        fixed("trpo.pdl", "closed", TOL_STAT, |_| pdl_closed()),
        random("trpo.surrogate", "two-forms", TOL_SOLVE, mdp_and_policies(0.99), surrogate_forms),
        random("trpo.surrogate", "gradient", TOL_FD, mdp_and_policy(0.95), surrogate_gradient),
        random("trpo.surrogate", "second-order", 0.05, directions(), surrogate_second_order),
        random("trpo.surrogate", "no-discount", TOL_ID, mdp_and_policies(0.0), surrogate_myopic),
        fixed("trpo.surrogate", "closed", TOL_STAT, |_| surrogate_closed()),
        random("trpo.bound-max", "inequality", TOL_INEQ, mdp_and_policies(0.99), bound_max),
        random("trpo.bound-max", "distances", TOL_ID, mdp_and_policies(0.99), bound_max_distances),
        random("trpo.bound-max", "disjoint", TOL_INEQ, disjoint(), bound_max_disjoint),
        fixed("trpo.bound-max", "closed", TOL_STAT, |_| bound_max_closed()),
        random("trpo.bound-average", "inequality", TOL_INEQ, mdp_and_policies(0.99), bound_average),
        random("trpo.bound-average", "distances", TOL_ID, mdp_and_policies(0.99), bound_average_distances),
        random("trpo.bound-average", "same-policy", TOL_INEQ, mdp_and_policy(0.99), bound_average_same),
        fixed("trpo.bound-average", "closed", TOL_STAT, |_| bound_average_closed()),
        random("cpi.mixture", "inequality", TOL_INEQ, mixtures(), mixture_bound),
        random("cpi.mixture", "linear", TOL_SOLVE, mixtures(), mixture_linear),
        random("cpi.mixture", "ends", TOL_SOLVE, mdp_and_policies(0.99), mixture_ends),
        fixed("cpi.mixture", "partner", TOL_STAT, |_| mixture_closed()),
        random("mm.ascent", "preferences", TOL_INEQ, games(), mm_preferences),
        random("mm.ascent", "penalised-surrogate", TOL_INEQ, tiny_steps(), mm_penalised).at_most(64),
        random("mm.ascent", "stationary", EXACT, (-3.0..=3.0f64, 1.0..=4.0f64), mm_stationary),
        fixed("mm.ascent", "contact", EXACT, |_| mm_contact()),
        random("trpo.pointwise", "tilt", TOL_INEQ, mdp_and_policy(0.99), tilt_improves),
        random("trpo.pointwise", "tilt-definition", TOL_ID, mdp_and_policy(0.95), tilt_definition),
        random("trpo.pointwise", "any-policy", TOL_INEQ, mdp_and_policies(0.99), pointwise_any),
        random(
            "trpo.pointwise",
            "no-advantage",
            TOL_ID,
            (mdp_and_policy(0.99), 0.01..=10.0f64),
            pointwise_zero,
        ),
        fixed("trpo.pointwise", "shared-parameter", TOL_STAT, |_| pointwise_closed()),
    ]
}

// The other side

fn objective(mdp: &Mdp, policy: &Policy) -> f64 {
    policy_value(mdp, policy).iter().zip(&mdp.mu).map(|(v, m)| v * m).sum()
}

/// `sum_s d(s) sum_a pi'(a | s) A(s, a) / (1 - gamma)`, spelled out.
fn expected_advantage(d: &[f64], policy: &Policy, advantage: &Array2<f64>, gamma: f64) -> f64 {
    let mut sum = 0.0;
    for ((s, a), pi) in policy.indexed_iter() {
        sum += d[s] * pi * advantage[[s, a]];
    }
    sum / (1.0 - gamma)
}

/// The largest size that a value can have, at least 1.
fn scale(mdp: &Mdp) -> f64 {
    mdp.r.iter().fold(1.0, |m: f64, r| m.max(r.abs())) / (1.0 - mdp.gamma)
}

fn surrogate(mdp: &Mdp, old: &Policy, new: &Policy) -> f64 {
    perf::surrogate(&occupancy(mdp, old), new, &advantage(mdp, old), mdp.gamma)
}

fn softmax_rows(z: &[f64], dim: (usize, usize)) -> Policy {
    let mut policy = Array2::from_shape_fn(dim, |(s, a)| z[s * dim.1 + a].exp());
    for mut row in policy.rows_mut() {
        let sum = row.sum();
        row /= sum;
    }
    policy
}

// trpo.telescoping

fn values(segment: &Segment) -> Vec<f64> {
    (0..=segment.len()).map(|k| segment.value_after(k)).collect()
}

fn sum_of_differences(value: &[f64], gamma: f64) -> f64 {
    value.windows(2).enumerate().map(|(t, v)| gamma.powi(t as i32) * (gamma * v[1] - v[0])).sum()
}

fn telescoping(roll: Roll) -> Measured {
    let mut worst = Worst::new();
    for segment in roll.segments() {
        let value = values(&segment);
        worst.same(sum_of_differences(&value, roll.gamma), perf::telescoped(&value, roll.gamma));
        // No step, no difference.
        worst.same(perf::telescoped(&value[..1], roll.gamma), 0.0);
        if segment.terminated {
            worst
                .same(sum_of_differences(&value, 1.0), -value[0])
                .same(perf::telescoped(&value, 1.0), -value[0]);
        }
    }
    worst.done()
}

/// Bounded values and a discount below 1: what is missing from `-V(s_0)` shrinks like the discount's power.
fn telescoping_limit((roll, gamma): (Roll, f64)) -> Measured {
    let value: Vec<f64> = roll.value.iter().copied().cycle().take(400).collect();
    let largest = value.iter().fold(0.0, |m: f64, v| m.max(v.abs()));
    let mut worst = Worst::new();
    for steps in [1, 10, 399] {
        let left = (perf::telescoped(&value[..=steps], gamma) + value[0]).abs();
        worst.at_most(left, gamma.powi(steps as i32) * largest);
    }
    worst.done()
}

fn telescoping_closed() -> Measured {
    let mut worst = Worst::new();
    for steps in 0..50 {
        let value = vec![7.0; steps + 1];
        worst.same(perf::telescoped(&value, 1.0), 0.0).same(sum_of_differences(&value, 1.0), 0.0);
    }
    worst.holds(panics(|| perf::telescoped::<f64>(&[], 0.5)));
    worst.done()
}

// trpo.pdl

fn pdl((mdp, old, new): (Mdp, Policy, Policy)) -> Measured {
    let difference = objective(&mdp, &new) - objective(&mdp, &old);
    let advantage = advantage(&mdp, &old);
    let left = perf::performance_difference(&mdp.p, &new, &advantage, &mdp.mu.to_vec(), mdp.gamma)
        .map_err(|refused| refused.to_string())?;
    let right = expected_advantage(&occupancy(&mdp, &new), &new, &advantage, mdp.gamma);
    let scale = scale(&mdp);
    let relative = |x: f64, y: f64| crate::measure::relative(x, y, scale) * (1.0 - mdp.gamma);
    Worst::new().add(relative(left, difference)).add(relative(left, right)).done()
}

/// Listing every path: returns under both policies, and the advantages with so many steps left along the paths of the new one.
fn pdl_finite((mdp, horizon, old, new): (Mdp, usize, Policy, Policy)) -> Measured {
    let discounted = |path: &crate::oracles::Trajectory<'_>| -> f64 {
        (0..path.actions.len()).map(|t| mdp.gamma.powi(t as i32) * path.reward(&mdp, t)).sum()
    };
    let value = |steps: usize, start: usize| {
        let mut mean = 0.0;
        trajectories_from(&mdp, &old, start, steps, &mut |path| mean += path.prob * discounted(&path));
        mean
    };
    let mut advantage = Array3::zeros((horizon, mdp.states(), mdp.actions()));
    for t in 0..horizon {
        let after: Vec<f64> = (0..mdp.states()).map(|s| value(horizon - t - 1, s)).collect();
        for ((s, a), x) in advantage.slice_mut(s![t, .., ..]).indexed_iter_mut() {
            let q: f64 = (0..mdp.states())
                .map(|next| mdp.p[[s, a, next]] * (mdp.r[[s, a, next]] + mdp.gamma * after[next]))
                .sum();
            *x = q - value(horizon - t, s);
        }
    }
    let (mut along, mut difference) = (0.0, 0.0);
    trajectories(&mdp, &new, horizon, &mut |path| {
        let sum: f64 = (0..horizon)
            .map(|t| mdp.gamma.powi(t as i32) * advantage[[t, path.states[t], path.actions[t]]])
            .sum();
        along += path.prob * sum;
        difference += path.prob * discounted(&path);
    });
    trajectories(&mdp, &old, horizon, &mut |path| difference -= path.prob * discounted(&path));
    let left = perf::finite_performance_difference(&mdp.p, &new, &advantage, &mdp.mu.to_vec(), mdp.gamma);
    Worst::new().same(left, difference).same(left, along).done()
}

fn pdl_edges((mdp, policy): (Mdp, Policy)) -> Measured {
    let (advantage, mu) = (advantage(&mdp, &policy), mdp.mu.to_vec());
    let mut worst = Worst::new();
    let same = perf::performance_difference(&mdp.p, &policy, &advantage, &mu, mdp.gamma)
        .map_err(|refused| refused.to_string())?;
    worst.add(same.abs() / scale(&mdp) * (1.0 - mdp.gamma));
    for gamma in [1.0, -0.1, f64::NAN] {
        worst.holds(perf::performance_difference(&mdp.p, &policy, &advantage, &mu, gamma).is_err());
    }
    worst.done()
}

/// The fixture of the bounds: from s_0 action 0 stays and action 1 leads to s_1, which keeps the agent and pays 0 or -1.
fn trap() -> Mdp {
    let (mut p, mut r) = (Array3::zeros((2, 2, 2)), Array3::zeros((2, 2, 2)));
    for (s, a, next) in [(0, 0, 0), (0, 1, 1), (1, 0, 1), (1, 1, 1)] {
        p[[s, a, next]] = 1.0;
    }
    r[[1, 1, 1]] = -1.0;
    Mdp { p, r, mu: Array1::from(vec![1.0, 0.0]), gamma: 0.9 }
}

/// The same chance of action 1 in both states.
fn chance(p: f64) -> Policy {
    array![[1.0 - p, p], [1.0 - p, p]]
}

/// In the trap: the lemma holds, breaks with the old policy's visits, and breaks with another start.
fn pdl_closed() -> Measured {
    let (mdp, old, new) = (trap(), chance(0.01), chance(0.05));
    let advantage = advantage(&mdp, &old);
    let difference = |mu: &[f64]| perf::performance_difference(&mdp.p, &new, &advantage, mu, mdp.gamma);
    let mut worst = Worst::new();
    worst.printed(objective(&mdp, &new) - objective(&mdp, &old), -0.14692, 5);
    worst.printed(difference(&[1.0, 0.0]).map_err(|e| e.to_string())?, -0.14692, 5);
    worst.printed(surrogate(&mdp, &old, &new), -0.06333, 5);
    worst.printed(difference(&[0.0, 1.0]).map_err(|e| e.to_string())?, -0.4, 5);
    worst.done()
}

// trpo.surrogate

fn surrogate_forms((mdp, old, new): (Mdp, Policy, Policy)) -> Measured {
    let (d, a) = (occupancy(&mdp, &old), advantage(&mdp, &old));
    let left = perf::surrogate(&d, &new, &a, mdp.gamma);
    let by_ratio = perf::surrogate_by_ratio(&d, &old, &new, &a, mdp.gamma);
    let scale = scale(&mdp);
    let mut worst = Worst::new();
    let mut same = |x: f64, y: f64| {
        worst.add(crate::measure::relative(x, y, scale) * (1.0 - mdp.gamma));
    };
    same(left, expected_advantage(&d, &new, &a, mdp.gamma));
    same(by_ratio, left);
    same(perf::surrogate(&d, &old, &a, mdp.gamma), 0.0);
    same(perf::surrogate_by_ratio(&d, &old, &old, &a, mdp.gamma), 0.0);
    worst.done()
}

/// At the old policy the surrogate and the objective have one gradient in the logits.
fn surrogate_gradient((mdp, policy): (Mdp, Policy)) -> Measured {
    let (d, a) = (occupancy(&mdp, &policy), advantage(&mdp, &policy));
    let logits: Vec<f64> = policy.iter().map(|pi| pi.ln()).collect();
    let at = |z: &[f64]| softmax_rows(z, policy.dim());
    let left = gradient(|z| perf::surrogate(&d, &at(z), &a, mdp.gamma), &logits);
    let right = gradient(|z| objective(&mdp, &at(z)), &logits);
    let by_ratio = gradient(|z| perf::surrogate_by_ratio(&d, &policy, &at(z), &a, mdp.gamma), &logits);
    Worst::new().gradient(&left, &right).gradient(&by_ratio, &right).done()
}

/// A process, logits, and a unit direction along which the surrogate misses something of the second order.
type Direction = (Mdp, Vec<f64>, Vec<f64>);

fn directions() -> impl Strategy<Value = Direction> + Clone + Send + Sync {
    (mdp_of(2..=8, 2..=4, gamma(0.95)), normals(32), normals(32))
        .prop_map(|(mdp, mut z, mut d)| {
            let n = mdp.states() * mdp.actions();
            z.truncate(n);
            d.truncate(n);
            let norm = d.iter().map(|x| x * x).sum::<f64>().sqrt();
            d.iter_mut().for_each(|x| *x /= norm);
            (mdp, z, d)
        })
        .prop_filter("the second order vanishes", |case| {
            let value = policy_value(&case.0, &softmax_rows(&case.1, (case.0.states(), case.0.actions())));
            quotient(case, 1e-3).abs() > 1e-3 * value.iter().fold(1.0, |m: f64, v| m.max(v.abs()))
        })
}

/// What the surrogate misses, over the square of the step.
fn quotient((mdp, z, d): &Direction, h: f64) -> f64 {
    let dim = (mdp.states(), mdp.actions());
    let there: Vec<f64> = z.iter().zip(d).map(|(z, d)| z + h * d).collect();
    let (old, new) = (softmax_rows(z, dim), softmax_rows(&there, dim));
    (objective(mdp, &new) - objective(mdp, &old) - surrogate(mdp, &old, &new)) / (h * h)
}

fn surrogate_second_order(case: Direction) -> Measured {
    // Both ways along the direction, so that the third order cancels from the coarse one; it is too small to matter in the fine
    // one, which goes one way, so that a gap of first order would show.
    let coarse = 0.5 * (quotient(&case, 1e-2) + quotient(&case, -1e-2));
    let fine = quotient(&case, 1e-3);
    let mut worst = Worst::new();
    worst.add((coarse / fine - 1.0).abs()).holds(quotient(&case, 1e-1).is_finite());
    worst.done()
}

fn surrogate_myopic((mdp, old, new): (Mdp, Policy, Policy)) -> Measured {
    let difference = objective(&mdp, &new) - objective(&mdp, &old);
    Worst::new().same(surrogate(&mdp, &old, &new), difference).done()
}

/// Two states that share `p`, the chance of action 0: in s_0 it pays 1 and leads to s_1, in s_1 it pays `loss`; the rest pays nothing and
/// ends. With `gamma loss = -5` the objective is `p - 5 p^2`.
fn shared_parameter(gamma: f64) -> Mdp {
    let (mut p, mut r) = (Array3::zeros((3, 2, 3)), Array3::zeros((3, 2, 3)));
    for (s, a, next) in [(0, 0, 1), (0, 1, 2), (1, 0, 2), (1, 1, 2), (2, 0, 2), (2, 1, 2)] {
        p[[s, a, next]] = 1.0;
    }
    r[[0, 0, 1]] = 1.0;
    r[[1, 0, 2]] = -5.0 / gamma;
    Mdp { p, r, mu: Array1::from(vec![1.0, 0.0, 0.0]), gamma }
}

fn shared(p: f64) -> Policy {
    Array2::from_shape_fn((3, 2), |(_, a)| if a == 0 { p } else { 1.0 - p })
}

fn surrogate_closed() -> Measured {
    let mut worst = Worst::new();
    // It approximates the difference: 0 at the old policy, whose objective is 0.0495.
    for gamma in [0.5, 0.9, 0.99] {
        let mdp = shared_parameter(gamma);
        let (old, new) = (shared(0.09), shared(0.135879));
        worst.printed(surrogate(&mdp, &old, &old), 0.0, 10).printed(objective(&mdp, &old), 0.0495, 10);
        worst.printed(surrogate(&mdp, &old, &new), 0.00459, 5);
        worst.printed(objective(&mdp, &new), 0.043563, 6);
    }
    // An action that the old policy never takes is invisible to its samples.
    let (d, a) = ([1.0], array![[0.0, 2.0]]);
    let (old, new) = (array![[1.0, 0.0]], array![[0.0, 1.0]]);
    worst.printed(perf::surrogate(&d, &new, &a, 0.5), 4.0, 10);
    worst.printed(perf::surrogate_by_ratio(&d, &old, &new, &a, 0.5), 0.0, 10);
    // The factor 1 / (1 - gamma) is 10 at 0.9.
    worst.printed(perf::surrogate(&d, &new, &a, 0.9), 20.0, 10);
    worst.done()
}

// trpo.bound-max

/// The lower bounds on the difference of the objectives, with the squared distance and with the divergence.
fn lower_bounds(mdp: &Mdp, old: &Policy, new: &Policy) -> [f64; 2] {
    let eps = region::largest_advantage(&advantage(mdp, old));
    let alpha = region::max_total_variation(old, new);
    let l = surrogate(mdp, old, new);
    [alpha * alpha, region::max_kl(old, new)].map(|squared| l - region::max_penalty(eps, squared, mdp.gamma))
}

fn bound_max((mdp, old, new): (Mdp, Policy, Policy)) -> Measured {
    let difference = (objective(&mdp, &new) - objective(&mdp, &old)) / scale(&mdp);
    let [by_distance, by_kl] = lower_bounds(&mdp, &old, &new).map(|b| b / scale(&mdp));
    Worst::new().at_most(by_distance, difference).at_most(by_kl, by_distance).done()
}

fn bound_max_distances((mdp, old, new): (Mdp, Policy, Policy)) -> Measured {
    let (mut tv, mut kl, mut eps) = (0.0f64, 0.0f64, 0.0f64);
    let a = advantage(&mdp, &old);
    for s in 0..mdp.states() {
        let (mut row_tv, mut row_kl) = (0.0, 0.0);
        for j in 0..mdp.actions() {
            let (p, q) = (old[[s, j]], new[[s, j]]);
            // The mass that has to move, counted where it is missing.
            row_tv += (p - q).max(0.0);
            row_kl += p * (p.ln() - q.ln());
            eps = eps.max(a[[s, j]]).max(-a[[s, j]]);
        }
        (tv, kl) = (tv.max(row_tv), kl.max(row_kl));
    }
    let mut worst = Worst::new();
    worst.same(region::max_total_variation(&old, &new), tv).same(region::max_kl(&old, &new), kl);
    worst.same(region::largest_advantage(&a), eps);
    worst.done()
}

/// Two deterministic policies that differ in every state.
fn disjoint() -> impl Strategy<Value = (Mdp, Policy, Policy)> + Clone + Send + Sync {
    (mdp_of(2..=8, 2..=4, gamma(0.99)), vec((0..4usize, 1..4usize), 8)).prop_map(|(mdp, choice)| {
        let (s, a) = (mdp.states(), mdp.actions());
        let one: Vec<usize> = choice[..s].iter().map(|c| c.0 % a).collect();
        let two: Vec<usize> = choice[..s].iter().map(|c| (c.0 % a + 1 + c.1 % (a - 1)) % a).collect();
        let (one, two) = (deterministic(&one, a), deterministic(&two, a));
        (mdp, one, two)
    })
}

fn bound_max_disjoint((mdp, old, new): (Mdp, Policy, Policy)) -> Measured {
    let mut worst = Worst::new();
    worst
        .same(region::max_total_variation(&old, &new), 1.0)
        .holds(region::max_kl(&old, &new) == f64::INFINITY);
    let difference = (objective(&mdp, &new) - objective(&mdp, &old)) / scale(&mdp);
    let [by_distance, by_kl] = lower_bounds(&mdp, &old, &new);
    worst.at_most(by_distance / scale(&mdp), difference);
    // Nothing is promised, unless there is nothing to lose.
    worst.holds(
        by_kl == f64::NEG_INFINITY
            || mdp.gamma == 0.0
            || region::largest_advantage(&advantage(&mdp, &old)) == 0.0,
    );
    worst.done()
}

fn bound_max_closed() -> Measured {
    let (mdp, old, new) = (trap(), chance(0.01), chance(0.05));
    let mut worst = Worst::new();
    worst.printed(objective(&mdp, &new) - objective(&mdp, &old), -0.14692, 5);
    worst.printed(surrogate(&mdp, &old, &new), -0.06333, 5);
    worst.printed(lower_bounds(&mdp, &old, &new)[0], -0.63357, 5);
    worst.printed(region::largest_advantage(&advantage(&mdp, &old)), 0.99, 10);
    // Without discount for the future nothing can be lost, however far away.
    worst.printed(region::max_penalty(0.99, f64::INFINITY, 0.0), 0.0, 10);
    worst.done()
}

// trpo.bound-average

fn bound_average((mdp, old, new): (Mdp, Policy, Policy)) -> Measured {
    let (d, eps) = (occupancy(&mdp, &old), region::largest_gain(&new, &advantage(&mdp, &old)));
    let gap =
        (objective(&mdp, &new) - objective(&mdp, &old) - surrogate(&mdp, &old, &new)).abs() / scale(&mdp);
    let by_distance =
        region::average_penalty(eps, region::mean_total_variation(&d, &old, &new), mdp.gamma) / scale(&mdp);
    let mut worst = Worst::new();
    worst.at_most(gap, by_distance);
    for kl in [region::mean_kl(&d, &old, &new), region::mean_kl(&d, &new, &old)] {
        worst.at_most(by_distance, region::average_penalty_kl(eps, kl, mdp.gamma) / scale(&mdp));
    }
    worst.done()
}

fn bound_average_distances((mdp, old, new): (Mdp, Policy, Policy)) -> Measured {
    let (d, a) = (occupancy(&mdp, &old), advantage(&mdp, &old));
    let (mut tv, mut kl, mut eps) = (0.0, 0.0, 0.0f64);
    for s in 0..mdp.states() {
        let mut gain = 0.0;
        for j in 0..mdp.actions() {
            let (p, q) = (old[[s, j]], new[[s, j]]);
            tv += d[s] * (p - q).max(0.0);
            kl += d[s] * p * (p.ln() - q.ln());
            gain += q * a[[s, j]];
        }
        eps = eps.max(gain).max(-gain);
    }
    let mut worst = Worst::new();
    worst.same(region::mean_total_variation(&d, &old, &new), tv).same(region::mean_kl(&d, &old, &new), kl);
    worst.same(region::largest_gain(&new, &a), eps);
    // A state without visits does not count, not even at an infinite divergence.
    let mut far = new.clone();
    far.row_mut(0).fill(0.0);
    far[[0, 0]] = 1.0;
    let mut visits = d.clone();
    visits[0] = 0.0;
    worst.holds(
        region::mean_kl(&visits, &old, &far).is_finite() && region::mean_kl(&d, &old, &far).is_infinite(),
    );
    worst.done()
}

fn bound_average_same((mdp, policy): (Mdp, Policy)) -> Measured {
    let d = occupancy(&mdp, &policy);
    let eps = region::largest_gain(&policy, &advantage(&mdp, &policy));
    let mut worst = Worst::new();
    worst.same(
        region::average_penalty(eps, region::mean_total_variation(&d, &policy, &policy), mdp.gamma),
        0.0,
    );
    worst.same(region::average_penalty_kl(eps, region::mean_kl(&d, &policy, &policy), mdp.gamma), 0.0);
    worst.done()
}

fn bound_average_closed() -> Measured {
    let (mdp, old, new) = (trap(), chance(0.01), chance(0.05));
    let (d, eps) = (occupancy(&mdp, &old), region::largest_gain(&new, &advantage(&mdp, &old)));
    let gap = (objective(&mdp, &new) - objective(&mdp, &old) - surrogate(&mdp, &old, &new)).abs();
    let mut worst = Worst::new();
    worst.printed(gap, 0.0836, 4).printed(eps, 0.04, 10);
    worst.printed(region::mean_total_variation(&d, &old, &new), 0.04, 10);
    worst.printed(region::average_penalty(eps, 0.04, mdp.gamma), 0.288, 10);
    worst.printed(region::average_penalty_kl(eps, region::mean_kl(&d, &old, &new), mdp.gamma), 0.80073, 5);
    worst.done()
}

// cpi.mixture

type Mixture = (Mdp, Policy, Policy, f64);

/// Two policies and a weight, half of the time a small one: large ones leave the bound slack.
fn mixtures() -> impl Strategy<Value = Mixture> + Clone + Send + Sync {
    let weight = prop_oneof![0.0..=1.0f64, (-3.0..=-1.0f64).prop_map(|power| 10f64.powf(power))];
    (mdp_and_policies(0.99), weight).prop_map(|((mdp, old, partner), alpha)| (mdp, old, partner, alpha))
}

fn mixed(old: &Policy, partner: &Policy, alpha: f64) -> Policy {
    let mut out = Array2::from_elem(old.dim(), f64::NAN);
    region::mixture(old, partner, alpha, &mut out);
    out
}

fn mixture_bound((mdp, old, partner, alpha): Mixture) -> Measured {
    let new = mixed(&old, &partner, alpha);
    let penalty =
        region::mixture_penalty(region::largest_gain(&partner, &advantage(&mdp, &old)), alpha, mdp.gamma);
    let difference = objective(&mdp, &new) - objective(&mdp, &old);
    let bound = alpha * surrogate(&mdp, &old, &partner) - penalty;
    Worst::new().at_most(bound / scale(&mdp), difference / scale(&mdp)).done()
}

fn mixture_linear((mdp, old, partner, alpha): Mixture) -> Measured {
    let new = mixed(&old, &partner, alpha);
    let mut worst = Worst::new();
    for ((s, a), pi) in new.indexed_iter() {
        worst.same(*pi, old[[s, a]] + alpha * (partner[[s, a]] - old[[s, a]]));
    }
    let (left, right) = (surrogate(&mdp, &old, &new), alpha * surrogate(&mdp, &old, &partner));
    worst.add(crate::measure::relative(left, right, scale(&mdp)) * (1.0 - mdp.gamma)).done()
}

fn mixture_ends((mdp, old, partner): (Mdp, Policy, Policy)) -> Measured {
    let mut worst = Worst::new();
    worst.all(&mixed(&old, &partner, 0.0), &old).all(&mixed(&old, &partner, 1.0), &partner);
    worst.same(region::mixture_penalty(3.0, 0.0, mdp.gamma), 0.0);
    // At weight 1 the whole distance is 1.
    worst.solved(region::mixture_penalty(0.5, 1.0, mdp.gamma), mdp.gamma / (1.0 - mdp.gamma), mdp.gamma);
    worst.done()
}

/// In the trap, a tenth of the sure fall: the bound holds with the gain of the partner, and not with that of the mixture.
fn mixture_closed() -> Measured {
    let (mdp, old, partner, alpha) = (trap(), chance(0.01), chance(1.0), 0.1);
    let a = advantage(&mdp, &old);
    let new = mixed(&old, &partner, alpha);
    let difference = objective(&mdp, &new) - objective(&mdp, &old);
    let bound = |gain: f64| surrogate(&mdp, &old, &new) - region::mixture_penalty(gain, alpha, mdp.gamma);
    let mut worst = Worst::new();
    worst.printed(difference, -0.53152, 5).printed(surrogate(&mdp, &old, &new), -0.15674, 5);
    worst.printed(bound(region::largest_gain(&partner, &a)), -1.09463, 5);
    worst.printed(bound(region::largest_gain(&new, &a)), -0.25053, 5);
    worst.done()
}

// mm.ascent

/// Wins of three to five players, each of whom beat each other one at least once, log-strengths to start from, and others to compare with.
fn games() -> impl Strategy<Value = (Array2<f64>, Vec<f64>, Vec<Vec<f64>>)> + Clone + Send + Sync {
    (3..=5usize, vec(1..=9u8, 25), normals(5), vec(normals(5), 20)).prop_map(|(n, wins, start, others)| {
        let wins =
            Array2::from_shape_fn((n, n), |(i, k)| if i == k { 0.0 } else { f64::from(wins[i * 5 + k]) });
        (wins, start[..n].to_vec(), others.into_iter().map(|o| o[..n].to_vec()).collect())
    })
}

/// The log-likelihood of the wins is minorised by putting the tangent in place of `-log(x + y)`: `-log z >= -log z_0 - z / z_0 + 1`.
fn mm_preferences((wins, start, others): (Array2<f64>, Vec<f64>, Vec<Vec<f64>>)) -> Measured {
    let games = Games::new(&wins).map_err(|unfit| unfit.to_string())?;
    let likelihood = |u: &Vec<f64>| -games.nll(u);
    let minoriser = |u: &Vec<f64>| {
        let terms = wins.indexed_iter().map(|((i, k), w)| {
            let before = start[i].exp() + start[k].exp();
            w * (u[i] - before.ln() - (u[i].exp() + u[k].exp()) / before + 1.0)
        });
        terms.sum::<f64>()
    };
    let mut worst = Worst::new();
    worst.same(likelihood(&start), minoriser(&start));
    for u in &others {
        worst.at_most(minoriser(u), likelihood(u));
    }
    // The update of the fit is where it is largest.
    let strength: Vec<f64> = start.iter().map(|u| u.exp()).collect();
    let mut next = vec![f64::NAN; strength.len()];
    games.mm_step(&strength, &mut next);
    let best: Vec<f64> = next.iter().map(|l| l.ln()).collect();
    let mean = best.iter().sum::<f64>() / best.len() as f64;
    // The update is normalised, and a common factor of the strengths changes the minoriser: look along it, too.
    let shifts =
        (-40..=40).map(|i| best.iter().map(|b| b - mean + f64::from(i) / 20.0).collect::<Vec<f64>>());
    let candidates = shifts.chain(others).chain([best.clone()]);
    let slack = 1e-9 * likelihood(&start).abs().max(1.0);
    let chosen = region::mm_step(likelihood, minoriser, &start, candidates, slack)
        .map_err(|refused| refused.to_string())?;
    worst.at_most(likelihood(&start), likelihood(&chosen)).at_most(likelihood(&start), likelihood(&best));
    worst.done()
}

/// A small process, a policy, and how far a grid reaches.
fn tiny_steps() -> impl Strategy<Value = (Mdp, Policy)> + Clone + Send + Sync {
    (mdp_of(2..=3, 2..=2, gamma(0.9)), policy(3, 2)).prop_map(|(mdp, policy)| {
        let policy = policy.slice(s![..mdp.states(), ..]).to_owned();
        (mdp, policy)
    })
}

/// Changes of a logit: the bound leaves room for small steps alone.
const OFFSETS: [f64; 13] = [0.0, 1e-6, -1e-6, 1e-4, -1e-4, 1e-3, -1e-3, 1e-2, -1e-2, 0.1, -0.1, 1.0, -1.0];

/// The surrogate less the penalty touches the objective at the old policy and lies below it: its best policy is no worse.
fn mm_penalised((mdp, old): (Mdp, Policy)) -> Measured {
    let (d, a, start) = (occupancy(&mdp, &old), advantage(&mdp, &old), objective(&mdp, &old));
    let eps = region::largest_advantage(&a);
    let minoriser = |new: &Policy| {
        start + perf::surrogate(&d, new, &a, mdp.gamma)
            - region::max_penalty(eps, region::max_kl(&old, new), mdp.gamma)
    };
    let mut candidates = Vec::new();
    tuples(OFFSETS.len(), mdp.states(), &mut |grid| {
        let z: Vec<f64> = old
            .indexed_iter()
            .map(|((s, action), pi)| pi.ln() + if action == 0 { OFFSETS[grid[s]] } else { 0.0 })
            .collect();
        candidates.push(softmax_rows(&z, old.dim()));
    });
    let slack = 1e-12 * scale(&mdp) / (1.0 - mdp.gamma);
    let best = region::mm_step(|pi| objective(&mdp, pi), minoriser, &old, candidates, slack)
        .map_err(|refused| refused.to_string())?;
    let mut worst = Worst::new();
    worst.at_most(start / scale(&mdp), objective(&mdp, &best) / scale(&mdp));
    // It moves wherever there is something to gain: the penalty is of the second order.
    let slope =
        old.indexed_iter().map(|((s, j), pi)| (d[s] * pi * (1.0 - pi) * a[[s, j]]).abs()).fold(0.0, f64::max);
    worst.holds(best != old || slope <= 1e-3 * eps);
    worst.done()
}

/// `f(x) = -x^2` and a parabola of the given curvature that touches it in `x_0`: always an ascent, and none at the top.
fn mm_stationary((start, curvature): (f64, f64)) -> Measured {
    let f = |x: &f64| -x * x;
    let at = |start: f64| {
        move |x: &f64| -start * start - 2.0 * start * (x - start) - curvature * (x - start) * (x - start)
    };
    let grid = || (-400..=400).map(|i| f64::from(i) / 100.0);
    let mut worst = Worst::new();
    let next = region::mm_step(f, at(start), &start, grid(), 1e-9).map_err(|refused| refused.to_string())?;
    worst.holds(f(&next) >= f(&start));
    let top = region::mm_step(f, at(0.0), &0.0, grid(), 1e-9).map_err(|refused| refused.to_string())?;
    worst.holds(top == 0.0);
    worst.done()
}

/// A lower bound that does not touch: its maximum would take `f = -x^2` from 0 to -9.
fn mm_contact() -> Measured {
    let f = |x: &f64| -x * x;
    let bound = |x: &f64| -2.0 * (x - 3.0) * (x - 3.0) - 18.0;
    let grid = || (-1000..=1000).map(|i| f64::from(i) / 100.0);
    let mut worst = Worst::new();
    worst.holds(grid().all(|x| bound(&x) <= f(&x)));
    let naive = grid().fold(0.0, |best: f64, x| if bound(&x) > bound(&best) { x } else { best });
    worst.same(naive, 3.0).same(f(&naive), -9.0);
    let refused = region::mm_step(f, bound, &0.0, grid(), 1e-9);
    worst.holds(refused == Err(NotAMinoriser::NoContact { gap: 36.0 }));
    worst.holds(matches!(
        region::mm_step(f, |x| x - x * x, &0.0, grid(), 1e-9),
        Err(NotAMinoriser::Above { excess }) if (excess - 0.5).abs() < 1e-12
    ));
    worst.holds(region::mm_step(f, |_| f64::NAN, &0.0, grid(), 1e-9).is_err());
    worst.done()
}

// trpo.pointwise

fn tilted(policy: &Policy, advantage: &Array2<f64>, beta: f64) -> Policy {
    let mut out = Array2::from_elem(policy.dim(), f64::NAN);
    perf::tilt(policy, advantage, beta, &mut out);
    out
}

/// Every value is at least what it was.
fn no_worse(worst: &mut Worst, mdp: &Mdp, old: &Policy, new: &Policy) {
    for (before, after) in policy_value(mdp, old).iter().zip(policy_value(mdp, new)) {
        worst.at_most(before / scale(mdp), after / scale(mdp));
    }
}

fn tilt_improves((mdp, old): (Mdp, Policy)) -> Measured {
    let a = advantage(&mdp, &old);
    let mut worst = Worst::new();
    for beta in [0.1, 1.0, 10.0] {
        let new = tilted(&old, &a, beta);
        worst.holds(perf::improves_everywhere(&new, &a, 1e-12 * scale(&mdp) / (1.0 - mdp.gamma)));
        no_worse(&mut worst, &mdp, &old, &new);
    }
    worst.done()
}

/// Ratios of probabilities: those of the old policy times the exponential of the difference of advantages.
fn tilt_definition((mdp, old): (Mdp, Policy)) -> Measured {
    let a = advantage(&mdp, &old);
    let mut worst = Worst::new();
    for beta in [0.1, 1.0, 10.0] {
        let new = tilted(&old, &a, beta);
        for (s, row) in new.rows().into_iter().enumerate() {
            worst.same(row.sum(), 1.0);
            let total = |j: usize| -> f64 {
                (0..row.len())
                    .map(|k| (old[[s, k]].ln() - old[[s, j]].ln() + (a[[s, k]] - a[[s, j]]) / beta).exp())
                    .sum()
            };
            for j in 0..row.len() {
                worst.same(row[j], 1.0 / total(j));
            }
        }
    }
    worst.done()
}

/// Any policy that takes another one's row only where that gains, and the others' rows as they are.
fn pointwise_any((mdp, old, other): (Mdp, Policy, Policy)) -> Measured {
    let a = advantage(&mdp, &old);
    let mut new = old.clone();
    let mut worst = Worst::new();
    let mut mean = vec![f64::NAN; mdp.states()];
    perf::mean_advantage(&other, &a, &mut mean);
    let mut all = true;
    for s in 0..mdp.states() {
        let gain: f64 = (0..mdp.actions()).map(|j| other[[s, j]] * a[[s, j]]).sum();
        worst.scaled(mean[s], gain, scale(&mdp));
        all &= gain >= 0.0;
        if gain > 0.0 {
            new.row_mut(s).assign(&other.row(s));
        }
    }
    let slack = 1e-12 * scale(&mdp) / (1.0 - mdp.gamma);
    worst.holds(perf::improves_everywhere(&new, &a, slack));
    worst.holds(!all || perf::improves_everywhere(&other, &a, slack));
    let clear_loss = mean.iter().any(|&m| m < -10.0 * slack);
    worst.holds(!clear_loss || !perf::improves_everywhere(&other, &a, slack));
    no_worse(&mut worst, &mdp, &old, &new);
    // Greedy improvement is the limit, and never beyond the optimum.
    for (best, value) in optimal_value(&mdp).iter().zip(policy_value(&mdp, &new)) {
        worst.at_most(value / scale(&mdp), best / scale(&mdp));
    }
    worst.done()
}

fn pointwise_zero(((mdp, policy), beta): ((Mdp, Policy), f64)) -> Measured {
    let nothing = Array2::zeros((mdp.states(), mdp.actions()));
    let mut worst = Worst::new();
    worst.all(&tilted(&policy, &nothing, beta), &policy);
    worst.holds(perf::improves_everywhere(&policy, &nothing, 0.0)).done()
}

/// Two states share a parameter: the best step within the divergence gains on average over the visits and loses where it matters.
fn pointwise_closed() -> Measured {
    let divergence = |q: f64| 0.09 * (0.09f64 / q).ln() + 0.91 * (0.91 / (1.0 - q)).ln();
    // The surrogate rises with p, so that the best step is on the boundary, which bisection finds.
    let (mut low, mut high) = (0.09, 0.5);
    for _ in 0..100 {
        let middle = 0.5 * (low + high);
        if divergence(middle) < 0.01 { low = middle } else { high = middle }
    }
    let p = low;
    // Advantages without discount, where the second state pays -5: the same process, with the discount moved into the reward.
    let mdp = shared_parameter(0.5);
    let mut a = advantage(&mdp, &shared(0.09));
    a.row_mut(1).mapv_inplace(|x| 0.5 * x);
    let mut mean = [f64::NAN; 3];
    perf::mean_advantage(&shared(p), &a, &mut mean);
    let q = action_value(&mdp, &shared(0.09));
    let mut worst = Worst::new();
    worst.printed(p, 0.135879, 6).printed(q[0][0], 0.55, 10);
    worst.printed(mean[0], 0.0252, 4).printed(mean[1], -0.2294, 4).printed(
        mean[0] + 0.09 * mean[1],
        0.00459,
        5,
    );
    worst.printed(objective(&mdp, &shared(0.09)), 0.0495, 10).printed(
        objective(&mdp, &shared(p)),
        0.043563,
        6,
    );
    worst.printed(region::max_kl(&shared(0.09), &shared(p)), 0.01, 10);
    worst.holds(!perf::improves_everywhere(&shared(p), &a, 1e-9));
    worst.holds(perf::improves_everywhere(&shared(0.09), &a, 1e-9));
    // With a parameter for each state the tilt improves, however long the step.
    let free = tilted(&shared(0.09), &a, 0.1);
    worst.holds(perf::improves_everywhere(&free, &a, 1e-9) && objective(&mdp, &free) > 0.0495);
    worst.done()
}
