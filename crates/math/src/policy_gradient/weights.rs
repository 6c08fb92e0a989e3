//! The number that multiplies the score of each step.
//!
//! Arrays are time-major `[T,N]` with the bootstrap rule of [`crate::returns`]. A column may hold several episodes one after
//! another; each is a trajectory of its own.

use crate::returns::{self, same_shape};
use crate::{End, Real, multiversion};
use ndarray::{ArrayRef2, s};

/// REINFORCE's first weight: every step of an episode gets the return of the whole episode.
///
/// ID `pg.reinforce-identity`: `w_t = G(tau) = sum_k gamma^k r_k`, the same for every `t`. It holds rewards from before step `t`, which add
/// noise and nothing else; [`reward_to_go`] drops them. An episode that began before the rollout counts from the first step that the
/// rollout holds.
///
/// Shapes: `reward`, `next_value`, `end` and `out` are `[T,N]`; `out` is overwritten.
///
/// # Panics
/// If two shapes differ.
///
/// Source: R. J. Williams (1992), Simple Statistical Gradient-Following Algorithms for Connectionist Reinforcement Learning.
pub fn total_return<F: Real>(
    reward: &ArrayRef2<F>,
    next_value: &ArrayRef2<F>,
    end: &ArrayRef2<End>,
    gamma: F,
    out: &mut ArrayRef2<F>,
) {
    returns::discounted(reward, next_value, end, gamma, out);
    for t in 1..out.nrows() {
        let (before, mut now) = out.multi_slice_mut((s![t - 1, ..], s![t, ..]));
        for ((now, before), end) in now.iter_mut().zip(&before).zip(end.row(t - 1)) {
            *now = if end.done() { *now } else { *before };
        }
    }
}

/// REINFORCE's weight without the past: every step gets the discounted sum of the rewards that follow it.
///
/// ID `pg.reward-to-go`: `w_t = G_t = sum_{k>=t} gamma^(k-t) r_k`. A reward `r_k` from before action `a_t` has
/// `E[r_k grad log pi(a_t | s_t)] = 0`, so leaving it out changes no mean. The reward `r_t` of the action itself stays. The gradient of
/// the discounted objective needs [`discount_by_time`] as well: `E[sum_t gamma^t G_t grad log pi(a_t | s_t)]`.
///
/// Shapes: `reward`, `next_value`, `end` and `out` are `[T,N]`; `out` is overwritten.
///
/// # Panics
/// If two shapes differ.
///
/// Source: R. J. Williams (1992), Simple Statistical Gradient-Following Algorithms for Connectionist Reinforcement Learning;
/// R. S. Sutton, A. G. Barto (2018), Reinforcement Learning: An Introduction, section 13.3.
// ANCHOR: pg.reward-to-go
pub fn reward_to_go<F: Real>(
    reward: &ArrayRef2<F>,
    next_value: &ArrayRef2<F>,
    end: &ArrayRef2<End>,
    gamma: F,
    out: &mut ArrayRef2<F>,
) {
    returns::discounted(reward, next_value, end, gamma, out);
}
// ANCHOR_END: pg.reward-to-go

multiversion! {
    /// One row: `weight` times the factors, which move on to the next row.
    fn discount_row<F: Real>(end: &[End], gamma: F, discount: &mut [F], weight: &mut [F]) {
        let n = weight.len();
        let (end, discount) = (&end[..n], &mut discount[..n]);
        for i in 0..n {
            weight[i] *= discount[i];
            discount[i] = if end[i].done() { F::one() } else { gamma * discount[i] };
        }
    }
}

/// Multiplies the weight of every step by `gamma^t`, where `t` counts from the start of its episode.
///
/// ID `pg.discount-factor`: `grad J = E[sum_t gamma^t G_t grad log pi(a_t | s_t)]` for `J = E[sum_t gamma^t r_t]`. Without the factor the vector
/// is another one, in general the gradient of no function, and may point downhill for `J`; at `gamma = 1` there is no
/// difference. Most implementations leave it out, since it all but silences late steps.
///
/// Shapes: `end` and `weight` are `[T,N]`; `discount` `[N]` holds the factor of the first row, 1 where an episode starts there, and is
/// left at that of the row after the last.
///
/// # Panics
/// If the shapes do not belong together.
///
/// Source: R. S. Sutton, D. McAllester, S. Singh, Y. Mansour (2000), Policy Gradient Methods for Reinforcement Learning with
/// Function Approximation; C. Nota, P. S. Thomas (2020), Is the Policy Gradient a Gradient?
// ANCHOR: pg.discount-factor
pub fn discount_by_time<F: Real>(
    end: &ArrayRef2<End>,
    gamma: F,
    discount: &mut [F],
    weight: &mut ArrayRef2<F>,
) {
    same_shape("end", end, "weight", weight);
    assert!(
        discount.len() == weight.ncols(),
        "discount has {} entries but weight has shape {:?}",
        discount.len(),
        weight.dim()
    );
    for (mut weight, end) in weight.rows_mut().into_iter().zip(end.rows()) {
        match (weight.as_slice_mut(), end.as_slice()) {
            (Some(weight), Some(end)) => discount_row(end, gamma, discount, weight),
            _ => {
                for ((weight, end), discount) in weight.iter_mut().zip(end).zip(&mut *discount) {
                    *weight *= *discount;
                    *discount = if end.done() { F::one() } else { gamma * *discount };
                }
            }
        }
    }
}
// ANCHOR_END: pg.discount-factor

/// How many steps of its episode came before each step.
///
/// Shapes: `end` and `out` are `[T,N]`; `next` `[N]` holds the number of the first row, 0 where an episode starts there, and is left at that
/// of the row after the last; `out` is overwritten.
///
/// # Panics
/// If the shapes do not belong together.
pub fn episode_step(end: &ArrayRef2<End>, next: &mut [usize], out: &mut ArrayRef2<usize>) {
    same_shape("end", end, "out", out);
    assert!(next.len() == out.ncols(), "next has {} entries but out has shape {:?}", next.len(), out.dim());
    for (mut out, end) in out.rows_mut().into_iter().zip(end.rows()) {
        for ((out, end), next) in out.iter_mut().zip(end).zip(&mut *next) {
            *out = *next;
            *next = if end.done() { 0 } else { *next + 1 };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::{Array2, array};

    fn two_episodes() -> (Array2<f64>, Array2<f64>, Array2<End>) {
        (
            array![[1.0], [2.0], [4.0], [8.0]],
            array![[f64::NAN], [f64::NAN], [f64::NAN], [16.0]],
            array![[End::No], [End::Terminated], [End::No], [End::Truncated]],
        )
    }

    #[test]
    fn each_episode_has_its_own_return() {
        let (reward, next_value, end) = two_episodes();
        let mut out = Array2::zeros((4, 1));
        total_return(&reward, &next_value, &end, 0.5, &mut out);
        assert_eq!(out, array![[2.0], [2.0], [12.0], [12.0]]);
        reward_to_go(&reward, &next_value, &end, 0.5, &mut out);
        assert_eq!(out, array![[2.0], [2.0], [12.0], [16.0]]);
    }

    #[test]
    fn the_factor_starts_anew_and_goes_on_in_the_next_rollout() {
        let (_, _, end) = two_episodes();
        let mut weight = Array2::ones((4, 1));
        let mut discount = [0.25];
        discount_by_time(&end, 0.5, &mut discount, &mut weight);
        assert_eq!((weight, discount), (array![[0.25], [0.125], [1.0], [0.5]], [1.0]));
        let (mut step, mut next) = (Array2::zeros((4, 1)), [2]);
        episode_step(&end, &mut next, &mut step);
        assert_eq!((step, next), (array![[2], [3], [0], [1]], [0]));
        let mut wide = Array2::ones((1, 2));
        let mut discount = [1.0, 0.5];
        discount_by_time(&array![[End::No, End::Terminated]], 0.5, &mut discount, &mut wide);
        assert_eq!((wide, discount), (array![[1.0, 0.5]], [0.5, 1.0]));
    }
}
