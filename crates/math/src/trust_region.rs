//! How far a policy may move before its surrogate stops telling the truth, and ascent by lower bounds.

use crate::Real;
use crate::performance::mean_advantage;
use ndarray::{ArrayRef2, ArrayView1};
use std::error::Error;
use std::fmt;

#[track_caller]
fn check_policies<F>(old: &ArrayRef2<F>, policy: &ArrayRef2<F>) {
    assert!(
        old.dim() == policy.dim(),
        "old has shape {:?} but policy has shape {:?}",
        old.dim(),
        policy.dim()
    );
}

/// `TV(p, q) = sum_a |p(a) - q(a)| / 2`.
fn total_variation<F: Real>(p: ArrayView1<'_, F>, q: ArrayView1<'_, F>) -> F {
    F::of(0.5) * p.iter().zip(q).map(|(&p, &q)| (p - q).abs()).sum()
}

/// `KL(p || q)` in nats; infinite where `q` is 0 and `p` is not.
fn kl<F: Real>(p: ArrayView1<'_, F>, q: ArrayView1<'_, F>) -> F {
    let positive = p.iter().zip(q).filter(|(p, _)| **p != F::zero());
    positive.map(|(&p, &q)| p * (p / q).ln()).sum()
}

/// The largest of the numbers, at least 0; NaN if one is.
fn largest<F: Real>(values: impl Iterator<Item = F>) -> F {
    values.fold(F::zero(), |m, x| if x > m || x.is_nan() { x } else { m })
}

/// What the largest divergence of all states can cost.
///
/// ID `trpo.bound-max`: `J(pi') >= J(pi) + L(pi') - 4 eps gamma / (1 - gamma)^2 alpha^2`, with `eps = max |A_pi(s, a)|` and
/// `alpha = max_s TV(pi, pi')`; `alpha^2` may be replaced by `max_s KL(pi || pi')`, which is at least twice as large. This is the last
/// term. A policy that maximises the right side is never worse than the old one.
///
/// `largest_advantage` and `squared_distance` are not negative, `gamma` is below 1.
///
/// Source: J. Schulman, S. Levine, P. Moritz, M. Jordan, P. Abbeel (2015), Trust Region Policy Optimization, theorem 1.
// ANCHOR: trpo.bound-max
pub fn max_penalty<F: Real>(largest_advantage: F, squared_distance: F, gamma: F) -> F {
    let left = F::one() - gamma;
    let factor = F::of(4.0) * largest_advantage * gamma / (left * left);
    // Where nothing can be lost, not even an infinite divergence loses it.
    if factor == F::zero() { F::zero() } else { factor * squared_distance }
}

/// `eps` of [`max_penalty`]: the largest advantage, whatever its sign.
///
/// ID `trpo.bound-max`.
pub fn largest_advantage<F: Real>(advantage: &ArrayRef2<F>) -> F {
    largest(advantage.iter().map(|a| a.abs()))
}

/// The largest total variation distance of all states.
///
/// ID `trpo.bound-max`.
///
/// # Panics
/// If the shapes differ.
pub fn max_total_variation<F: Real>(old: &ArrayRef2<F>, policy: &ArrayRef2<F>) -> F {
    check_policies(old, policy);
    largest(old.rows().into_iter().zip(policy.rows()).map(|(p, q)| total_variation(p, q)))
}

/// The largest divergence `KL(old || policy)` of all states, in nats.
///
/// ID `trpo.bound-max`.
///
/// # Panics
/// If the shapes differ.
pub fn max_kl<F: Real>(old: &ArrayRef2<F>, policy: &ArrayRef2<F>) -> F {
    check_policies(old, policy);
    largest(old.rows().into_iter().zip(policy.rows()).map(|(p, q)| kl(p, q)))
}
// ANCHOR_END: trpo.bound-max

/// How far the surrogate can be from the truth, from the mean distance over the *old* policy's states.
///
/// ID `trpo.bound-average`: `|J(pi') - J(pi) - L(pi')| <= 2 gamma eps' / (1 - gamma)^2 E_{s ~ d_pi}[TV(pi, pi')(s)]` with
/// `eps' = max_s |sum_a pi'(a | s) A_pi(s, a)|`. This is the right side.
///
/// `largest_gain` and `mean_distance` are not negative, `gamma` is below 1.
///
/// Source: J. Achiam, D. Held, A. Tamar, P. Abbeel (2017), Constrained Policy Optimization, corollary 1.
// ANCHOR: trpo.bound-average
pub fn average_penalty<F: Real>(largest_gain: F, mean_distance: F, gamma: F) -> F {
    let left = F::one() - gamma;
    F::of(2.0) * gamma * largest_gain / (left * left) * mean_distance
}

/// [`average_penalty`] from the mean divergence over the old policy's states, in either direction.
///
/// ID `trpo.bound-average`: `E[TV] <= E[sqrt(KL / 2)] <= sqrt(E[KL] / 2)`, by the inequalities of Pinsker and of Jensen.
///
/// Source: J. Achiam, D. Held, A. Tamar, P. Abbeel (2017), Constrained Policy Optimization, corollary 3.
pub fn average_penalty_kl<F: Real>(largest_gain: F, mean_kl: F, gamma: F) -> F {
    average_penalty(largest_gain, (mean_kl / F::of(2.0)).sqrt(), gamma)
}

/// `eps'`: the largest change of the mean advantage in a state, whatever its sign.
///
/// ID `trpo.bound-average`.
///
/// # Panics
/// If the shapes differ.
pub fn largest_gain<F: Real>(policy: &ArrayRef2<F>, advantage: &ArrayRef2<F>) -> F {
    let mut mean = vec![F::zero(); policy.nrows()];
    mean_advantage(policy, advantage, &mut mean);
    largest(mean.iter().map(|m| m.abs()))
}

#[track_caller]
fn mean_over_states<F: Real>(
    occupancy: &[F],
    old: &ArrayRef2<F>,
    policy: &ArrayRef2<F>,
    distance: impl Fn(ArrayView1<'_, F>, ArrayView1<'_, F>) -> F,
) -> F {
    check_policies(old, policy);
    assert!(
        occupancy.len() == old.nrows(),
        "occupancy has {} entries but old has shape {:?}",
        occupancy.len(),
        old.dim()
    );
    let rows = old.rows().into_iter().zip(policy.rows()).map(|(p, q)| distance(p, q));
    // A state without visits does not count, however far apart the policies are in it.
    occupancy.iter().zip(rows).filter(|(d, _)| **d != F::zero()).map(|(&d, x)| d * x).sum()
}

/// The mean total variation distance over states.
///
/// ID `trpo.bound-average`. Shapes: `occupancy` `[S]`, of the old policy; `old` and `policy` `[S, A]`.
///
/// # Panics
/// If the shapes do not belong together.
pub fn mean_total_variation<F: Real>(occupancy: &[F], old: &ArrayRef2<F>, policy: &ArrayRef2<F>) -> F {
    mean_over_states(occupancy, old, policy, total_variation)
}

/// The mean divergence `KL(old || policy)` over states, in nats: what a trust region bounds.
///
/// ID `trpo.bound-average`. Shapes: `occupancy` `[S]`, of the old policy; `old` and `policy` `[S, A]`.
///
/// # Panics
/// If the shapes do not belong together.
pub fn mean_kl<F: Real>(occupancy: &[F], old: &ArrayRef2<F>, policy: &ArrayRef2<F>) -> F {
    mean_over_states(occupancy, old, policy, kl)
}
// ANCHOR_END: trpo.bound-average

/// The conservative update: with probability `alpha` another policy's action, else the old one's, anew in each step.
///
/// ID `cpi.mixture`: `pi_alpha = (1 - alpha) pi + alpha pi'`. The surrogate is linear along it, `L(pi_alpha) = alpha L(pi')`.
///
/// Shapes: all `[S, A]`; `out` is overwritten. `alpha` lies in `[0, 1]`.
///
/// # Panics
/// If the shapes differ.
///
/// Source: S. Kakade, J. Langford (2002), Approximately Optimal Approximate Reinforcement Learning.
// ANCHOR: cpi.mixture
pub fn mixture<F: Real>(old: &ArrayRef2<F>, partner: &ArrayRef2<F>, alpha: F, out: &mut ArrayRef2<F>) {
    check_policies(old, partner);
    check_policies(old, out);
    for ((out, &p), &q) in out.iter_mut().zip(old).zip(partner) {
        *out = (F::one() - alpha) * p + alpha * q;
    }
}

/// What the square of a mixture's weight can cost.
///
/// ID `cpi.mixture`: `J(pi_alpha) >= J(pi) + alpha L(pi') - 2 eps' gamma alpha^2 / ((1 - gamma) (1 - gamma (1 - alpha)))` with `eps'` of
/// [`largest_gain`] taken at the partner `pi'`, not at the mixture, where it is smaller by the factor `alpha` and the statement false.
/// This is the last term.
///
/// Source: S. Kakade, J. Langford (2002), Approximately Optimal Approximate Reinforcement Learning, theorem 4.1.
pub fn mixture_penalty<F: Real>(largest_gain: F, alpha: F, gamma: F) -> F {
    let (one, two) = (F::one(), F::of(2.0));
    two * largest_gain * gamma * alpha * alpha / ((one - gamma) * (one - gamma * (one - alpha)))
}
// ANCHOR_END: cpi.mixture

/// Why a function cannot serve as a minoriser for a step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum NotAMinoriser {
    /// It does not touch the objective at the present point, so that its maximum says nothing about an ascent.
    NoContact {
        /// Objective less minoriser at the present point.
        gap: f64,
    },
    /// It exceeds the objective at its maximum: it is no lower bound.
    Above {
        /// Minoriser less objective there.
        excess: f64,
    },
}

impl fmt::Display for NotAMinoriser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NotAMinoriser::NoContact { gap } => {
                write!(
                    f,
                    "the minoriser is {gap} below the objective at the present point and promises nothing"
                )
            }
            NotAMinoriser::Above { excess } => {
                write!(f, "the minoriser is {excess} above the objective at its maximum")
            }
        }
    }
}

impl Error for NotAMinoriser {}

/// One step of minorise-maximise over a list of candidates: the one where the minoriser is largest (the present point if none is better).
///
/// ID `mm.ascent`: if `M <= f` everywhere and `M(x_0) = f(x_0)`, then `x_1 = argmax M` has `f(x_1) >= M(x_1) >= M(x_0) = f(x_0)`. The proof
/// uses the bound at `x_1` and the contact at `x_0`, and these two are what is verified, up to `slack`. Without contact a lower bound
/// guarantees nothing.
///
/// # Errors
/// [`NotAMinoriser`].
///
/// Source: D. R. Hunter, K. Lange (2004), A Tutorial on MM Algorithms.
// ANCHOR: mm.ascent
pub fn mm_step<X: Clone, F: Real>(
    objective: impl Fn(&X) -> F,
    minoriser: impl Fn(&X) -> F,
    start: &X,
    candidates: impl IntoIterator<Item = X>,
    slack: F,
) -> Result<X, NotAMinoriser> {
    let (mut best, mut height) = (start.clone(), minoriser(start));
    let gap = objective(start) - height;
    // Written so that NaN is refused.
    if !(-slack..=slack).contains(&gap) {
        return Err(NotAMinoriser::NoContact { gap: Real::to_f64(gap) });
    }
    for x in candidates {
        let m = minoriser(&x);
        if m > height {
            (best, height) = (x, m);
        }
    }
    let excess = height - objective(&best);
    if excess <= slack { Ok(best) } else { Err(NotAMinoriser::Above { excess: Real::to_f64(excess) }) }
}
// ANCHOR_END: mm.ascent

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    #[test]
    fn distances_of_policies() {
        let (old, new) = (array![[0.5, 0.5], [1.0, 0.0]], array![[0.75, 0.25], [0.5, 0.5]]);
        assert_eq!(max_total_variation(&old, &new), 0.5);
        assert_eq!(mean_total_variation(&[0.5, 0.5], &old, &new), 0.375);
        assert_eq!(max_kl(&old, &new), 2.0f64.ln());
        let want = 0.75 * 1.5f64.ln() + 0.25 * 0.5f64.ln();
        assert!((mean_kl(&[1.0, 0.0], &new, &old) - want).abs() < 1e-15);
        assert!(mean_kl(&[0.0, 1.0], &new, &old).is_infinite());
        assert!(max_kl(&array![[0.5, f64::NAN]], &array![[0.5, 0.5]]).is_nan());
    }

    #[test]
    fn a_bound_without_contact_is_refused() {
        let f = |x: &f64| -x * x;
        let far = |x: &f64| -2.0 * (x - 3.0) * (x - 3.0) - 18.0;
        let grid = || (-50..=50).map(|i| f64::from(i) / 10.0);
        assert_eq!(mm_step(f, far, &0.0, grid(), 1e-12), Err(NotAMinoriser::NoContact { gap: 36.0 }));
        // Touches at 1, with a steeper curve: a step towards the top.
        let near = |x: &f64| -1.0 - 2.0 * (x - 1.0) - 2.0 * (x - 1.0) * (x - 1.0);
        let x = mm_step(f, near, &1.0, grid(), 1e-12).unwrap();
        assert_eq!((x, f(&x)), (0.5, -0.25));
        let above = |x: &f64| -1.0 - 2.0 * (x - 1.0);
        assert!(matches!(mm_step(f, above, &1.0, grid(), 1e-12), Err(NotAMinoriser::Above { .. })));
    }
}
