use crate::generators::{Mdp, Policy, Roll, Segment, gamma, mdp_of, normals, policy, roll, roll_of, unit};
use crate::measure::{EXACT, TOL_ID, TOL_INEQ, TOL_SOLVE, Worst, require};
use crate::oracles::{chain, policy_value, trajectories_from};
use crate::{Check, Measured, fixed, panics, random};
use ndarray::{Array2, s};
use proptest::prelude::*;
use rederive_math::{End, returns};

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
