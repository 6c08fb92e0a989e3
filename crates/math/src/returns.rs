//! Returns and one-step errors along a rollout.
//!
//! Arrays are time-major `[T,N]`: row `t` holds step `t` of all `N` environments, and `reward[t]` follows `action[t]`.
//! `next_value[t,n]` is the value of the state that step `t` really led to, also where a limit cut the episode there.
//! One bootstrap rule holds everywhere: a terminated step is followed by 0, a truncated step by its `next_value`, and a
//! last row that is not done by its `next_value`. What a step does not use is never read into a product, so that a NaN
//! behind a terminal state stays there.

use crate::{End, Real, multiversion};
use ndarray::{ArrayRef2, ArrayView2, s};

/// Panics unless `other` has the shape of `reference`, naming both.
#[track_caller]
pub(crate) fn same_shape<A, B>(reference: &str, a: &ArrayRef2<A>, other: &str, b: &ArrayRef2<B>) {
    assert!(
        a.dim() == b.dim(),
        "{reference} has shape {:?} but {other} has shape {:?}: both must be [T,N]",
        a.dim(),
        b.dim()
    );
}

/// One row of a `[T,N]` array as a slice, if its columns are contiguous.
#[inline]
pub(crate) fn row<A>(array: &ArrayRef2<A>, t: usize) -> Option<&[A]> {
    array.slice(s![t, ..]).to_slice()
}

/// The value that step `t` bootstraps from: 0 after a terminal state, `next_value` otherwise (also after a truncation).
///
/// ID `gae.terminal-truncation`: a time limit is no terminal state. With exact values the target keeps its mean; putting
/// 0 there instead biases it by `-gamma^(T-t) E[V(s_T)]`.
///
/// Source: F. Pardo, A. Tavakoli, V. Levdik, P. Kormushev (2018), Time Limits in Reinforcement Learning.
// ANCHOR: gae.terminal-truncation
#[inline(always)]
pub fn bootstrap<F: Real>(end: End, next_value: F) -> F {
    if end.terminated() { F::zero() } else { next_value }
}
// ANCHOR_END: gae.terminal-truncation

/// The TD error of one transition: `reward + gamma (1 - terminated) next_value - value`.
#[inline(always)]
pub fn td<F: Real>(reward: F, value: F, next_value: F, end: End, gamma: F) -> F {
    reward + gamma * bootstrap(end, next_value) - value
}

/// The return of one step from what follows it: the next step's return while the episode goes on, else the bootstrap.
///
/// ID `return.recursion`: `G_t = r_t + gamma G_{t+1}`.
///
/// Source: R. S. Sutton, A. G. Barto (2018), Reinforcement Learning: An Introduction, section 3.3.
// ANCHOR: return.recursion
#[inline(always)]
pub fn return_step<F: Real>(reward: F, next_return: F, next_value: F, end: End, gamma: F) -> F {
    let follows = if end.done() { bootstrap(end, next_value) } else { next_return };
    reward + gamma * follows
}
// ANCHOR_END: return.recursion

/// One pass backwards in time: `step(reward, next_return, next_value, end)` in every entry, where what follows the last row is its
/// `next_value`.
#[inline(always)]
fn backwards<F: Real>(
    reward: &ArrayRef2<F>,
    next_value: &ArrayRef2<F>,
    end: &ArrayRef2<End>,
    out: &mut ArrayRef2<F>,
    step: impl Fn(F, F, F, End) -> F,
) {
    let (steps, envs) = reward.dim();
    if steps == 0 || envs == 0 {
        return;
    }
    if let (Some(reward), Some(next_value), Some(end)) =
        (reward.as_slice(), next_value.as_slice(), end.as_slice())
        && let Some(out) = out.as_slice_mut()
    {
        for from in (0..steps).rev().map(|t| t * envs) {
            let (now, after) = out[from..].split_at_mut(envs);
            let next_value = &next_value[from..][..envs];
            let after = if after.is_empty() { next_value } else { &after[..envs] };
            one_row(&reward[from..], after, next_value, &end[from..], now, &step);
        }
        return;
    }
    for t in (0..steps).rev() {
        for i in 0..envs {
            let next_value = next_value[[t, i]];
            let after = if t + 1 < steps { out[[t + 1, i]] } else { next_value };
            out[[t, i]] = step(reward[[t, i]], after, next_value, end[[t, i]]);
        }
    }
}

/// A function of its own, so that the compiler knows that `now` overlaps nothing.
#[inline(always)]
fn one_row<F: Real>(
    reward: &[F],
    after: &[F],
    next_value: &[F],
    end: &[End],
    now: &mut [F],
    step: impl Fn(F, F, F, End) -> F,
) {
    let n = now.len();
    let (reward, after, next_value, end) = (&reward[..n], &after[..n], &next_value[..n], &end[..n]);
    for i in 0..n {
        now[i] = step(reward[i], after[i], next_value[i], end[i]);
    }
}

multiversion! {
    fn discounted_body<F: Real>(
        reward: &ArrayRef2<F>, next_value: &ArrayRef2<F>, end: &ArrayRef2<End>, gamma: F, out: &mut ArrayRef2<F>,
    ) {
        backwards(reward, next_value, end, out, |r, g, v, e| return_step(r, g, v, e, gamma));
    }
}

multiversion! {
    /// One row of a sum that runs backwards in place: `out` holds what follows.
    fn return_row<F: Real>(reward: &[F], next_value: &[F], end: &[End], gamma: F, out: &mut [F]) {
        let n = out.len();
        let (reward, next_value, end) = (&reward[..n], &next_value[..n], &end[..n]);
        for i in 0..n {
            out[i] = return_step(reward[i], out[i], next_value[i], end[i], gamma);
        }
    }
}

/// The discounted return of every step, backwards in time.
///
/// ID `return.recursion`: `G_t = r_t + gamma G_{t+1}`, where the step after the last of a segment is worth `b_T`: 0 if it
/// terminated, `next_value` if it was truncated or if the rollout stops there. With `gamma = 1` the episode must be finite.
///
/// Shapes: `reward`, `next_value`, `end` and `out` are `[T,N]`; `T = 0` is allowed.
///
/// # Panics
/// If two shapes differ.
///
/// Source: R. S. Sutton, A. G. Barto (2018), Reinforcement Learning: An Introduction, section 3.3.
pub fn discounted<F: Real>(
    reward: &ArrayRef2<F>,
    next_value: &ArrayRef2<F>,
    end: &ArrayRef2<End>,
    gamma: F,
    out: &mut ArrayRef2<F>,
) {
    same_shape("reward", reward, "next_value", next_value);
    same_shape("reward", reward, "end", end);
    same_shape("reward", reward, "out", out);
    discounted_body(reward, next_value, end, gamma, out);
}

/// The return of at most `n` rewards and a bootstrap, for every step.
///
/// ID `td.nstep`: `G_t^(n) = sum_{l<n} gamma^l r_{t+l} + gamma^n V(s_{t+n})`; `n = 1` is the TD target. Where the episode or
/// the rollout ends before `n` steps, the sum stops there and bootstraps by the rule of this module, so a large `n` gives
/// [`discounted`].
///
/// Shapes: `reward`, `next_value`, `end` and `out` are `[T,N]`. Costs `O(T N n)`.
///
/// # Panics
/// If two shapes differ or `n` is 0.
///
/// Source: R. S. Sutton, A. G. Barto (2018), Reinforcement Learning: An Introduction, section 7.1.
// ANCHOR: td.nstep
pub fn n_step<F: Real>(
    reward: &ArrayRef2<F>,
    next_value: &ArrayRef2<F>,
    end: &ArrayRef2<End>,
    gamma: F,
    n: usize,
    out: &mut ArrayRef2<F>,
) {
    assert!(n > 0, "n_step needs at least one reward: n is 0");
    same_shape("reward", reward, "next_value", next_value);
    same_shape("reward", reward, "end", end);
    same_shape("reward", reward, "out", out);
    let steps = reward.nrows();
    for t in 0..steps {
        let last = t.saturating_add(n).min(steps) - 1;
        let mut now = out.row_mut(t);
        now.assign(&next_value.row(last));
        for k in (t..=last).rev() {
            match (row(reward, k), row(next_value, k), row(end, k), now.as_slice_mut()) {
                (Some(r), Some(v), Some(e), Some(o)) => return_row(r, v, e, gamma, o),
                _ => {
                    for i in 0..now.len() {
                        now[i] = return_step(reward[[k, i]], now[i], next_value[[k, i]], end[[k, i]], gamma);
                    }
                }
            }
        }
    }
}
// ANCHOR_END: td.nstep

/// The TD error of every step: `delta_t = r_t + gamma (1 - terminated_t) V(s_{t+1}) - V(s_t)`.
///
/// Shapes: all `[T,N]`.
///
/// # Panics
/// If two shapes differ.
///
/// Source: R. S. Sutton (1988), Learning to Predict by the Methods of Temporal Differences.
pub fn td_error<F: Real>(
    reward: &ArrayRef2<F>,
    value: &ArrayRef2<F>,
    next_value: &ArrayRef2<F>,
    end: &ArrayRef2<End>,
    gamma: F,
    out: &mut ArrayRef2<F>,
) {
    same_shape("reward", reward, "value", value);
    same_shape("reward", reward, "next_value", next_value);
    same_shape("reward", reward, "end", end);
    same_shape("reward", reward, "out", out);
    td_error_body(reward, value, next_value, end, gamma, out);
}

multiversion! {
    fn td_error_body<F: Real>(
        reward: &ArrayRef2<F>, value: &ArrayRef2<F>, next_value: &ArrayRef2<F>, end: &ArrayRef2<End>, gamma: F,
        out: &mut ArrayRef2<F>,
    ) {
        if let (Some(r), Some(v), Some(nv)) = (reward.as_slice(), value.as_slice(), next_value.as_slice())
            && let (Some(e), Some(out)) = (end.as_slice(), out.as_slice_mut())
        {
            let n = out.len();
            let (r, v, nv, e) = (&r[..n], &v[..n], &nv[..n], &e[..n]);
            for i in 0..n {
                out[i] = td(r[i], v[i], nv[i], e[i], gamma);
            }
            return;
        }
        for (at, delta) in out.indexed_iter_mut() {
            *delta = td(reward[at], value[at], next_value[at], end[at], gamma);
        }
    }
}

/// The discounted sum of TD errors up to the end of the segment, for every step.
///
/// ID `td.telescoping`: for one fixed value function the values in between cancel,
/// `sum_{k>=t} gamma^(k-t) delta_k = G_t - V(s_t)`.
///
/// Shapes: `td_error`, `end` and `out` are `[T,N]`.
///
/// # Panics
/// If two shapes differ.
///
/// Source: R. S. Sutton, A. G. Barto (2018), Reinforcement Learning: An Introduction, section 6.1.
// ANCHOR: td.telescoping
pub fn discounted_td_error<F: Real>(
    td_error: &ArrayRef2<F>,
    end: &ArrayRef2<End>,
    gamma: F,
    out: &mut ArrayRef2<F>,
) {
    same_shape("td_error", td_error, "end", end);
    same_shape("td_error", td_error, "out", out);
    let (steps, envs) = td_error.dim();
    for t in (0..steps).rev() {
        for i in 0..envs {
            let goes_on = t + 1 < steps && !end[[t, i]].done();
            let rest = if goes_on { out[[t + 1, i]] } else { F::zero() };
            out[[t, i]] = td_error[[t, i]] + gamma * rest;
        }
    }
}
// ANCHOR_END: td.telescoping

/// The lambda-return of one step.
// ANCHOR: gae.lambda-return
#[inline(always)]
fn lambda_step<F: Real>(reward: F, next_return: F, next_value: F, end: End, gamma: F, gae_lambda: F) -> F {
    let follows = if end.done() {
        bootstrap(end, next_value)
    } else {
        (F::one() - gae_lambda) * next_value + gae_lambda * next_return
    };
    reward + gamma * follows
}
// ANCHOR_END: gae.lambda-return

multiversion! {
    fn lambda_body<F: Real>(
        reward: &ArrayRef2<F>, next_value: &ArrayRef2<F>, end: &ArrayRef2<End>, gamma: F, gae_lambda: F,
        out: &mut ArrayRef2<F>,
    ) {
        backwards(reward, next_value, end, out, |r, g, v, e| lambda_step(r, g, v, e, gamma, gae_lambda));
    }
}

/// The lambda-return of every step, backwards in time.
///
/// ID `gae.lambda-return`: `G_t = r_t + gamma ((1 - lambda) V(s_{t+1}) + lambda G_{t+1})`; after the last step of a segment
/// both stand for its bootstrap. It equals the advantage of [`crate::gae::gae`] plus `V(s_t)`.
///
/// Shapes: `reward`, `next_value`, `end` and `out` are `[T,N]`.
///
/// # Panics
/// If two shapes differ.
///
/// Source: R. S. Sutton, A. G. Barto (2018), Reinforcement Learning: An Introduction, section 12.1.
pub fn lambda_return<F: Real>(
    reward: &ArrayRef2<F>,
    next_value: &ArrayRef2<F>,
    end: &ArrayRef2<End>,
    gamma: F,
    gae_lambda: F,
    out: &mut ArrayRef2<F>,
) {
    same_shape("reward", reward, "next_value", next_value);
    same_shape("reward", reward, "end", end);
    same_shape("reward", reward, "out", out);
    lambda_body(reward, next_value, end, gamma, gae_lambda, out);
}

/// The largest size that a return of `horizon` rewards of at most `max_reward` can have, without a bootstrap.
///
/// ID `return.bounds-limits`: `R_max (1 - gamma^T) / (1 - gamma)`, and `T R_max` at `gamma = 1`; constant rewards reach it.
///
/// # Panics
/// If `gamma` is not in `[0, 1]`.
///
/// Source: R. S. Sutton, A. G. Barto (2018), Reinforcement Learning: An Introduction, section 3.3.
// ANCHOR: return.bounds-limits
pub fn bound<F: Real>(max_reward: F, gamma: F, horizon: usize) -> F {
    assert!(gamma >= F::zero() && gamma <= F::one(), "gamma is {gamma} but must be in [0, 1]");
    if gamma == F::one() {
        return F::of(horizon as f64) * max_reward;
    }
    // exp(T ln gamma) - 1 keeps its digits where gamma is close to 1, where 1 - gamma^T would lose them.
    let one_minus_power = -(F::of(horizon as f64) * gamma.ln()).exp_m1();
    let one_minus_power = if horizon == 0 { F::zero() } else { one_minus_power };
    max_reward * one_minus_power / (F::one() - gamma)
}
// ANCHOR_END: return.bounds-limits

/// Rewards written with the index of the state they lead to (`R_{t+1}` follows `action[t]`), seen with this crate's index.
///
/// ID `return.index-shift`: `r_t = R_{t+1}`, so slot 0 is dropped and never read; values and states keep their index.
///
/// Shapes: `[T+1,N]` in, `[T,N]` out, without a copy.
///
/// # Panics
/// If there is no slot 0.
// ANCHOR: return.index-shift
pub fn from_shifted<F: Real>(shifted_reward: &ArrayRef2<F>) -> ArrayView2<'_, F> {
    assert!(shifted_reward.nrows() > 0, "shifted_reward has no slot 0 to drop");
    shifted_reward.slice(s![1.., ..])
}
// ANCHOR_END: return.index-shift

/// One tabular TD(0) step; returns the TD error.
///
/// ID `td.update-rule`: `V(s_t) += alpha delta_t` with
/// `delta_t = r_t + gamma (1 - terminated_t) V(s_{t+1}) - V(s_t)`; no other entry changes.
///
/// # Panics
/// If `state` or `next_state` is outside the table.
///
/// Source: R. S. Sutton (1988), Learning to Predict by the Methods of Temporal Differences.
// ANCHOR: td.update-rule
#[inline]
pub fn td_update<F: Real>(
    value: &mut [F],
    state: usize,
    reward: F,
    next_state: usize,
    end: End,
    alpha: F,
    gamma: F,
) -> F {
    let states = value.len();
    assert!(state < states, "state {state} is outside value, a table of {states} states");
    assert!(next_state < states, "next_state {next_state} is outside value, a table of {states} states");
    let delta = td(reward, value[state], value[next_state], end, gamma);
    value[state] += alpha * delta;
    delta
}
// ANCHOR_END: td.update-rule

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::{Array2, array};

    #[test]
    fn every_kind_of_end_bootstraps_by_its_rule() {
        let reward = array![[1.0, 1.0, 1.0], [1.0, 1.0, 1.0]];
        let next_value = array![[f64::NAN, f64::NAN, 10.0], [10.0, f64::NAN, 10.0]];
        let end = array![[End::No, End::No, End::Truncated], [End::No, End::Terminated, End::Truncated]];
        let mut out = Array2::zeros((2, 3));
        discounted(&reward, &next_value, &end, 0.5, &mut out);
        assert_eq!(out, array![[4.0, 1.5, 6.0], [6.0, 1.0, 6.0]]);
        n_step(&reward, &next_value, &end, 0.5, usize::MAX, &mut out);
        assert_eq!(out, array![[4.0, 1.5, 6.0], [6.0, 1.0, 6.0]]);
    }

    #[test]
    fn columns_in_another_order_of_memory_agree() {
        let reward = array![[1.0, 2.0], [3.0, 4.0]];
        let value = array![[0.5, -0.5], [1.0, 2.0]];
        let end = array![[End::No, End::Truncated], [End::No, End::No]];
        let (mut rows, mut columns) = (Array2::zeros((2, 2)), Array2::zeros((2, 2)));
        lambda_return(&reward, &value, &end, 0.9, 0.7, &mut rows);
        let turned = reward.t().as_standard_layout().into_owned().reversed_axes();
        lambda_return(&turned, &value, &end, 0.9, 0.7, &mut columns);
        assert_eq!(rows, columns);
    }

    #[test]
    fn a_trip_half_updated() {
        let mut value = [30.0, 18.0];
        assert_eq!(td_update(&mut value, 0, 10.0, 1, End::No, 0.5, 1.0), -2.0);
        assert_eq!(value, [29.0, 18.0]);
    }

    #[test]
    fn the_bound_is_reached_by_constant_rewards() {
        assert!((bound(2.0f64, 0.5, 3) - 3.5).abs() < 1e-15);
        assert_eq!((bound(2.0, 1.0, 3), bound(2.0, 0.0, 3), bound(2.0, 0.0, 0)), (6.0, 2.0, 0.0));
    }
}
