//! Targets and losses of action values, on vectors.
//!
//! A transition is the reward (of `k` steps, discounted), what the value after them is multiplied with (`gamma^k`), and
//! whether the episode terminated there. A time limit does not terminate: its transition bootstraps from the true last
//! observation like any other.

use ndarray::ArrayRef2;
use rederive_math::{Real, td};
use serde::{Deserialize, Serialize};

/// What is done with an error.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Loss {
    /// `x^2 / 2`.
    #[default]
    Squared,
    /// `x^2 / 2` up to 1 and `|x| - 1/2` from there on, so that no error pulls harder than 1 (Huber, 1964).
    Huber,
}

impl Loss {
    /// The loss of an error.
    #[inline]
    pub fn of<F: Real>(self, error: F) -> F {
        let half = F::of(0.5);
        match self {
            Loss::Huber if error.abs() > F::one() => error.abs() - half,
            _ => half * error * error,
        }
    }

    /// Its derivative.
    #[inline]
    pub fn slope<F: Real>(self, error: F) -> F {
        match self {
            Loss::Huber if error > F::one() => F::one(),
            Loss::Huber if error < -F::one() => -F::one(),
            _ => error,
        }
    }
}

/// The batch dimension of targets, after all shapes were compared.
fn rows<F>(reward: &[F], terminated: &[bool], discount: &[F], next_q: &ArrayRef2<F>, target: &[F]) -> usize {
    let n = reward.len();
    assert_eq!(terminated.len(), n, "terminated against reward");
    assert_eq!(discount.len(), n, "discount against reward");
    assert_eq!(next_q.nrows(), n, "rows of next_q against reward");
    assert_eq!(target.len(), n, "target against reward");
    next_q.ncols()
}

fn contiguous<F>(q: &ArrayRef2<F>) -> &[F] {
    q.as_slice().expect("action values must be contiguous")
}

// ANCHOR: dqn.td-target
/// The targets of a batch.
///
/// ID `dqn.td-target`: `y = r + gamma (1 - terminated) max_a' Q_target(s', a')`. They are constants to the loss: the
/// gradient flows through the online value alone.
///
/// Shapes: `reward`, `terminated`, `discount` and `target` `[B]`, `next_q` `[B, A]`, which is not read where the episode
/// terminated.
///
/// # Panics
/// If shapes differ.
///
/// Source: V. Mnih et al. (2015), Human-level control through deep reinforcement learning.
pub fn td_target<F: Real>(
    reward: &[F],
    terminated: &[bool],
    discount: &[F],
    next_q: &ArrayRef2<F>,
    target: &mut [F],
) {
    let actions = rows(reward, terminated, discount, next_q, target);
    let next = contiguous(next_q).chunks_exact(actions);
    for ((((y, &r), &terminated), &gamma), next) in
        target.iter_mut().zip(reward).zip(terminated).zip(discount).zip(next)
    {
        *y = td::q_target(r, terminated, next, gamma);
    }
}

/// The mean loss of a batch, its gradient at the action values, and the errors.
///
/// ID `dqn.td-target`: `(1/B) sum_i w_i l(Q(s_i, a_i) - y_i)` with `l(x) = x^2 / 2`, or Huber's. Only the values of the
/// actions taken have a gradient.
///
/// Shapes: `q` and `d_q` `[B, A]`; `action`, `target`, `weight` (1 for all if absent) and `td_error` `[B]`. `d_q` and
/// `td_error`, which is `y - Q(s, a)`, are overwritten.
///
/// # Panics
/// If shapes differ, the batch is empty, or an action lies outside of `q`.
///
/// Source: V. Mnih et al. (2015), Human-level control through deep reinforcement learning; for the weights T. Schaul et al.
/// (2016), Prioritized Experience Replay.
pub fn td_loss<F: Real>(
    q: &ArrayRef2<F>,
    action: &[u32],
    target: &[F],
    weight: Option<&[F]>,
    loss: Loss,
    d_q: &mut ArrayRef2<F>,
    td_error: &mut [F],
) -> F {
    let (n, actions) = q.dim();
    assert!(n > 0, "the batch is empty");
    assert_eq!(d_q.dim(), (n, actions), "d_q against q");
    assert_eq!((action.len(), target.len(), td_error.len()), (n, n, n), "action, target, td_error against q");
    assert!(weight.is_none_or(|w| w.len() == n), "weight against q");
    let q = contiguous(q).chunks_exact(actions);
    let d_q = d_q.as_slice_mut().expect("d_q must be contiguous");
    d_q.fill(F::zero());
    let share = F::one() / F::of(n as f64);
    let mut sum = F::zero();
    for (i, (q, d_q)) in q.zip(d_q.chunks_exact_mut(actions)).enumerate() {
        let taken = action[i] as usize;
        let error = q[taken] - target[i];
        let weight = weight.map_or(F::one(), |w| w[i]);
        sum += weight * loss.of(error);
        d_q[taken] = share * weight * loss.slope(error);
        td_error[i] = -error;
    }
    share * sum
}
// ANCHOR_END: dqn.td-target

// ANCHOR: dqn.double-q
/// The targets of a batch where the online network selects the next action and the target network values it.
///
/// ID `dqn.double-q`: `y = r + gamma (1 - terminated) Q_target(s', argmax_a' Q(s', a'))`. Were the two independent, its mean
/// would not exceed the largest true value; as they are not, it only exceeds it less. It can be too small as well.
///
/// Shapes: `reward`, `terminated`, `discount` and `target` `[B]`; `select` (online) and `evaluate` (target) `[B, A]`.
///
/// # Panics
/// If shapes differ.
///
/// Source: H. van Hasselt, A. Guez, D. Silver (2016), Deep Reinforcement Learning with Double Q-learning.
pub fn double_q_target<F: Real>(
    reward: &[F],
    terminated: &[bool],
    discount: &[F],
    select: &ArrayRef2<F>,
    evaluate: &ArrayRef2<F>,
    target: &mut [F],
) {
    let actions = rows(reward, terminated, discount, evaluate, target);
    assert_eq!(select.dim(), evaluate.dim(), "select against evaluate");
    let next = contiguous(select).chunks_exact(actions).zip(contiguous(evaluate).chunks_exact(actions));
    for ((((y, &r), &terminated), &gamma), (select, evaluate)) in
        target.iter_mut().zip(reward).zip(terminated).zip(discount).zip(next)
    {
        *y = td::double_q_target(r, terminated, select, evaluate, gamma);
    }
}
// ANCHOR_END: dqn.double-q

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::{Array2, array};

    #[test]
    fn huber_is_the_square_within_one_and_straight_outside() {
        for (x, value, slope) in [(0.5, 0.125, 0.5), (1.0, 0.5, 1.0), (-3.0, 2.5, -1.0), (2.0, 1.5, 1.0)] {
            assert_eq!((Loss::Huber.of(x), Loss::Huber.slope(x)), (value, slope));
            assert_eq!((Loss::Squared.of(x), Loss::Squared.slope(x)), (x * x / 2.0, x));
        }
        assert!(Loss::Huber.of(f64::NAN).is_nan() && Loss::Huber.slope(f64::NAN).is_nan());
    }

    #[test]
    fn only_the_taken_action_has_a_gradient() {
        let q = array![[1.0f64, 2.0], [3.0, 4.0]];
        let (mut d_q, mut error) = (Array2::from_elem((2, 2), f64::NAN), [f64::NAN; 2]);
        let loss = td_loss(&q, &[1, 0], &[0.0, 3.5], Some(&[1.0, 0.5]), Loss::Squared, &mut d_q, &mut error);
        assert_eq!(loss, (2.0 + 0.5 * 0.125) / 2.0);
        assert_eq!(d_q, array![[0.0, 1.0], [-0.125, 0.0]]);
        assert_eq!(error, [-2.0, 0.5]);
    }
}
