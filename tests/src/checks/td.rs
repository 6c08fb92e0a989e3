use crate::generators::{
    Mdp, Policy, Roll, Segment, gamma, mdp_and_policies, mdp_and_policy, mdp_of, normals, policy, roll,
    roll_of, tiny_and_policy, unit,
};
use crate::measure::{EXACT, TOL_ID, TOL_INEQ, TOL_SOLVE, Worst, require};
use crate::oracles::{action_value, chain, mean_reward, policy_value, trajectories_from};
use crate::{Check, Measured, fixed, panics, random};
use ndarray::{Array2, Array3, s};
use proptest::prelude::*;
use rederive_math::{End, returns, td};

/// Every check of this family.
pub fn checks() -> Vec<Check> {
    vec![
        random("td.update-rule", "definition", TOL_ID, transition(), update_definition),
        random("td.update-rule", "untouched", EXACT, transition(), update_untouched),
        fixed("td.update-rule", "closed", EXACT, |_| update_closed()),
        random("td.telescoping", "definition", TOL_ID, roll(), telescoping),
        random("td.telescoping", "moving-value", TOL_ID, (roll(), normals(128)), telescoping_moving_value),
        random("td.nstep", "definition", TOL_ID, (roll(), 1..=40usize), nstep_definition),
        random("td.nstep", "wide", TOL_ID, (roll_of(1..=9, 1..=150), 1..=10usize), nstep_definition),
        random("td.nstep", "layouts", EXACT, (roll(), 1..=40usize), nstep_layouts),
        random("td.nstep", "ends", TOL_ID, roll(), nstep_ends),
        // One case lists up to 216 trajectories from each state.
        random("td.nstep", "bias", TOL_SOLVE, chain_case(), nstep_bias),
        random("td.nstep", "bias-bound", TOL_INEQ, chain_case(), nstep_bias_bound),
        fixed("td.nstep", "closed", EXACT, |_| nstep_closed()),
        random(
            "td.expected-update",
            "definition",
            TOL_ID,
            (mdp_and_policy(0.99), normals(8)),
            expected_update,
        ),
        random("td.expected-update", "zero", TOL_SOLVE, (mdp_and_policy(0.99), normals(8)), expected_zero),
        random(
            "td.error-advantage",
            "definition",
            TOL_SOLVE,
            (mdp_and_policy(0.99), normals(8)),
            error_advantage,
        ),
        random(
            "td.error-advantage",
            "shift",
            TOL_SOLVE,
            (mdp_and_policy(0.99), -9.0..=9.0f64),
            constant_shift,
        ),
        // One case lists up to 1296 trajectories from each state.
        random("td.nstep-variance", "definition", TOL_ID, chain_case(), moments).at_most(64),
        random("td.nstep-variance", "monotone", TOL_INEQ, chain_case(), monotone).at_most(64),
        random("td.nstep-variance", "time-indexed", TOL_INEQ, tiny_and_policy(), monotone_in_time),
        fixed("td.error-advantage", "closed", EXACT, |_| two_predictions()),
        fixed("td.nstep-variance", "reversal", EXACT, |_| reversal()),
        random(
            "td.nstep-variance",
            "deterministic",
            EXACT,
            (mdp_of(2..=3, 2..=2, gamma(0.99)), normals(3)),
            no_variance,
        ),
        random("td.offpolicy", "definition", TOL_ID, (mdp_and_policies(0.99), normals(8)), offpolicy_update),
        random("td.offpolicy", "fixed-points", TOL_SOLVE, mdp_and_policies(0.9), offpolicy_fixed_points)
            .at_most(64),
        random(
            "td.offpolicy",
            "uncovered",
            TOL_ID,
            (mdp_and_policies(0.99), normals(8), any::<u32>()),
            uncovered,
        ),
        random("td.offpolicy", "step", TOL_ID, (transition(), 0.0..=3.0f64), offpolicy_step),
    ]
}

#[derive(Clone, Debug)]
struct Transition {
    value: Vec<f64>,
    state: usize,
    next_state: usize,
    reward: f64,
    end: End,
    alpha: f64,
    gamma: f64,
}

fn transition() -> impl Strategy<Value = Transition> + Clone + Send + Sync {
    let end = prop_oneof![Just(End::No), Just(End::Terminated), Just(End::Truncated)];
    (normals(1..=6), 0..6usize, 0..6usize, -2.0..=2.0f64, end, unit(), unit()).prop_map(
        |(value, state, next_state, reward, end, alpha, gamma)| Transition {
            state: state % value.len(),
            next_state: next_state % value.len(),
            value,
            reward,
            end,
            alpha,
            gamma,
        },
    )
}

impl Transition {
    fn update(&self) -> (f64, Vec<f64>) {
        let mut value = self.value.clone();
        let delta = returns::td_update(
            &mut value,
            self.state,
            self.reward,
            self.next_state,
            self.end,
            self.alpha,
            self.gamma,
        );
        (delta, value)
    }
}

fn update_definition(case: Transition) -> Measured {
    let (delta, value) = case.update();
    let next = match case.end {
        End::Terminated => 0.0,
        End::No | End::Truncated => case.value[case.next_state],
    };
    let before = case.value[case.state];
    // A convex combination of the old value and the target.
    let expected = (1.0 - case.alpha) * before + case.alpha * (case.reward + case.gamma * next);
    let mut worst = Worst::new();
    worst.same(value[case.state], expected).same(delta, case.reward + case.gamma * next - before);
    worst.done()
}

fn update_untouched(case: Transition) -> Measured {
    let (_, value) = case.update();
    for (s, (after, before)) in value.iter().zip(&case.value).enumerate() {
        let untouched = s == case.state || after.to_bits() == before.to_bits();
        require(untouched, || format!("state {s} changed from {before} to {after}"))?;
    }
    // A step of size 0 changes nothing at all, whatever stands behind a terminal state.
    let (_, still) = Transition { alpha: 0.0, ..case.clone() }.update();
    require(still == case.value, || "a step of size 0 moved the table".to_owned())?;
    if case.end == End::Terminated && case.state != case.next_state {
        let mut poisoned = case.clone();
        poisoned.value[case.next_state] = f64::NAN;
        let same = poisoned.update().1[case.state] == value[case.state];
        require(same, || "the value behind a terminal state is used".to_owned())?;
    }
    Ok(0.0)
}

fn update_closed() -> Measured {
    let trip = Transition {
        value: vec![30.0, 18.0],
        state: 0,
        next_state: 1,
        reward: 10.0,
        end: End::No,
        alpha: 0.5,
        gamma: 1.0,
    };
    let (delta, value) = trip.update();
    require(delta == -2.0 && value == [29.0, 18.0], || format!("{delta} {value:?} instead of -2, [29, 18]"))?;
    // The target is 28: a full step writes it.
    let (_, value) = Transition { alpha: 1.0, ..trip.clone() }.update();
    require(value[0] == 28.0, || format!("{} instead of the target 28", value[0]))?;
    // Bootstrapping through a terminal state would write 28 here as well.
    let (_, value) = Transition { alpha: 1.0, end: End::Terminated, ..trip.clone() }.update();
    require(value[0] == 10.0, || format!("{} instead of 10 at termination", value[0]))?;
    // A state that leads to itself: 30 + 0.5 (10 + 0.5 * 30 - 30).
    let (_, value) = Transition { next_state: 0, gamma: 0.5, ..trip.clone() }.update();
    require(value[0] == 27.5, || format!("{} instead of 27.5 in a self-loop", value[0]))?;
    let outside = panics(|| Transition { next_state: 2, ..trip.clone() }.update());
    require(outside, || "a state outside the table is accepted".to_owned())?;
    Ok(0.0)
}

fn td_error(roll: &Roll, value: &Array2<f64>, next_value: &Array2<f64>) -> Array2<f64> {
    let mut out = Array2::from_elem(roll.reward.dim(), f64::NAN);
    returns::td_error(&roll.reward, value, next_value, &roll.end(), roll.gamma, &mut out);
    out
}

/// `sum_{k>=t} gamma^{k-t} x_k` over a segment.
fn discounted_sum(x: &Array2<f64>, segment: &Segment, t: usize, gamma: f64) -> f64 {
    (t..segment.len()).map(|k| gamma.powi((k - t) as i32) * x[[segment.first + k, segment.n]]).sum()
}

fn telescoping(roll: Roll) -> Measured {
    let delta = td_error(&roll, &roll.value, &roll.next_value);
    let mut sums = Array2::from_elem(roll.reward.dim(), f64::NAN);
    returns::discounted_td_error(&delta, &roll.end(), roll.gamma, &mut sums);
    let mut worst = Worst::new();
    for segment in roll.segments() {
        for t in 0..segment.len() {
            let at = [segment.first + t, segment.n];
            let tail: f64 =
                (t..segment.len()).map(|k| roll.gamma.powi((k - t) as i32) * segment.reward[k]).sum();
            let return_ = tail + roll.gamma.powi((segment.len() - t) as i32) * segment.bootstrap;
            worst.same(sums[at], return_ - segment.value[t]);
            // The same with the errors added up here, so that neither routine can hide the other's fault.
            worst.same(discounted_sum(&delta, &segment, t, roll.gamma), return_ - segment.value[t]);
        }
    }
    worst.done()
}

/// Where the value function changes between two steps, the sum is off by exactly the changes, so it does not telescope.
fn telescoping_moving_value((roll, changes): (Roll, Vec<f64>)) -> Measured {
    let changed = Array2::from_shape_fn(roll.reward.dim(), |(t, n)| roll.value[[t, n]] + changes[t * 4 + n]);
    // delta_t still bootstraps from the old value of the next state, but starts from the new value of its own.
    let delta = td_error(&roll, &changed, &roll.next_value);
    let mut sums = Array2::from_elem(roll.reward.dim(), f64::NAN);
    returns::discounted_td_error(&delta, &roll.end(), roll.gamma, &mut sums);
    let mut return_ = sums.clone();
    returns::discounted(&roll.reward, &roll.next_value, &roll.end(), roll.gamma, &mut return_);
    let mut worst = Worst::new();
    for segment in roll.segments() {
        for t in 0..segment.len() {
            let at = [segment.first + t, segment.n];
            let drift: f64 = (t + 1..segment.len())
                .map(|k| roll.gamma.powi((k - t) as i32) * changes[(segment.first + k) * 4 + segment.n])
                .sum();
            worst.same(sums[at] - (return_[at] - changed[at]), -drift);
        }
    }
    worst.done()
}

fn n_step(roll: &Roll, n: usize) -> Array2<f64> {
    let mut out = Array2::from_elem(roll.reward.dim(), f64::NAN);
    returns::n_step(&roll.reward, &roll.next_value, &roll.end(), roll.gamma, n, &mut out);
    out
}

fn nstep_definition((roll, n): (Roll, usize)) -> Measured {
    let left = n_step(&roll, n);
    let mut worst = Worst::new();
    for segment in roll.segments() {
        for t in 0..segment.len() {
            let steps = n.min(segment.len() - t);
            let tail: f64 = (0..steps).map(|l| roll.gamma.powi(l as i32) * segment.reward[t + l]).sum();
            let right = tail + roll.gamma.powi(steps as i32) * segment.value_after(t + steps);
            worst.same(left[[segment.first + t, segment.n]], right);
        }
    }
    worst.done()
}

/// Arrays whose columns are contiguous instead of their rows give the same bits.
fn nstep_layouts((roll, n): (Roll, usize)) -> Measured {
    fn turn<A: Clone>(a: &Array2<A>) -> Array2<A> {
        a.t().as_standard_layout().into_owned().reversed_axes()
    }
    let mut out = turn(&Array2::from_elem(roll.reward.dim(), f64::NAN));
    let (reward, next_value, end) = (turn(&roll.reward), turn(&roll.next_value), turn(&roll.end()));
    returns::n_step(&reward, &next_value, &end, roll.gamma, n, &mut out);
    require(out == n_step(&roll, n), || "the layout changes the result".to_owned())?;
    Ok(0.0)
}

/// One step is the TD target, at least as many steps as are left give the full return.
fn nstep_ends(roll: Roll) -> Measured {
    let (one, all) = (n_step(&roll, 1), n_step(&roll, roll.steps()));
    let delta = td_error(&roll, &roll.value, &roll.next_value);
    let mut return_ = Array2::from_elem(roll.reward.dim(), f64::NAN);
    returns::discounted(&roll.reward, &roll.next_value, &roll.end(), roll.gamma, &mut return_);
    let mut worst = Worst::new();
    worst.all(&one, &(&delta + &roll.value)).all(&all, &return_).all(&n_step(&roll, usize::MAX), &return_);
    worst.done()
}

#[derive(Clone, Debug)]
struct ChainCase {
    mdp: Mdp,
    policy: Policy,
    value: Vec<f64>,
    n: usize,
}

/// A chain that goes on for ever, with any value function, or with the exact one.
fn chain_case() -> impl Strategy<Value = ChainCase> + Clone + Send + Sync {
    let mdp = mdp_of(2..=3, 2..=2, gamma(0.99));
    (mdp, policy(3, 2), normals(3), 1..=3usize, proptest::bool::weighted(0.1)).prop_map(
        |(mdp, policy, value, n, exact)| {
            let policy = policy.slice(s![..mdp.states(), ..]).to_owned();
            let value = if exact { policy_value(&mdp, &policy) } else { value[..mdp.states()].to_vec() };
            ChainCase { mdp, policy, value, n }
        },
    )
}

/// `E[G^(n) | s_0 = s] - V^pi(s)` by listing all trajectories of `n + 1` steps, and `gamma^n (P^n (V - V^pi))(s)`.
fn nstep_biases(case: &ChainCase) -> Vec<(f64, f64)> {
    let ChainCase { mdp, policy, value, n } = case;
    let exact = policy_value(mdp, policy);
    let p = chain(mdp, policy);
    let mut ahead: Vec<f64> = value.iter().zip(&exact).map(|(v, e)| v - e).collect();
    for _ in 0..*n {
        ahead =
            p.iter().map(|row| mdp.gamma * row.iter().zip(&ahead).map(|(p, x)| p * x).sum::<f64>()).collect();
    }
    // One step more than `n`, so that the return has to stop by itself.
    let steps = (*n + 1).min(3);
    let end = Array2::from_elem((steps, 1), End::No);
    (0..mdp.states())
        .map(|start| {
            let mut mean = 0.0;
            trajectories_from(mdp, policy, start, steps, &mut |path| {
                let reward = Array2::from_shape_fn((steps, 1), |(t, _)| path.reward(mdp, t));
                let next_value = Array2::from_shape_fn((steps, 1), |(t, _)| value[path.states[t + 1]]);
                let mut out = Array2::from_elem((steps, 1), f64::NAN);
                returns::n_step(&reward, &next_value, &end, mdp.gamma, *n, &mut out);
                mean += path.prob * out[[0, 0]];
            });
            (mean - exact[start], ahead[start])
        })
        .collect()
}

fn nstep_bias(case: ChainCase) -> Measured {
    let mut worst = Worst::new();
    for (left, right) in nstep_biases(&case) {
        worst.solved(left, right, case.mdp.gamma);
    }
    worst.done()
}

fn nstep_bias_bound(case: ChainCase) -> Measured {
    let exact = policy_value(&case.mdp, &case.policy);
    let distance = case.value.iter().zip(&exact).fold(0.0, |m: f64, (v, e)| m.max((v - e).abs()));
    let bound = case.mdp.gamma.powi(case.n as i32) * distance;
    let scale = exact.iter().fold(1.0, |m: f64, v| m.max(v.abs()));
    let mut worst = Worst::new();
    for (bias, _) in nstep_biases(&case) {
        worst.at_most(bias.abs() / scale, bound / scale);
    }
    worst.done()
}

fn nstep_closed() -> Measured {
    // Rewards 0, 0, 1 without discount; V(s_1) = 1 is exact, V(s_2) = 0 is not: the bias is not monotone in n.
    let column = |x: &[f64]| Array2::from_shape_vec((3, 1), x.to_vec()).expect("three steps");
    let end = Array2::from_shape_vec((3, 1), vec![End::No, End::No, End::Terminated]).expect("three steps");
    for (n, bias) in [(1, 0.0), (2, -1.0), (3, 0.0), (7, 0.0)] {
        let mut out = column(&[f64::NAN; 3]);
        returns::n_step(&column(&[0.0, 0.0, 1.0]), &column(&[1.0, 0.0, 5.0]), &end, 1.0, n, &mut out);
        require(out[[0, 0]] - 1.0 == bias, || {
            format!("bias {} instead of {bias} at n = {n}", out[[0, 0]] - 1.0)
        })?;
    }
    // One step is the TD(0) target r + gamma V.
    let mut out = column(&[f64::NAN; 3]);
    returns::n_step(&column(&[2.0; 3]), &column(&[4.0; 3]), &end, 0.5, 1, &mut out);
    require(out == column(&[4.0, 4.0, 2.0]), || format!("{out} instead of the TD targets"))?;
    let refused =
        panics(|| returns::n_step(&column(&[0.0; 3]), &column(&[0.0; 3]), &end, 1.0, 0, &mut out.clone()));
    require(refused, || "n = 0 is accepted".to_owned())?;
    Ok(0.0)
}

fn expected_td(mdp: &Mdp, policy: &Policy, value: &[f64]) -> Vec<f64> {
    let mut out = vec![f64::NAN; mdp.states()];
    td::expected_td_update(&mdp.p, &mdp.r, policy, value, mdp.gamma, &mut out);
    out
}

/// `r_pi + gamma P_pi V - V` as rows of a chain.
fn residual(mdp: &Mdp, policy: &Policy, value: &[f64]) -> Vec<f64> {
    let (p, reward) = (chain(mdp, policy), mean_reward(mdp));
    (0..mdp.states())
        .map(|s| {
            let reward: f64 = policy.row(s).iter().zip(&reward[s]).map(|(p, r)| p * r).sum();
            let ahead: f64 = p[s].iter().zip(value).map(|(p, v)| p * v).sum();
            reward + mdp.gamma * ahead - value[s]
        })
        .collect()
}

/// The error of one sampled step of the table.
fn sampled_error(mdp: &Mdp, value: &[f64], s: usize, a: usize, next: usize) -> f64 {
    let reward = mdp.r[[s, a, next]];
    returns::td_update(&mut value.to_vec(), s, reward, next, End::No, 0.5, mdp.gamma)
}

fn expected_update(((mdp, policy), value): ((Mdp, Policy), Vec<f64>)) -> Measured {
    let value = &value[..mdp.states()];
    let (left, right) = (expected_td(&mdp, &policy, value), residual(&mdp, &policy, value));
    let mut worst = Worst::new();
    worst.all(&left, &right);
    // The mean of the sampled errors is the same.
    for (s, right) in right.iter().enumerate() {
        let mut mean = 0.0;
        for ((a, next), prob) in mdp.p.index_axis(ndarray::Axis(0), s).indexed_iter() {
            mean += policy[[s, a]] * prob * sampled_error(&mdp, value, s, a, next);
        }
        worst.same(mean, *right);
    }
    worst.done()
}

/// Zero at the value of the policy, and nowhere else.
fn expected_zero(((mdp, policy), value): ((Mdp, Policy), Vec<f64>)) -> Measured {
    let exact = policy_value(&mdp, &policy);
    let mut worst = Worst::new();
    for x in expected_td(&mdp, &policy, &exact) {
        worst.solved(x, 0.0, mdp.gamma);
    }
    let value = &value[..mdp.states()];
    let norm = |x: &mut dyn Iterator<Item = f64>| x.fold(0.0, |m: f64, x| m.max(x.abs()));
    let distance = norm(&mut value.iter().zip(&exact).map(|(v, e)| v - e));
    let step = norm(&mut expected_td(&mdp, &policy, value).into_iter());
    worst.at_most((1.0 - mdp.gamma) * distance, step).done()
}

fn error_advantage(((mdp, policy), value): ((Mdp, Policy), Vec<f64>)) -> Measured {
    let (exact, q) = (policy_value(&mdp, &policy), action_value(&mdp, &policy));
    let value = &value[..mdp.states()];
    let off: Vec<f64> = value.iter().zip(&exact).map(|(v, e)| v - e).collect();
    let [mut at_exact, mut error, mut bias] = [(); 3].map(|()| Array2::from_elem(policy.dim(), f64::NAN));
    td::expected_td_error(&mdp.p, &mdp.r, &exact, mdp.gamma, &mut at_exact);
    td::expected_td_error(&mdp.p, &mdp.r, value, mdp.gamma, &mut error);
    td::td_error_bias(&mdp.p, &off, mdp.gamma, &mut bias);
    let mut worst = Worst::new();
    for s in 0..mdp.states() {
        let mut mean = 0.0;
        for a in 0..mdp.actions() {
            let advantage = q[s][a] - exact[s];
            let ahead: f64 = (0..mdp.states()).map(|k| mdp.p[[s, a, k]] * off[k]).sum();
            worst.solved(at_exact[[s, a]], advantage, mdp.gamma);
            worst.solved(error[[s, a]], advantage + mdp.gamma * ahead - off[s], mdp.gamma);
            worst.solved(error[[s, a]], advantage + bias[[s, a]], mdp.gamma);
            mean += policy[[s, a]] * at_exact[[s, a]];
        }
        worst.solved(mean, 0.0, mdp.gamma);
    }
    worst.done()
}

/// The error compares two predictions, not the outcome with one: rewards 0 and 1, no values, no discount.
fn two_predictions() -> Measured {
    let column = |x: [f64; 2]| Array2::from_shape_vec((2, 1), x.to_vec()).expect("two steps");
    let (reward, zero) = (column([0.0, 1.0]), column([0.0; 2]));
    let end = Array2::from_shape_vec((2, 1), vec![End::No, End::Terminated]).expect("two steps");
    let (mut delta, mut return_) = (column([f64::NAN; 2]), column([f64::NAN; 2]));
    returns::td_error(&reward, &zero, &zero, &end, 1.0, &mut delta);
    returns::discounted(&reward, &zero, &end, 1.0, &mut return_);
    let found = (delta[[0, 0]], return_[[0, 0]]);
    require(found == (0.0, 1.0), || format!("error and outcome {found:?} instead of 0 and 1"))?;
    // The same steps as a process: 0 pays nothing and leads to 1, which pays 1 and leads to the end.
    let mut p = Array3::zeros((3, 1, 3));
    let mut r = Array3::zeros((3, 1, 3));
    for (s, next) in [(0, 1), (1, 2), (2, 2)] {
        p[[s, 0, next]] = 1.0;
    }
    r[[1, 0, 2]] = 1.0;
    let mut error = Array2::from_elem((3, 1), f64::NAN);
    td::expected_td_error(&p, &r, &[0.0; 3], 1.0, &mut error);
    require(error.iter().eq(&[0.0, 1.0, 0.0]), || format!("{error} instead of 0, 1, 0"))?;
    Ok(0.0)
}

/// A value that is too large by `c` everywhere biases every error by `(gamma - 1) c`.
fn constant_shift(((mdp, policy), c): ((Mdp, Policy), f64)) -> Measured {
    let exact = policy_value(&mdp, &policy);
    let q = action_value(&mdp, &policy);
    let shifted: Vec<f64> = exact.iter().map(|v| v + c).collect();
    let [mut error, mut bias] = [(); 2].map(|()| Array2::from_elem(policy.dim(), f64::NAN));
    td::expected_td_error(&mdp.p, &mdp.r, &shifted, mdp.gamma, &mut error);
    td::td_error_bias(&mdp.p, &vec![c; mdp.states()], mdp.gamma, &mut bias);
    let mut worst = Worst::new();
    for ((s, a), &error) in error.indexed_iter() {
        worst.solved(error, q[s][a] - exact[s] + (mdp.gamma - 1.0) * c, mdp.gamma);
        worst.solved(bias[[s, a]], (mdp.gamma - 1.0) * c, mdp.gamma);
    }
    worst.done()
}

/// Mean and variance of the n-step return from every state, over all trajectories.
fn listed_moments(case: &ChainCase, value: &[f64], n: usize) -> Vec<(f64, f64)> {
    let ChainCase { mdp, policy, .. } = case;
    (0..mdp.states())
        .map(|start| {
            let mut law = Vec::new();
            trajectories_from(mdp, policy, start, n, &mut |path| {
                let sum: f64 = (0..n).map(|t| mdp.gamma.powi(t as i32) * path.reward(mdp, t)).sum();
                law.push((sum + mdp.gamma.powi(n as i32) * value[path.states[n]], path.prob));
            });
            let mean: f64 = law.iter().map(|(g, p)| g * p).sum();
            (mean, law.iter().map(|(g, p)| p * (g - mean) * (g - mean)).sum())
        })
        .collect()
}

fn moments(case: ChainCase) -> Measured {
    let states = case.mdp.states();
    let mut worst = Worst::new();
    for n in 0..=4 {
        let (mut mean, mut variance) = (vec![f64::NAN; states], vec![f64::NAN; states]);
        let ChainCase { mdp, policy, value, .. } = &case;
        td::nstep_moments(&mdp.p, &mdp.r, policy, value, mdp.gamma, n, (&mut mean, &mut variance));
        for (s, (m, v)) in listed_moments(&case, &case.value, n).into_iter().enumerate() {
            worst.same(mean[s], m).scaled(variance[s], v, m * m);
        }
    }
    worst.done()
}

/// At the exact value more sampled steps never mean less variance.
fn monotone(case: ChainCase) -> Measured {
    let exact = policy_value(&case.mdp, &case.policy);
    let mut worst = Worst::new();
    let mut before = vec![0.0; case.mdp.states()];
    for n in 1..=4 {
        for (before, (mean, variance)) in before.iter_mut().zip(listed_moments(&case, &exact, n)) {
            let scale = mean.powi(2).max(1.0);
            worst.at_most(*before / scale, variance / scale);
            *before = variance;
        }
    }
    worst.done()
}

/// The same within a finite horizon, where the values depend on time; with the n-step returns of a rollout.
fn monotone_in_time((mdp, horizon, policy): (Mdp, usize, Policy)) -> Measured {
    // V_t(s), backwards from nothing.
    let mut value = vec![vec![0.0; mdp.states()]];
    for _ in 0..horizon {
        let next = &value[0];
        let now = (0..mdp.states())
            .map(|s| {
                let mut sum = 0.0;
                for ((a, k), prob) in mdp.p.index_axis(ndarray::Axis(0), s).indexed_iter() {
                    sum += policy[[s, a]] * prob * (mdp.r[[s, a, k]] + mdp.gamma * next[k]);
                }
                sum
            })
            .collect();
        value.insert(0, now);
    }
    let mut end = Array2::from_elem((horizon, 1), End::No);
    end[[horizon - 1, 0]] = End::Terminated;
    let mut worst = Worst::new();
    for start in 0..mdp.states() {
        let mut before = 0.0;
        for n in 1..=horizon {
            let mut law = Vec::new();
            trajectories_from(&mdp, &policy, start, horizon, &mut |path| {
                let reward = Array2::from_shape_fn((horizon, 1), |(t, _)| path.reward(&mdp, t));
                let next_value =
                    Array2::from_shape_fn((horizon, 1), |(t, _)| value[t + 1][path.states[t + 1]]);
                let mut out = Array2::from_elem((horizon, 1), f64::NAN);
                returns::n_step(&reward, &next_value, &end, mdp.gamma, n, &mut out);
                law.push((out[[0, 0]], path.prob));
            });
            let mean: f64 = law.iter().map(|(g, p)| g * p).sum();
            let variance: f64 = law.iter().map(|(g, p)| p * (g - mean) * (g - mean)).sum();
            let scale = mean.powi(2).max(1.0);
            worst.at_most(before / scale, variance / scale);
            before = variance;
        }
    }
    worst.done()
}

/// A reward that the next step takes back: at `V = 0` the one-step target varies and the full return does not.
fn reversal() -> Measured {
    // 0 pays +1 and leads to 1, or -1 and leads to 2; both end in 3.
    let (mut p, mut r) = (Array3::zeros((4, 1, 4)), Array3::zeros((4, 1, 4)));
    for (s, next, prob, reward) in
        [(0, 1, 0.5, 1.0), (0, 2, 0.5, -1.0), (1, 3, 1.0, -1.0), (2, 3, 1.0, 1.0), (3, 3, 1.0, 0.0)]
    {
        p[[s, 0, next]] = prob;
        r[[s, 0, next]] = reward;
    }
    let moments = |value: &[f64], n| {
        let (mut mean, mut variance) = ([f64::NAN; 4], [f64::NAN; 4]);
        let policy = Array2::ones((4, 1));
        td::nstep_moments(&p, &r, &policy, value, 1.0, n, (&mut mean, &mut variance));
        (mean[0], variance[0])
    };
    let wrong = [1, 2, 3].map(|n| moments(&[0.0; 4], n));
    require(wrong == [(0.0, 1.0), (0.0, 0.0), (0.0, 0.0)], || format!("{wrong:?} at V = 0"))?;
    // At the exact values, -1 and 1 in the states between, neither varies.
    let right = [1, 2, 3].map(|n| moments(&[0.0, -1.0, 1.0, 0.0], n));
    require(right == [(0.0, 0.0); 3], || format!("{right:?} at the exact value"))?;
    Ok(0.0)
}

fn no_variance((mut mdp, value): (Mdp, Vec<f64>)) -> Measured {
    let states = mdp.states();
    for mut row in mdp.p.rows_mut() {
        let best = (0..row.len()).fold(0, |best, k| if row[k] > row[best] { k } else { best });
        row.fill(0.0);
        row[best] = 1.0;
    }
    let sure = Policy::from_shape_fn((states, mdp.actions()), |(s, a)| f64::from(u8::from(a == s % 2)));
    for n in 0..=4 {
        let (mut mean, mut variance) = (vec![f64::NAN; states], vec![f64::NAN; states]);
        td::nstep_moments(&mdp.p, &mdp.r, &sure, &value[..states], mdp.gamma, n, (&mut mean, &mut variance));
        require(variance.iter().all(|&v| v == 0.0), || format!("{variance:?} without chance"))?;
    }
    Ok(0.0)
}

fn weighted_td(mdp: &Mdp, policy: &Policy, behaviour: &Policy, value: &[f64]) -> Vec<f64> {
    let mut out = vec![f64::NAN; mdp.states()];
    td::expected_offpolicy_td_update(&mdp.p, &mdp.r, (policy, behaviour), value, mdp.gamma, &mut out);
    out
}

/// With the weights, the mean is the residual of the policy, whoever behaved.
fn offpolicy_update(((mdp, policy, behaviour), value): ((Mdp, Policy, Policy), Vec<f64>)) -> Measured {
    let value = &value[..mdp.states()];
    let right = residual(&mdp, &policy, value);
    let mut worst = Worst::new();
    worst.all(&weighted_td(&mdp, &policy, &behaviour, value), &right);
    // From single transitions of the behaviour.
    for (s, right) in right.iter().enumerate() {
        let mut mean = 0.0;
        for ((a, next), prob) in mdp.p.index_axis(ndarray::Axis(0), s).indexed_iter() {
            let ratio = td::action_ratio(policy[[s, a]], behaviour[[s, a]]);
            let reward = mdp.r[[s, a, next]];
            let mut table = value.to_vec();
            let delta =
                td::offpolicy_td_update(&mut table, (s, next), reward, End::No, ratio, 0.5, mdp.gamma);
            mean += behaviour[[s, a]] * prob * delta;
        }
        worst.same(mean, *right);
    }
    // On policy the weights are 1.
    worst.all(&weighted_td(&mdp, &policy, &policy, value), &expected_td(&mdp, &policy, value)).done()
}

/// Without weights the updates lead to the value of the behaviour, with them to that of the policy.
fn offpolicy_fixed_points((mdp, policy, behaviour): (Mdp, Policy, Policy)) -> Measured {
    let (mut plain, mut weighted) = (vec![0.0; mdp.states()], vec![0.0; mdp.states()]);
    for _ in 0..320 {
        let step = expected_td(&mdp, &behaviour, &plain);
        plain.iter_mut().zip(step).for_each(|(v, d)| *v += d);
        let step = weighted_td(&mdp, &policy, &behaviour, &weighted);
        weighted.iter_mut().zip(step).for_each(|(v, d)| *v += d);
    }
    let mut worst = Worst::new();
    for (found, exact) in [(plain, policy_value(&mdp, &behaviour)), (weighted, policy_value(&mdp, &policy))] {
        for (found, exact) in found.into_iter().zip(exact) {
            worst.solved(found, exact, mdp.gamma);
        }
    }
    worst.done()
}

/// What the behaviour never does is missing from the mean; where the policy never does it either, nothing is missing.
fn uncovered(
    ((mdp, mut policy, mut behaviour), value, pick): ((Mdp, Policy, Policy), Vec<f64>, u32),
) -> Measured {
    let value = &value[..mdp.states()];
    let skipped = pick as usize % mdp.actions();
    for mut row in behaviour.rows_mut() {
        row[skipped] = 0.0;
        let sum = row.sum();
        row /= sum;
    }
    let missing = |policy: &Policy| {
        let full = residual(&mdp, policy, value);
        (0..mdp.states())
            .map(|s| {
                let delta: f64 = (0..mdp.states())
                    .map(|k| {
                        mdp.p[[s, skipped, k]] * (mdp.r[[s, skipped, k]] + mdp.gamma * value[k] - value[s])
                    })
                    .sum();
                full[s] - policy[[s, skipped]] * delta
            })
            .collect::<Vec<f64>>()
    };
    let mut worst = Worst::new();
    worst.all(&weighted_td(&mdp, &policy, &behaviour, value), &missing(&policy));
    for mut row in policy.rows_mut() {
        row[skipped] = 0.0;
        let sum = row.sum();
        row /= sum;
    }
    worst.all(&weighted_td(&mdp, &policy, &behaviour, value), &residual(&mdp, &policy, value)).done()
}

/// One weighted step: the weight multiplies the error, and nothing behind a terminal state is read.
fn offpolicy_step((case, ratio): (Transition, f64)) -> Measured {
    let mut value = case.value.clone();
    let mut poisoned = case.value.clone();
    let step = |value: &mut [f64]| {
        let at = (case.state, case.next_state);
        td::offpolicy_td_update(value, at, case.reward, case.end, ratio, case.alpha, case.gamma)
    };
    let delta = step(&mut value);
    let next = if case.end == End::Terminated { 0.0 } else { case.value[case.next_state] };
    let error = case.reward + case.gamma * next - case.value[case.state];
    let mut worst = Worst::new();
    worst.same(delta, ratio * error);
    for (s, (&now, &was)) in value.iter().zip(&case.value).enumerate() {
        let moved = if s == case.state { case.alpha * ratio * error } else { 0.0 };
        worst.same(now, was + moved);
    }
    if case.end == End::Terminated && case.state != case.next_state {
        poisoned[case.next_state] = f64::NAN;
        worst.same(step(&mut poisoned), ratio * error);
    }
    worst.done()
}
