use crate::generators::{Mdp, Policy, mdp, mdp_and_policy, tiny_and_policy, unit};
use crate::measure::{EXACT, TOL_ID, TOL_SOLVE, TOL_STAT, Worst, relative, require};
use crate::oracles::{chain, mean_reward, policy_value, trajectories};
use crate::{Check, Measured, fixed, random};
use ndarray::{Array1, Array2, Array3, Array4, Axis, array};
use proptest::collection::vec;
use proptest::prelude::*;
use rederive_math::mdp as math;
use std::collections::{BTreeMap, BTreeSet};

/// Every check of this family.
pub fn checks() -> Vec<Check> {
    vec![
        random("mdp.kernel", "definition", EXACT, corrupted(), kernel_verdict),
        random("mdp.kernel", "indices", EXACT, (1..=20usize, 1..=20usize), kernel_indices),
        fixed("mdp.kernel", "edges", EXACT, |_| kernel_edges()),
        random("mdp.markov", "marginals", TOL_ID, tiny_and_policy(), markov_marginals),
        random("mdp.markov", "conditionals", TOL_ID, tiny_and_policy(), markov_conditionals),
        fixed("mdp.markov", "closed", TOL_STAT, |_| markov_closed()),
        random("mdp.rewards", "definition", TOL_ID, joint_case(), rewards_definition),
        random("mdp.rewards", "mean", TOL_ID, mdp(0.99), rewards_mean),
        fixed("mdp.rewards", "closed", TOL_ID, |_| rewards_closed()),
        random("mdp.occupancy", "definition", TOL_SOLVE, mdp_and_policy(0.99), occupancy_definition),
        random("mdp.occupancy", "objective", TOL_SOLVE, mdp_and_policy(0.99), occupancy_objective),
        random("mdp.occupancy", "edges", TOL_ID, mdp_and_policy(0.99), occupancy_edges),
    ]
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    None,
    Rounding,
    NegativeEntry,
    RowSum,
    RowExcess,
    NotANumber,
    Infinite,
    StartSum,
    StartSign,
    Reward,
    Discount,
}

/// An MDP, and what was done to it; the fault sits at a random place.
fn corrupted() -> impl Strategy<Value = (Mdp, Policy, Fault, usize)> + Clone + Send + Sync {
    use Fault::{
        Discount, Infinite, NegativeEntry, None, NotANumber, Reward, Rounding, RowExcess, RowSum, StartSign,
        StartSum,
    };
    let fault = prop::sample::select(vec![
        None,
        Rounding,
        NegativeEntry,
        RowSum,
        RowExcess,
        NotANumber,
        Infinite,
        StartSum,
        StartSign,
        Reward,
        Discount,
    ]);
    (mdp_and_policy(0.99), fault, 0..1000usize)
        .prop_map(|((mdp, policy), fault, place)| (mdp, policy, fault, place))
}

fn kernel_verdict((mut mdp, mut policy, fault, place): (Mdp, Policy, Fault, usize)) -> Measured {
    let (s, a, k) = (mdp.states(), mdp.actions(), mdp.states());
    let at = [place % s, place / 8 % a, place / 64 % k];
    let other = [at[0], at[1], (at[2] + 1) % k];
    let in_policy = [at[0], at[1]];
    let beside = [at[0], (at[1] + 1) % a];
    match fault {
        Fault::None => {}
        Fault::Rounding => {
            mdp.p.mapv_inplace(|x| x * (1.0 + 3e-15));
            policy.mapv_inplace(|x| x * (1.0 - 3e-15));
        }
        Fault::NegativeEntry => {
            // The row still sums to 1, so only the sign gives it away.
            let moved = mdp.p[at] + 0.125;
            mdp.p[at] -= moved;
            mdp.p[other] += moved;
            let moved = policy[in_policy] + 0.125;
            policy[in_policy] -= moved;
            policy[beside] += moved;
        }
        Fault::RowSum => {
            (0..k).for_each(|i| mdp.p[[at[0], at[1], i]] *= 1.0 - 1e-6);
            policy.row_mut(at[0]).mapv_inplace(|x| x * (1.0 - 1e-6));
        }
        Fault::RowExcess => {
            mdp.p[at] += 1e-6;
            policy[in_policy] += 1e-6;
        }
        Fault::NotANumber => {
            mdp.p[at] = f64::NAN;
            policy[in_policy] = f64::NAN;
        }
        Fault::Infinite => {
            mdp.p[at] = f64::INFINITY;
            policy[in_policy] = f64::NEG_INFINITY;
        }
        Fault::StartSum => mdp.mu[at[0]] += 1e-6,
        Fault::StartSign => {
            let moved = mdp.mu[at[0]] + 0.125;
            mdp.mu[at[0]] -= moved;
            mdp.mu[(at[0] + 1) % s] += moved;
        }
        Fault::Reward => mdp.r[at] = if place % 2 == 0 { f64::NAN } else { f64::INFINITY },
        Fault::Discount => mdp.gamma = [-0.1, 1.5, f64::NAN, f64::INFINITY][place % 4],
    }
    let sound = matches!(fault, Fault::None | Fault::Rounding);
    let verdict = math::validate(&mdp.p, &mdp.r, slice(&mdp.mu), mdp.gamma);
    require(verdict.is_ok() == sound, || format!("{fault:?} gets the verdict {verdict:?}"))?;
    let policy_sound =
        sound || matches!(fault, Fault::StartSum | Fault::StartSign | Fault::Reward | Fault::Discount);
    let verdict = math::validate_policy(&policy);
    require(verdict.is_ok() == policy_sound, || format!("a policy with {fault:?} gets {verdict:?}"))?;
    Ok(0.0)
}

fn kernel_indices((states, actions): (usize, usize)) -> Measured {
    let mut seen = BTreeSet::new();
    for s in 0..states {
        for a in 0..actions {
            let index = math::pair_index(s, a, actions);
            require(index == s * actions + a, || format!("({s}, {a}) has the index {index}"))?;
            require(math::pair(index, actions) == (s, a), || {
                format!("{index} does not lead back to ({s}, {a})")
            })?;
            seen.insert(index);
        }
    }
    require(seen.len() == states * actions, || format!("{} distinct pairs", seen.len()))?;
    Ok(0.0)
}

fn kernel_edges() -> Measured {
    // One state and one action; exact zeros; the discount's ends.
    let one = (Array3::from_elem((1, 1, 1), 1.0), Array3::from_elem((1, 1, 1), -7.0));
    for gamma in [0.0, 0.5, 1.0] {
        let verdict = math::validate(&one.0, &one.1, &[1.0], gamma);
        require(verdict.is_ok(), || format!("one state at gamma {gamma}: {verdict:?}"))?;
    }
    require(math::validate_policy(&array![[1.0, 0.0], [0.0, 1.0]]).is_ok(), || "zeros refused".to_owned())?;
    require(math::validate_policy(&array![[0.5, 0.5], [0.6, 0.5]]).is_err(), || "1.1 accepted".to_owned())?;
    Ok(0.0)
}

fn slice(x: &Array1<f64>) -> &[f64] {
    x.as_slice().expect("contiguous")
}

fn kernel_of(p: &Array3<f64>, policy: &Policy) -> Array2<f64> {
    let mut out = Array2::from_elem((p.dim().0, p.dim().0), f64::NAN);
    math::policy_kernel(p, policy, &mut out);
    out
}

fn kernel(mdp: &Mdp, policy: &Policy) -> Array2<f64> {
    kernel_of(&mdp.p, policy)
}

fn state_law(kernel: &Array2<f64>, mu: &[f64], steps: usize) -> Vec<f64> {
    let mut out = vec![f64::NAN; mu.len()];
    math::state_law(kernel, mu, steps, &mut out);
    out
}

fn mean_reward_of(p: &Array3<f64>, r: &Array3<f64>) -> Array2<f64> {
    let mut out = Array2::from_elem((p.dim().0, p.dim().1), f64::NAN);
    math::mean_reward(p, r, &mut out);
    out
}

/// `sum_a pi(a|s) r(s,a)`.
fn policy_reward(mean_reward: &Array2<f64>, policy: &Policy) -> Array1<f64> {
    (mean_reward * policy).sum_axis(Axis(1))
}

fn markov_marginals((mdp, horizon, policy): (Mdp, usize, Policy)) -> Measured {
    let mut counted = Array2::<f64>::zeros((horizon + 1, mdp.states()));
    trajectories(&mdp, &policy, horizon, &mut |path| {
        for (t, &s) in path.states.iter().enumerate() {
            counted[[t, s]] += path.prob;
        }
    });
    let kernel = kernel(&mdp, &policy);
    let mut worst = Worst::new();
    for t in 0..=horizon {
        worst.all(&state_law(&kernel, slice(&mdp.mu), t), counted.row(t));
    }
    worst.done()
}

fn markov_conditionals((mdp, horizon, policy): (Mdp, usize, Policy)) -> Measured {
    // The probability of every history of states, and of every history of states and actions.
    let mut states: BTreeMap<Vec<usize>, f64> = BTreeMap::new();
    let mut both: BTreeMap<(Vec<usize>, Vec<usize>), f64> = BTreeMap::new();
    trajectories(&mdp, &policy, horizon, &mut |path| {
        for t in 0..=horizon {
            *states.entry(path.states[..=t].to_vec()).or_default() += path.prob;
            if t < horizon {
                let key = (path.states[..=t].to_vec(), path.actions[..=t].to_vec());
                *both.entry(key).or_default() += path.prob;
                let key = (path.states[..=t + 1].to_vec(), path.actions[..=t].to_vec());
                *both.entry(key).or_default() += path.prob;
            }
        }
    });
    let kernel = kernel(&mdp, &policy);
    let mut worst = Worst::new();
    for (history, &prob) in &states {
        if history.len() > horizon {
            continue;
        }
        for next in 0..mdp.states() {
            let longer: Vec<usize> = history.iter().copied().chain([next]).collect();
            let conditional = states.get(&longer).unwrap_or(&0.0) / prob;
            worst.same(conditional, kernel[[history[history.len() - 1], next]]);
        }
    }
    for ((history, actions), &prob) in &both {
        if history.len() != actions.len() {
            continue;
        }
        let (s, a) = (history[history.len() - 1], actions[actions.len() - 1]);
        for next in 0..mdp.states() {
            let longer: Vec<usize> = history.iter().copied().chain([next]).collect();
            let conditional = both.get(&(longer, actions.clone())).unwrap_or(&0.0) / prob;
            worst.same(conditional, mdp.p[[s, a, next]]);
        }
    }
    worst.done()
}

fn markov_closed() -> Measured {
    let mut worst = Worst::new();
    // Two states, each kept with probability 0.9, uniform start: consecutive states are correlated, and the future
    // matters for the present.
    let stay = Array3::from_shape_vec((2, 1, 2), vec![0.9, 0.1, 0.1, 0.9]).expect("two rows");
    let p = kernel_of(&stay, &array![[1.0], [1.0]]);
    let joint = |s: usize, t: usize| 0.5 * p[[s, t]];
    let mean = joint(1, 0) + joint(1, 1);
    worst.printed(joint(1, 1) - mean * (joint(0, 1) + joint(1, 1)), 0.2, 10);
    worst.printed(p[[0, 1]], 0.1, 10);
    let through = |s: usize| p[[0, s]] * p[[s, 1]];
    worst.printed(through(1) / (through(0) + through(1)), 0.5, 10);
    // One MDP and two policies: two chains, not one.
    let swap =
        Array3::from_shape_vec((2, 2, 2), vec![1.0, 0.0, 0.0, 1.0, 0.0, 1.0, 1.0, 0.0]).expect("four rows");
    let keep = kernel_of(&swap, &array![[1.0, 0.0], [1.0, 0.0]]);
    let change = kernel_of(&swap, &array![[0.0, 1.0], [0.0, 1.0]]);
    require(keep != change, || "two policies give the same chain".to_owned())?;
    // Days are not independent if today's position is tomorrow's state: position 2 costs 0.1 today; tomorrow it pays 1,
    // less 0.8 for a change. States: before the first day, at position 0, at position 2, over.
    let mut p = Array3::zeros((4, 2, 4));
    let mut r = Array3::zeros((4, 2, 4));
    for (s, a, next, reward) in [
        (0, 0, 1, 0.0),
        (0, 1, 2, -0.1),
        (1, 0, 3, 0.0),
        (1, 1, 3, 0.2),
        (2, 0, 3, -0.8),
        (2, 1, 3, 1.0),
        (3, 0, 3, 0.0),
        (3, 1, 3, 0.0),
    ] {
        p[[s, a, next]] = 1.0;
        r[[s, a, next]] = reward;
    }
    let mean_reward = mean_reward_of(&p, &r);
    for (first, total) in [([1.0, 0.0], 0.2), ([0.0, 1.0], 0.9)] {
        let policy = array![first, [0.0, 1.0], [0.0, 1.0], [1.0, 0.0]];
        let (kernel, reward) = (kernel_of(&p, &policy), policy_reward(&mean_reward, &policy));
        let days = (0..2).map(|t| Array1::from(state_law(&kernel, &[1.0, 0.0, 0.0, 0.0], t)).dot(&reward));
        worst.printed(days.sum(), total, 10);
    }
    worst.done()
}

/// MDP-tiny whose reward is one of two numbers, with a probability that depends on the next state.
#[derive(Clone, Debug)]
struct JointCase {
    mdp: Mdp,
    horizon: usize,
    policy: Policy,
    /// `Pr(second number | s, a, s')`.
    second: Array3<f64>,
    /// The two numbers.
    pays: [f64; 2],
}

fn joint_case() -> impl Strategy<Value = JointCase> + Clone + Send + Sync {
    (tiny_and_policy(), vec(unit(), 18), [-2.0..=2.0f64, -2.0..=2.0], any::<bool>()).prop_map(
        |((mdp, horizon, policy), q, pays, independent)| {
            let (s, a) = (mdp.states(), mdp.actions());
            let second = Array3::from_shape_fn((s, a, s), |(i, j, k)| {
                q[(i * a + j) * 3 + if independent { 0 } else { k }]
            });
            JointCase { mdp, horizon, policy, second, pays }
        },
    )
}

impl JointCase {
    /// `P(s', r_j | s, a)`.
    fn joint(&self, s: usize, a: usize, next: usize, j: usize) -> f64 {
        let q = self.second[[s, a, next]];
        self.mdp.p[[s, a, next]] * if j == 1 { q } else { 1.0 - q }
    }

    /// Mean and second moment of the return from `s` with `left` steps to go, by listing every outcome of `law`.
    fn moments(&self, law: &dyn Fn(usize, usize, usize, usize) -> f64) -> (f64, f64) {
        let mut moments = (0.0, 0.0);
        for s in 0..self.mdp.states() {
            self.list(law, s, 0, self.mdp.mu[s], 0.0, &mut moments);
        }
        moments
    }

    fn list(
        &self,
        law: &dyn Fn(usize, usize, usize, usize) -> f64,
        s: usize,
        t: usize,
        prob: f64,
        sum: f64,
        moments: &mut (f64, f64),
    ) {
        if t == self.horizon {
            moments.0 += prob * sum;
            moments.1 += prob * sum * sum;
            return;
        }
        for a in 0..self.mdp.actions() {
            for next in 0..self.mdp.states() {
                for j in 0..2 {
                    let p = prob * self.policy[[s, a]] * law(s, a, next, j);
                    if p > 0.0 {
                        let reward = self.mdp.gamma.powi(t as i32) * self.pays[j];
                        self.list(law, next, t + 1, p, sum + reward, moments);
                    }
                }
            }
        }
    }
}

fn rewards_definition(case: JointCase) -> Measured {
    let JointCase { mdp, horizon, policy, pays, .. } = &case;
    let (s, a) = (mdp.states(), mdp.actions());
    let joint = Array4::from_shape_fn((s, a, s, 2), |(i, j, k, l)| case.joint(i, j, k, l));
    let (mut p, mut r) = (Array3::from_elem((s, a, s), f64::NAN), Array3::from_elem((s, a, s), f64::NAN));
    math::from_joint(&joint, pays, &mut p, &mut r);
    let kernel = kernel_of(&p, policy);
    let policy_reward = policy_reward(&mean_reward_of(&p, &r), policy);
    // values[t] is the value with T - t steps to go.
    let mut values = vec![Array1::<f64>::zeros(s); horizon + 1];
    for t in (0..*horizon).rev() {
        values[t] = &policy_reward + &(kernel.dot(&values[t + 1]) * mdp.gamma);
    }
    let backward = mdp.mu.dot(&values[0]);
    let (mean, square) = case.moments(&|i, j, k, l| case.joint(i, j, k, l));
    let pay_law =
        Array3::from_shape_fn((s, a, 2), |(i, j, l)| (0..s).map(|k| case.joint(i, j, k, l)).sum::<f64>());
    let (product_mean, product_square) = case.moments(&|i, j, k, l| mdp.p[[i, j, k]] * pay_law[[i, j, l]]);
    let mut worst = Worst::new();
    worst.same(mean, backward).same(product_mean, backward);
    // The joint law's excess of variance: 2 sum_t gamma^{2t+1} E[Cov(r_t, V_{t+1}(s_{t+1}) | s_t, a_t)].
    let chain = chain(mdp, policy);
    let mut visits: Vec<f64> = mdp.mu.to_vec();
    let mut excess = 0.0;
    for t in 0..*horizon {
        for i in 0..s {
            for j in 0..a {
                let (mut rv, mut mean_r, mut mean_v) = (0.0, 0.0, 0.0);
                for (k, value) in values[t + 1].iter().enumerate() {
                    for (l, pay) in pays.iter().enumerate() {
                        let prob = case.joint(i, j, k, l);
                        rv += prob * pay * value;
                        mean_r += prob * pay;
                        mean_v += prob * value;
                    }
                }
                let weight = 2.0 * mdp.gamma.powi(2 * t as i32 + 1) * visits[i] * policy[[i, j]];
                excess += weight * (rv - mean_r * mean_v);
            }
        }
        visits = (0..s).map(|k| (0..s).map(|i| visits[i] * chain[i][k]).sum()).collect();
    }
    let variance = square - mean * mean;
    let product_variance = product_square - product_mean * product_mean;
    worst.scaled(variance - product_variance, excess, square.max(product_square));
    let formula = math::variance_excess(&joint, pays, policy, slice(&mdp.mu), mdp.gamma, *horizon);
    worst.scaled(formula, excess, square);
    if *horizon == 1 {
        worst.same(formula, 0.0);
    }
    worst.done()
}

fn rewards_mean(mdp: Mdp) -> Measured {
    let left = mean_reward_of(&mdp.p, &mdp.r);
    let right = mean_reward(&mdp);
    let mut worst = Worst::new();
    worst.all(&left, right.iter().flatten());
    worst.done()
}

fn rewards_closed() -> Measured {
    // With probability 1/2 the reward is 1 and the next state is worth 1, else both are 0; no discount.
    let mut p = Array3::zeros((3, 1, 3));
    p[[0, 0, 1]] = 0.5;
    p[[0, 0, 2]] = 0.5;
    p[[1, 0, 2]] = 1.0;
    p[[2, 0, 2]] = 1.0;
    let mut second = Array3::zeros((3, 1, 3));
    second[[0, 0, 1]] = 1.0;
    second[[1, 0, 2]] = 1.0;
    let pays = [0.0, 1.0];
    let mdp = Mdp { p, r: Array3::zeros((3, 1, 3)), mu: array![1.0, 0.0, 0.0], gamma: 1.0 };
    let case = JointCase { mdp, horizon: 2, policy: array![[1.0], [1.0], [1.0]], second, pays };
    let (mean, square) = case.moments(&|i, j, k, l| case.joint(i, j, k, l));
    let mut worst = Worst::new();
    worst.same(mean, 1.0).same(square - mean * mean, 1.0);
    let pay = |i: usize, l: usize| (0..3).map(|k| case.joint(i, 0, k, l)).sum::<f64>();
    let (mean, square) = case.moments(&|i, _, k, l| case.mdp.p[[i, 0, k]] * pay(i, l));
    worst.same(mean, 1.0).same(square - mean * mean, 0.5);
    rewards_definition(case).map(|error| worst.add(error).error())
}

fn occupancy(mdp: &Mdp, policy: &Policy) -> Result<Array1<f64>, String> {
    let mut out = Array1::from_elem(mdp.states(), f64::NAN);
    let out_slice = out.as_slice_mut().expect("contiguous");
    math::occupancy(&kernel(mdp, policy), slice(&mdp.mu), mdp.gamma, out_slice).map_err(|e| e.to_string())?;
    Ok(out)
}

fn occupancy_definition((mdp, policy): (Mdp, Policy)) -> Measured {
    let left = occupancy(&mdp, &policy)?;
    let chain = chain(&mdp, &policy);
    let s = mdp.states();
    let step = |d: &[f64]| -> Vec<f64> { (0..s).map(|k| (0..s).map(|i| d[i] * chain[i][k]).sum()).collect() };
    let mut visits = mdp.mu.to_vec();
    let mut right = vec![0.0; s];
    let mut weight = 1.0 - mdp.gamma;
    while weight > 1e-12 * (1.0 - mdp.gamma) {
        right.iter_mut().zip(&visits).for_each(|(d, v)| *d += weight * v);
        visits = step(&visits);
        weight *= mdp.gamma;
    }
    let mut worst = Worst::new();
    for (l, r) in left.iter().zip(&right) {
        worst.solved(*l, *r, mdp.gamma);
    }
    // A probability vector, and the fixed point of its own equation.
    worst.solved(left.sum(), 1.0, mdp.gamma).holds(left.iter().all(|&d| d >= -1e-12));
    let next = step(&left.to_vec());
    for i in 0..s {
        worst.solved(left[i], (1.0 - mdp.gamma) * mdp.mu[i] + mdp.gamma * next[i], mdp.gamma);
    }
    worst.done()
}

fn occupancy_objective((mdp, policy): (Mdp, Policy)) -> Measured {
    let value = policy_value(&mdp, &policy);
    let direct: f64 = mdp.mu.iter().zip(&value).map(|(m, v)| m * v).sum();
    let reward = mean_reward_of(&mdp.p, &mdp.r);
    let visited = math::objective(slice(&occupancy(&mdp, &policy)?), &policy, &reward, mdp.gamma);
    let visited = visited.map_err(|e| e.to_string())?;
    let scale = value.iter().fold(1.0, |m: f64, v| m.max(v.abs()));
    Ok(relative(direct, visited, scale) * (1.0 - mdp.gamma))
}

fn occupancy_edges((mut mdp, policy): (Mdp, Policy)) -> Measured {
    let mut worst = Worst::new();
    mdp.gamma = 0.0;
    worst.all(&occupancy(&mdp, &policy)?, &mdp.mu);
    // Started in an absorbing state, nothing else is ever visited.
    mdp.gamma = 0.9;
    let last = mdp.states() - 1;
    mdp.mu.fill(0.0);
    mdp.mu[last] = 1.0;
    mdp.p.index_axis_mut(Axis(0), last).fill(0.0);
    for j in 0..mdp.actions() {
        mdp.p[[last, j, last]] = 1.0;
    }
    worst.all(&occupancy(&mdp, &policy)?, &mdp.mu);
    // Without a discount there is no such distribution.
    mdp.gamma = 1.0;
    require(occupancy(&mdp, &policy).is_err(), || "gamma = 1 is accepted".to_owned())?;
    worst.done()
}
