//! Finite Markov decision processes as dense arrays.
//!
//! `p` is `P(s' | s, a)` and `r` is `R(s, a, s')`, both `[S, A, S]`; a policy is `pi(a | s)` `[S, A]`; `mu` is the law
//! of the first state `[S]`. Only [`validate`] and [`validate_policy`] look at the numbers; the other functions assert
//! shapes alone.

use crate::divergence::{self, NotALaw};
use crate::{Real, elimination};
use ndarray::{Array1, Array2, Array3, ArrayRef2, ArrayRef3, ArrayRef4, Axis};
use std::error::Error;
use std::fmt;

/// Why arrays are no Markov decision process, or no policy of one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum NotAnMdp {
    /// `P(. | s, a)` is no law.
    Transition {
        /// s.
        state: usize,
        /// a.
        action: usize,
        /// Why.
        fault: NotALaw,
    },
    /// `R(s, a, s')` is no finite number.
    Reward {
        /// s.
        state: usize,
        /// a.
        action: usize,
        /// s'.
        next: usize,
    },
    /// The law of the first state is none.
    Start(NotALaw),
    /// The discount is outside of `[0, 1]`, or 1 where the horizon is infinite.
    Discount(f64),
    /// `pi(. | s)` is no law.
    Policy {
        /// s.
        state: usize,
        /// Why.
        fault: NotALaw,
    },
}

impl fmt::Display for NotAnMdp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NotAnMdp::Transition { state, action, fault } => {
                write!(f, "transitions from state {state} with action {action}: {fault}")
            }
            NotAnMdp::Reward { state, action, next } => {
                write!(f, "the reward from state {state} with action {action} to state {next} is not finite")
            }
            NotAnMdp::Start(fault) => write!(f, "first state: {fault}"),
            NotAnMdp::Discount(gamma) => write!(f, "the discount {gamma} is out of range"),
            NotAnMdp::Policy { state, fault } => write!(f, "policy in state {state}: {fault}"),
        }
    }
}

impl Error for NotAnMdp {}

/// Whether the arrays are a Markov decision process.
///
/// ID `mdp.kernel`: `P(s' | s, a) >= 0`, `sum_s' P(s' | s, a) = 1`, `R` finite, `mu` a law, `gamma` in `[0, 1]` (1
/// belongs to a finite horizon, or to sure termination). Sums may be off by 1e-9 (in `f32` by 4e-6).
///
/// Shapes: `p` and `r` `[S, A, S]`, `mu` `[S]`.
///
/// # Errors
/// The first fault found.
///
/// # Panics
/// If the shapes do not belong together.
///
/// Source: R. Bellman (1957), A Markovian Decision Process.
// ANCHOR: mdp.kernel
pub fn validate<F: Real>(p: &ArrayRef3<F>, r: &ArrayRef3<F>, mu: &[F], gamma: F) -> Result<(), NotAnMdp> {
    let (states, _, next) = p.dim();
    assert!(states == next, "p has shape {:?} but must go from S states to S states", p.dim());
    assert!(r.dim() == p.dim(), "r has shape {:?} but p has shape {:?}", r.dim(), p.dim());
    assert!(mu.len() == states, "mu has {} entries but p has shape {:?}", mu.len(), p.dim());
    divergence::validate(mu).map_err(NotAnMdp::Start)?;
    for (state, rows) in p.axis_iter(Axis(0)).enumerate() {
        for (action, row) in rows.rows().into_iter().enumerate() {
            divergence::validate_entries(row.iter().copied()).map_err(|fault| NotAnMdp::Transition {
                state,
                action,
                fault,
            })?;
        }
    }
    if let Some(((state, action, next), _)) = r.indexed_iter().find(|(_, r)| !r.is_finite()) {
        return Err(NotAnMdp::Reward { state, action, next });
    }
    // Written so that NaN is refused.
    let in_range = gamma >= F::zero() && gamma <= F::one();
    if in_range { Ok(()) } else { Err(NotAnMdp::Discount(Real::to_f64(gamma))) }
}

/// Whether `policy` `[S, A]` is one: `pi(a | s) >= 0`, `sum_a pi(a | s) = 1`.
///
/// ID `mdp.kernel`.
///
/// # Errors
/// The first fault found.
///
/// Source: R. Bellman (1957), A Markovian Decision Process.
pub fn validate_policy<F: Real>(policy: &ArrayRef2<F>) -> Result<(), NotAnMdp> {
    for (state, row) in policy.rows().into_iter().enumerate() {
        divergence::validate_entries(row.iter().copied())
            .map_err(|fault| NotAnMdp::Policy { state, fault })?;
    }
    Ok(())
}

/// The number of the pair (s, a): `s * A + a`, one-to-one onto `0..S * A`.
///
/// ID `mdp.kernel`.
#[inline]
pub fn pair_index(state: usize, action: usize, actions: usize) -> usize {
    debug_assert!(action < actions, "action {action} of {actions}");
    state * actions + action
}

/// The pair (s, a) of that number; undoes [`pair_index`].
///
/// ID `mdp.kernel`.
///
/// # Panics
/// If `actions` is 0.
#[inline]
pub fn pair(index: usize, actions: usize) -> (usize, usize) {
    (index / actions, index % actions)
}
// ANCHOR_END: mdp.kernel

#[track_caller]
fn check_policy<F>(p: &ArrayRef3<F>, policy: &ArrayRef2<F>) {
    let (states, actions, _) = p.dim();
    let (rows, columns) = policy.dim();
    assert!(
        (rows, columns) == (states, actions),
        "policy has shape {:?} but p has shape {:?}",
        policy.dim(),
        p.dim()
    );
}

#[track_caller]
fn check_kernel<F>(kernel: &ArrayRef2<F>, mu: &[F], out: &[F]) {
    let states = mu.len();
    assert!(
        kernel.dim() == (states, states),
        "kernel has shape {:?} but mu has {states} entries",
        kernel.dim()
    );
    assert!(out.len() == states, "mu has {states} entries but out has {}", out.len());
}

/// The Markov chain of the states under a policy.
///
/// ID `mdp.markov`: `P_pi(s' | s) = sum_a pi(a | s) P(s' | s, a)`. The chain belongs to the process *and* the policy.
///
/// Shapes: `p` `[S, A, S]`, `policy` `[S, A]`, `out` `[S, S]` (row `s`, column `s'`), overwritten.
///
/// # Panics
/// If the shapes do not belong together.
///
/// Source: M. L. Puterman (1994), Markov Decision Processes.
// ANCHOR: mdp.markov
pub fn policy_kernel<F: Real>(p: &ArrayRef3<F>, policy: &ArrayRef2<F>, out: &mut ArrayRef2<F>) {
    check_policy(p, policy);
    let states = p.dim().0;
    assert!(out.dim() == (states, states), "out has shape {:?} but p has shape {:?}", out.dim(), p.dim());
    out.fill(F::zero());
    for ((s, a, next), &prob) in p.indexed_iter() {
        out[[s, next]] += policy[[s, a]] * prob;
    }
}

/// The law of the state after `steps` steps of the chain.
///
/// ID `mdp.markov`: `Pr(s_t = .) = mu^T P_pi^t`. Successive states are independent of the past given the present, not
/// independent of each other.
///
/// Shapes: `kernel` `[S, S]`, `mu` and `out` `[S]`; `out` is overwritten.
///
/// # Panics
/// If the shapes do not belong together.
///
/// Source: M. L. Puterman (1994), Markov Decision Processes.
pub fn state_law<F: Real>(kernel: &ArrayRef2<F>, mu: &[F], steps: usize, out: &mut [F]) {
    check_kernel(kernel, mu, out);
    out.copy_from_slice(mu);
    let mut before = mu.to_vec();
    for _ in 0..steps {
        before.copy_from_slice(out);
        out.fill(F::zero());
        for ((s, next), &prob) in kernel.indexed_iter() {
            out[next] += before[s] * prob;
        }
    }
}
// ANCHOR_END: mdp.markov

/// Transition probabilities and mean rewards from the joint law of next state and reward.
///
/// ID `mdp.rewards`: `P(s' | s, a) = sum_r P(s', r | s, a)` and `R(s, a, s') = E[r | s, a, s']` (0 where `s'` cannot
/// follow).
///
/// Shapes: `joint` `[S, A, S, K]` holds `P(s', r_k | s, a)`, `reward` `[K]`; `p` and `r` `[S, A, S]` are overwritten.
///
/// # Panics
/// If the shapes do not belong together.
///
/// Source: R. S. Sutton, A. G. Barto (2018), Reinforcement Learning, equations 3.4 to 3.6.
// ANCHOR: mdp.rewards
pub fn from_joint<F: Real>(joint: &ArrayRef4<F>, reward: &[F], p: &mut ArrayRef3<F>, r: &mut ArrayRef3<F>) {
    check_joint(joint, reward);
    let (states, actions, next, _) = joint.dim();
    assert!(p.dim() == (states, actions, next), "p has shape {:?} but joint {:?}", p.dim(), joint.dim());
    assert!(r.dim() == p.dim(), "r has shape {:?} but p has shape {:?}", r.dim(), p.dim());
    p.fill(F::zero());
    r.fill(F::zero());
    for ((s, a, next, k), &prob) in joint.indexed_iter() {
        p[[s, a, next]] += prob;
        r[[s, a, next]] += prob * reward[k];
    }
    for (at, r) in r.indexed_iter_mut() {
        if p[at] > F::zero() {
            *r /= p[at];
        }
    }
}

/// The mean reward of a state and an action.
///
/// ID `mdp.rewards`: `r(s, a) = sum_s' P(s' | s, a) R(s, a, s')`. Values depend on `P` and this mean alone.
///
/// Shapes: `p` and `r` `[S, A, S]`, `out` `[S, A]`, overwritten.
///
/// # Panics
/// If the shapes do not belong together.
///
/// Source: R. S. Sutton, A. G. Barto (2018), Reinforcement Learning, equation 3.5.
pub fn mean_reward<F: Real>(p: &ArrayRef3<F>, r: &ArrayRef3<F>, out: &mut ArrayRef2<F>) {
    let (states, actions, _) = p.dim();
    assert!(r.dim() == p.dim(), "r has shape {:?} but p has shape {:?}", r.dim(), p.dim());
    assert!(out.dim() == (states, actions), "out has shape {:?} but p has shape {:?}", out.dim(), p.dim());
    out.fill(F::zero());
    for ((s, a, next), &prob) in p.indexed_iter() {
        out[[s, a]] += prob * r[[s, a, next]];
    }
}

/// How much larger the variance of the return is than if reward and next state were drawn independently.
///
/// ID `mdp.rewards`: `2 sum_{t<T} gamma^(2t+1) E[Cov(r_t, V_{t+1}(s_{t+1}) | s_t, a_t)]` with `V_T = 0`. The mean of
/// the return does not depend on their joint law, its variance does (and not in one step: for `T = 1` the excess is 0).
///
/// Shapes: `joint` `[S, A, S, K]` holds `P(s', r_k | s, a)`, `reward` `[K]`, `policy` `[S, A]`, `mu` `[S]`.
///
/// # Panics
/// If the shapes do not belong together.
///
/// Source: M. J. Sobel (1982), The Variance of Discounted Markov Decision Processes.
pub fn variance_excess<F: Real>(
    joint: &ArrayRef4<F>,
    reward: &[F],
    policy: &ArrayRef2<F>,
    mu: &[F],
    gamma: F,
    horizon: usize,
) -> F {
    check_joint(joint, reward);
    let (states, actions, _, _) = joint.dim();
    let mut p = Array3::zeros((states, actions, states));
    let mut r = p.clone();
    from_joint(joint, reward, &mut p, &mut r);
    check_policy(&p, policy);
    let mut kernel = Array2::zeros((states, states));
    policy_kernel(&p, policy, &mut kernel);
    let mut mean = Array2::zeros((states, actions));
    mean_reward(&p, &r, &mut mean);
    // Backwards: the excess from step t on is its own covariance and the excess of what follows.
    let mut value = Array1::<F>::zeros(states);
    let mut excess = Array1::<F>::zeros(states);
    for _ in 0..horizon {
        let mut covariance = Array1::<F>::zeros(states);
        for s in 0..states {
            for a in 0..actions {
                let expected = p.index_axis(Axis(0), s).index_axis(Axis(0), a).dot(&value);
                let terms = (0..states).map(|next| {
                    p[[s, a, next]] * (r[[s, a, next]] - mean[[s, a]]) * (value[next] - expected)
                });
                covariance[s] += policy[[s, a]] * terms.sum::<F>();
            }
        }
        let step: Array1<F> = (&mean * &policy.view()).sum_axis(Axis(1));
        excess = covariance.mapv(|c| F::of(2.0) * gamma * c) + kernel.dot(&excess) * (gamma * gamma);
        value = step + kernel.dot(&value) * gamma;
    }
    assert!(mu.len() == states, "mu has {} entries but joint has shape {:?}", mu.len(), joint.dim());
    mu.iter().zip(&excess).map(|(&m, &x)| m * x).sum()
}
// ANCHOR_END: mdp.rewards

#[track_caller]
fn check_joint<F>(joint: &ArrayRef4<F>, reward: &[F]) {
    let (states, _, next, rewards) = joint.dim();
    assert!(states == next, "joint has shape {:?} but must go from S states to S states", joint.dim());
    assert!(
        rewards == reward.len(),
        "joint has shape {:?} but reward has {} entries",
        joint.dim(),
        reward.len()
    );
}

/// The discounted share of time that the chain spends in each state.
///
/// ID `mdp.occupancy`: `d = (1 - gamma) sum_t gamma^t Pr(s_t = .)`, a law, and the solution of
/// `d = (1 - gamma) mu + gamma d P_pi`. Solved by elimination.
///
/// Shapes: `kernel` `[S, S]` (see [`policy_kernel`]), `mu` and `out` `[S]`; `out` is overwritten.
///
/// # Errors
/// [`NotAnMdp::Discount`] for a `gamma` outside of `[0, 1)`.
///
/// # Panics
/// If the shapes do not belong together.
///
/// Source: M. L. Puterman (1994), Markov Decision Processes, section 6.9.
// ANCHOR: mdp.occupancy
pub fn occupancy<F: Real>(kernel: &ArrayRef2<F>, mu: &[F], gamma: F, out: &mut [F]) -> Result<(), NotAnMdp> {
    check_kernel(kernel, mu, out);
    // Written so that NaN is refused.
    if !(gamma >= F::zero() && gamma < F::one()) {
        return Err(NotAnMdp::Discount(Real::to_f64(gamma)));
    }
    let states = mu.len();
    // (I - gamma P^T) d = (1 - gamma) mu.
    let mut matrix = Array2::from_shape_fn((states, states), |(s, before)| {
        let identity = if s == before { F::one() } else { F::zero() };
        identity - gamma * kernel[[before, s]]
    });
    for (d, &m) in out.iter_mut().zip(mu) {
        *d = (F::one() - gamma) * m;
    }
    if !elimination::solve(&mut matrix, out) {
        // The matrix dominates by columns: only rows of the kernel that are no laws get here.
        out.fill(F::nan());
    }
    Ok(())
}

/// The objective of a policy from its occupancy.
///
/// ID `mdp.occupancy`: `J = 1 / (1 - gamma) sum_s d(s) sum_a pi(a | s) r(s, a)`, which is the mean value of the first
/// state.
///
/// Shapes: `occupancy` `[S]`, `policy` and `mean_reward` `[S, A]`.
///
/// # Errors
/// [`NotAnMdp::Discount`] for a `gamma` outside of `[0, 1)`.
///
/// # Panics
/// If the shapes do not belong together.
///
/// Source: R. S. Sutton, D. McAllester, S. Singh, Y. Mansour (2000), Policy Gradient Methods for Reinforcement Learning
/// with Function Approximation.
pub fn objective<F: Real>(
    occupancy: &[F],
    policy: &ArrayRef2<F>,
    mean_reward: &ArrayRef2<F>,
    gamma: F,
) -> Result<F, NotAnMdp> {
    assert!(
        policy.dim() == mean_reward.dim(),
        "policy has shape {:?} but mean_reward has shape {:?}",
        policy.dim(),
        mean_reward.dim()
    );
    let states = occupancy.len();
    assert!(policy.dim().0 == states, "policy has shape {:?} but occupancy {states} entries", policy.dim());
    if !(gamma >= F::zero() && gamma < F::one()) {
        return Err(NotAnMdp::Discount(Real::to_f64(gamma)));
    }
    let terms = policy.indexed_iter().map(|((s, a), &prob)| occupancy[s] * prob * mean_reward[[s, a]]);
    Ok(terms.sum::<F>() / (F::one() - gamma))
}
// ANCHOR_END: mdp.occupancy

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::{Array4, array};

    /// Two states; action 0 stays with probability 0.9, action 1 with 0.2.
    fn two_states() -> Array3<f64> {
        array![[[0.9, 0.1], [0.2, 0.8]], [[0.1, 0.9], [0.8, 0.2]]]
    }

    #[test]
    fn faults_are_found_where_they_are() {
        let (p, r) = (two_states(), Array3::zeros((2, 2, 2)));
        assert_eq!(validate(&p, &r, &[1.0, 0.0], 1.0), Ok(()));
        let mut bad = p.clone();
        bad[[1, 0, 0]] = 0.1 + 1e-6;
        let fault = validate(&bad, &r, &[1.0, 0.0], 0.9).unwrap_err();
        assert!(matches!(fault, NotAnMdp::Transition { state: 1, action: 0, fault: NotALaw::Sum { .. } }));
        bad[[1, 0, 0]] = -0.1;
        bad[[1, 0, 1]] = 1.1;
        let fault = validate(&bad, &r, &[1.0, 0.0], 0.9).unwrap_err();
        assert!(matches!(fault, NotAnMdp::Transition { fault: NotALaw::Entry { index: 0, .. }, .. }));
        let mut endless = r.clone();
        endless[[0, 1, 1]] = f64::NAN;
        let fault = validate(&p, &endless, &[1.0, 0.0], 0.9);
        assert_eq!(fault, Err(NotAnMdp::Reward { state: 0, action: 1, next: 1 }));
        assert!(matches!(validate(&p, &r, &[0.5, 0.4], 0.9), Err(NotAnMdp::Start(_))));
        assert_eq!(validate(&p, &r, &[1.0, 0.0], 1.5), Err(NotAnMdp::Discount(1.5)));
        assert!(validate(&p, &r, &[1.0, 0.0], f64::NAN).is_err());
        let fault = validate_policy(&array![[0.5, 0.5], [0.5, 0.6]]);
        assert!(matches!(fault, Err(NotAnMdp::Policy { state: 1, .. })));
    }

    #[test]
    fn pairs_are_numbered_one_to_one() {
        let pairs: Vec<_> = (0..12).map(|i| pair(i, 4)).collect();
        assert_eq!((pairs[0], pairs[11]), ((0, 0), (2, 3)));
        assert!(pairs.iter().enumerate().all(|(i, &(s, a))| pair_index(s, a, 4) == i));
    }

    #[test]
    fn the_chain_belongs_to_the_policy() {
        let mut kernel = Array2::zeros((2, 2));
        policy_kernel(&two_states(), &array![[1.0, 0.0], [1.0, 0.0]], &mut kernel);
        assert_eq!(kernel, array![[0.9, 0.1], [0.1, 0.9]]);
        let mut law = [0.0; 2];
        state_law(&kernel, &[1.0, 0.0], 2, &mut law);
        assert!((law[0] - 0.82).abs() < 1e-15);
        state_law(&kernel, &[1.0, 0.0], 0, &mut law);
        assert_eq!(law, [1.0, 0.0]);
    }

    #[test]
    fn a_reward_that_tells_the_next_state_spreads_the_return() {
        // With probability 1/2: reward 1 and then a state that pays 1, or 0 and then one that pays 0. States: start, good, bad, end.
        let mut joint = Array4::zeros((4, 1, 4, 2));
        for (s, next, k, prob) in
            [(0, 1, 1, 0.5), (0, 2, 0, 0.5), (1, 3, 1, 1.0), (2, 3, 0, 1.0), (3, 3, 0, 1.0)]
        {
            joint[[s, 0, next, k]] = prob;
        }
        let excess = |horizon| {
            let policy = Array2::ones((4, 1));
            variance_excess(&joint, &[0.0f64, 1.0], &policy, &[1.0, 0.0, 0.0, 0.0], 1.0, horizon)
        };
        assert_eq!((excess(1), excess(2), excess(3)), (0.0, 0.5, 0.5));
        let (mut p, mut r) = (Array3::zeros((4, 1, 4)), Array3::zeros((4, 1, 4)));
        from_joint(&joint, &[0.0, 1.0], &mut p, &mut r);
        assert_eq!((p[[0, 0, 1]], r[[0, 0, 1]], r[[0, 0, 2]], r[[0, 0, 3]]), (0.5, 1.0, 0.0, 0.0));
        let mut mean = Array2::zeros((4, 1));
        mean_reward(&p, &r, &mut mean);
        assert_eq!(mean, array![[0.5], [1.0], [0.0], [0.0]]);
    }

    #[test]
    fn the_occupancy_solves_its_equation() {
        let kernel = array![[0.9, 0.1], [0.4, 0.6]];
        let (mu, gamma) = ([0.3f64, 0.7], 0.95);
        let mut d = [0.0; 2];
        occupancy(&kernel, &mu, gamma, &mut d).unwrap();
        for s in 0..2 {
            let flow: f64 = (0..2).map(|before| d[before] * kernel[[before, s]]).sum();
            assert!((d[s] - (1.0 - gamma) * mu[s] - gamma * flow).abs() < 1e-15);
        }
        assert!((d[0] + d[1] - 1.0).abs() < 1e-14);
        let policy = array![[1.0], [1.0]];
        let j = objective(&d, &policy, &array![[1.0], [1.0]], gamma).unwrap();
        assert!((j - 20.0).abs() < 1e-12);
        occupancy(&kernel, &mu, 0.0, &mut d).unwrap();
        assert_eq!(d, mu);
        assert_eq!(occupancy(&kernel, &mu, 1.0, &mut d), Err(NotAnMdp::Discount(1.0)));
    }
}
