//! Generalised advantage estimation, and what its weights, bias and variance are.
//!
//! Arrays are time-major `[T,N]`; the bootstrap rule is the one of [`crate::returns`].

#[cfg(target_arch = "x86_64")]
mod x86;

#[cfg(target_arch = "x86_64")]
use crate::dispatch::level;
use crate::returns::{bootstrap, discounted, same_shape};
use crate::{End, Real, multiversion};
use ndarray::{ArrayRef2, ArrayView2, ArrayViewMut2, Axis};

/// The advantage of one step from the advantage of the next.
///
/// `decay` is `gamma * gae_lambda`. The chain is a select: behind a done step `next_advantage` belongs to another episode.
// ANCHOR: gae.recursion
#[inline(always)]
fn step<F: Real>(reward: F, value: F, next_value: F, end: End, next_advantage: F, gamma: F, decay: F) -> F {
    let delta = reward + gamma * bootstrap(end, next_value) - value;
    let chain = if end.done() { F::zero() } else { next_advantage };
    delta + decay * chain
}
// ANCHOR_END: gae.recursion

/// One row, from the row of advantages after it.
#[inline(always)]
fn row<F: Real>(
    (reward, value, next_value, end): (&[F], &[F], &[F], &[End]),
    next_advantage: &[F],
    gamma: F,
    decay: F,
    (advantage, return_): (&mut [F], &mut [F]),
) {
    let n = advantage.len();
    let (reward, value, next_value) = (&reward[..n], &value[..n], &next_value[..n]);
    let (end, next_advantage, return_) = (&end[..n], &next_advantage[..n], &mut return_[..n]);
    for i in 0..n {
        let a = step(reward[i], value[i], next_value[i], end[i], next_advantage[i], gamma, decay);
        advantage[i] = a;
        return_[i] = a + value[i];
    }
}

/// The last row: nothing follows it.
#[inline(always)]
fn last_row<F: Real>(
    (reward, value, next_value, end): (&[F], &[F], &[F], &[End]),
    gamma: F,
    decay: F,
    (advantage, return_): (&mut [F], &mut [F]),
) {
    let n = advantage.len();
    let (reward, value, next_value) = (&reward[..n], &value[..n], &next_value[..n]);
    let (end, return_) = (&end[..n], &mut return_[..n]);
    for i in 0..n {
        let a = step(reward[i], value[i], next_value[i], end[i], F::zero(), gamma, decay);
        advantage[i] = a;
        return_[i] = a + value[i];
    }
}

/// Up to this many columns the vector code keeps the chain in registers; above, whole rows stream through memory.
#[cfg(target_arch = "x86_64")]
const NARROW: usize = 64;

/// Advantages and value targets of a rollout, in one backward pass.
///
/// ID `gae.recursion`: `A_t = delta_t + gamma lambda (1 - done_t) A_{t+1}` with
/// `delta_t = r_t + gamma (1 - terminated_t) V(s_{t+1}) - V(s_t)`; `return_ = advantage + value` (ID `gae.lambda-return`).
///
/// Shapes: all arrays `[T,N]`. `next_value[t,n]` is the value of the true successor state: at a truncated step that of the
/// final state, not of the next episode's first. Whatever stands behind a terminal state, even NaN, is not used.
///
/// The result does not depend on the CPU: every instruction set gives the same bits.
///
/// # Panics
/// If two shapes differ.
///
/// Source: J. Schulman, P. Moritz, S. Levine, M. Jordan, P. Abbeel (2016), High-Dimensional Continuous Control Using
/// Generalized Advantage Estimation.
#[allow(clippy::too_many_arguments)]
pub fn gae<F: Real>(
    reward: &ArrayRef2<F>,
    value: &ArrayRef2<F>,
    next_value: &ArrayRef2<F>,
    end: &ArrayRef2<End>,
    gamma: F,
    gae_lambda: F,
    advantage: &mut ArrayRef2<F>,
    return_: &mut ArrayRef2<F>,
) {
    gae_threads(1, reward, value, next_value, end, gamma, gae_lambda, advantage, return_);
}

/// [`gae`] on up to `threads` threads, each with a block of environments; the result is the same bit for bit.
///
/// Threads are started for the call, so this pays only for large rollouts; small ones stay on the calling thread.
///
/// # Panics
/// If two shapes differ.
#[allow(clippy::too_many_arguments)]
pub fn gae_threads<F: Real>(
    threads: usize,
    reward: &ArrayRef2<F>,
    value: &ArrayRef2<F>,
    next_value: &ArrayRef2<F>,
    end: &ArrayRef2<End>,
    gamma: F,
    gae_lambda: F,
    advantage: &mut ArrayRef2<F>,
    return_: &mut ArrayRef2<F>,
) {
    same_shape("reward", reward, "value", value);
    same_shape("reward", reward, "next_value", next_value);
    same_shape("reward", reward, "end", end);
    same_shape("reward", reward, "advantage", advantage);
    same_shape("reward", reward, "return_", return_);
    let (steps, envs) = reward.dim();
    if steps == 0 || envs == 0 {
        return;
    }
    let decay = gamma * gae_lambda;
    let mut job = Job {
        reward: reward.view(),
        value: value.view(),
        next_value: next_value.view(),
        end: end.view(),
        advantage: advantage.view_mut(),
        return_: return_.view_mut(),
    };
    let threads = threads.min(steps * envs / PER_THREAD).min(envs / 16).max(1);
    let stream = steps * envs >= STREAMED;
    if threads == 1 {
        return job.run(gamma, decay, stream);
    }
    std::thread::scope(|scope| {
        for left in (1..threads).rev() {
            // Multiples of 16 columns keep the blocks on cache lines of their own.
            let columns = job.reward.ncols();
            let block = (columns / (left + 1)).next_multiple_of(16).min(columns);
            let (mut first, rest) = job.split(block);
            scope.spawn(move || first.run(gamma, decay, stream));
            job = rest;
        }
        job.run(gamma, decay, stream);
    });
}

/// A thread gets at least this many steps, or starting it costs more than it saves.
const PER_THREAD: usize = 1 << 19;

/// From this many steps on, the outputs of `f32` are stored past the caches. Below, whoever reads them next would pay more than
/// was saved.
const STREAMED: usize = 1 << 21;

/// A block of columns.
struct Job<'a, F> {
    reward: ArrayView2<'a, F>,
    value: ArrayView2<'a, F>,
    next_value: ArrayView2<'a, F>,
    end: ArrayView2<'a, End>,
    advantage: ArrayViewMut2<'a, F>,
    return_: ArrayViewMut2<'a, F>,
}

impl<F: Real> Job<'_, F> {
    fn run(&mut self, gamma: F, decay: F, stream: bool) {
        if self.reward.is_empty() {
            return;
        }
        #[cfg(target_arch = "x86_64")]
        if self.run_f32(gamma, decay, stream) {
            return;
        }
        let _ = stream; // only the vector code has such stores
        wide(self, gamma, decay);
    }

    /// The vector code, if `F` is `f32`, the CPU has the instructions and the columns of every array are contiguous.
    #[cfg(target_arch = "x86_64")]
    fn run_f32(&mut self, gamma: F, decay: F, stream: bool) -> bool {
        use std::any::TypeId;
        if TypeId::of::<F>() != TypeId::of::<f32>() {
            return false;
        }
        let envs = self.reward.ncols();
        let contiguous = |strides: &[isize]| strides[1] == 1 || envs == 1;
        let strides = [
            self.reward.strides(),
            self.value.strides(),
            self.next_value.strides(),
            self.end.strides(),
            self.advantage.strides(),
            self.return_.strides(),
        ];
        if !strides.into_iter().all(contiguous) {
            return false;
        }
        let input = |array: &ArrayView2<F>| x86::Rows {
            first: array.as_ptr().cast::<f32>(),
            stride: array.strides()[0],
        };
        let output = |array: &mut ArrayViewMut2<F>| x86::Rows {
            stride: array.strides()[0],
            first: array.as_mut_ptr().cast::<f32>(),
        };
        let block = x86::Block {
            steps: self.reward.nrows(),
            envs,
            reward: input(&self.reward),
            value: input(&self.value),
            next_value: input(&self.next_value),
            end: x86::Rows { first: self.end.as_ptr(), stride: self.end.strides()[0] },
            advantage: output(&mut self.advantage),
            return_: output(&mut self.return_),
        };
        // Exact: F is f32.
        let (gamma, decay) = (gamma.to_f64() as f32, decay.to_f64() as f32);
        // SAFETY: F is f32; all six views have the same shape and contiguous columns, the outputs are borrowed mutably, and
        // the level is this CPU's.
        unsafe { x86::run(level(), &block, gamma, decay, stream) }
    }

    fn split(self, columns: usize) -> (Self, Self) {
        let (reward, reward_) = self.reward.split_at(Axis(1), columns);
        let (value, value_) = self.value.split_at(Axis(1), columns);
        let (next_value, next_value_) = self.next_value.split_at(Axis(1), columns);
        let (end, end_) = self.end.split_at(Axis(1), columns);
        let (advantage, advantage_) = self.advantage.split_at(Axis(1), columns);
        let (return_, return__) = self.return_.split_at(Axis(1), columns);
        (
            Job { reward, value, next_value, end, advantage, return_ },
            Job {
                reward: reward_,
                value: value_,
                next_value: next_value_,
                end: end_,
                advantage: advantage_,
                return_: return__,
            },
        )
    }
}

multiversion! {
    /// All rows of a block of columns, a whole row at a time.
    fn wide<F: Real>(job: &mut Job<'_, F>, gamma: F, decay: F) {
        let steps = job.reward.nrows();
        for t in (0..steps).rev() {
            let (mut head, tail) = job.advantage.view_mut().split_at(Axis(0), t + 1);
            let mut now = head.row_mut(t);
            let next = (t + 1 < steps).then(|| tail.row(0));
            let mut return_ = job.return_.row_mut(t);
            let (reward, value) = (job.reward.row(t), job.value.row(t));
            let (next_value, end) = (job.next_value.row(t), job.end.row(t));
            if let (Some(r), Some(v)) = (reward.as_slice(), value.as_slice())
                && let (Some(nv), Some(e)) = (next_value.as_slice(), end.as_slice())
                && let (Some(a), Some(g)) = (now.as_slice_mut(), return_.as_slice_mut())
            {
                match next.as_ref().map(|next| next.as_slice()) {
                    None => last_row((r, v, nv, e), gamma, decay, (a, g)),
                    Some(next) => {
                        let next = next.expect("rows of one array are all contiguous or none is");
                        row((r, v, nv, e), next, gamma, decay, (a, g));
                    }
                }
                continue;
            }
            for i in 0..now.len() {
                let chain = next.as_ref().map_or(F::zero(), |next| next[i]);
                let a = step(reward[i], value[i], next_value[i], end[i], chain, gamma, decay);
                now[i] = a;
                return_[i] = a + value[i];
            }
        }
    }
}

/// The advantage at `lambda = 1`: the discounted return, with its bootstrap, minus the value.
///
/// IDs `gae.limits` (`lambda = 0` is [`crate::returns::td_error`], `lambda = 1` is this function, `gamma = 0` is
/// `r_t - V(s_t)`) and `gae.just-at-one`: if every segment terminates its mean is `Q(s,a) - V(s)` for *any* `V`, so the
/// policy gradient is exact although the advantage itself is biased wherever `V` is wrong.
///
/// Shapes: all `[T,N]`.
///
/// # Panics
/// If two shapes differ.
///
/// Source: J. Schulman et al. (2016), High-Dimensional Continuous Control Using Generalized Advantage Estimation,
/// equation 18.
// ANCHOR: gae.limits
// ANCHOR: gae.just-at-one
pub fn monte_carlo<F: Real>(
    reward: &ArrayRef2<F>,
    value: &ArrayRef2<F>,
    next_value: &ArrayRef2<F>,
    end: &ArrayRef2<End>,
    gamma: F,
    advantage: &mut ArrayRef2<F>,
) {
    same_shape("reward", reward, "value", value);
    discounted(reward, next_value, end, gamma, advantage);
    advantage.zip_mut_with(value, |a, &v| *a -= v);
}
// ANCHOR_END: gae.just-at-one
// ANCHOR_END: gae.limits

/// The k-step advantage of every step: the discounted sum of its next `k` TD errors.
///
/// ID `gae.kstep`: `A_t^(k) = sum_{l<k} gamma^l delta_{t+l}`, which telescopes to
/// `sum_{l<k} gamma^l r_{t+l} + gamma^k V(s_{t+k}) - V(s_t)`. The sum stops where the episode or the rollout stops: after a
/// terminal state that is the definition; past a truncation a longer sum does not exist and the longest one stands for it.
///
/// Shapes: `td_error`, `end` and `advantage` are `[T,N]`. Costs `O(T N k)`.
///
/// # Panics
/// If two shapes differ or `k` is 0.
///
/// Source: J. Schulman et al. (2016), High-Dimensional Continuous Control Using Generalized Advantage Estimation,
/// equation 14.
// ANCHOR: gae.kstep
pub fn k_step<F: Real>(
    td_error: &ArrayRef2<F>,
    end: &ArrayRef2<End>,
    gamma: F,
    k: usize,
    advantage: &mut ArrayRef2<F>,
) {
    assert!(k > 0, "k_step needs at least one TD error: k is 0");
    same_shape("td_error", td_error, "end", end);
    same_shape("td_error", td_error, "advantage", advantage);
    let steps = td_error.nrows();
    for ((t, i), a) in advantage.indexed_iter_mut() {
        *a = F::zero();
        for l in (t..t.saturating_add(k).min(steps)).rev() {
            let rest = if end[[l, i]].done() { F::zero() } else { *a };
            *a = td_error[[l, i]] + gamma * rest;
        }
    }
}
// ANCHOR_END: gae.kstep

/// The weight of the k-step advantage in the infinite average, `(1 - lambda) lambda^(k-1)`, with `k` from 1.
///
/// ID `gae.average`: for `lambda < 1`, `sum_k weight_k A_t^(k) = sum_l (gamma lambda)^l delta_{t+l}`. The discount is in the
/// k-step advantages already and not in these weights; `(gamma lambda)^l` weighs TD errors
/// ([`td_error_weight`]).
///
/// # Panics
/// If `k` is 0.
///
/// Source: J. Schulman et al. (2016), High-Dimensional Continuous Control Using Generalized Advantage Estimation,
/// equation 16.
// ANCHOR: gae.average
pub fn average_weight<F: Real>(k: usize, gae_lambda: F) -> F {
    assert!(k > 0, "k-step advantages count from k = 1");
    (F::one() - gae_lambda) * power(gae_lambda, k - 1)
}

/// The weight `(gamma lambda)^l` of the TD error `l` steps ahead.
pub fn td_error_weight<F: Real>(l: usize, gamma: F, gae_lambda: F) -> F {
    power(gamma * gae_lambda, l)
}
// ANCHOR_END: gae.average

/// `base^exponent` with `0^0 = 1`.
fn power<F: Real>(base: F, exponent: usize) -> F {
    num_traits::pow(base, exponent)
}

/// The weights of the 1-step to n-step advantages where `n = weight.len()` steps are left.
///
/// ID `gae.finite`: `(1 - lambda) lambda^(k-1)` for `k < n` and `lambda^(n-1)` for `k = n`. They sum to 1 and hold at
/// `lambda = 1` too, where the infinite average has no meaning; without the heavier last weight they would sum to
/// `1 - lambda^n`.
///
/// Source: J. Schulman et al. (2016), High-Dimensional Continuous Control Using Generalized Advantage Estimation.
// ANCHOR: gae.finite
pub fn finite_weights<F: Real>(gae_lambda: F, weight: &mut [F]) {
    let n = weight.len();
    for (i, w) in weight.iter_mut().enumerate() {
        *w = if i + 1 < n { average_weight(i + 1, gae_lambda) } else { power(gae_lambda, i) };
    }
}
// ANCHOR_END: gae.finite

/// How far the mean advantage of a state and action is from the true one, for a value function that is off by `x = V - V_pi`.
///
/// ID `gae.bias`: `(1 - lambda) sum_{k>=1} lambda^(k-1) gamma^k E[x(s_{t+k}) | s,a] - x(s)` in the infinite horizon.
/// `expected_error[k-1]` is `E[x(s_{t+k}) | s,a]`, as many terms as matter; `error` is `x(s)`. The last term is a baseline
/// and harmless; the sum biases the policy gradient unless it is the same for all actions.
///
/// Source: J. Schulman et al. (2016), High-Dimensional Continuous Control Using Generalized Advantage Estimation,
/// section 3.
// ANCHOR: gae.bias
pub fn bias<F: Real>(expected_error: &[F], error: F, gamma: F, gae_lambda: F) -> F {
    let terms = expected_error.iter().rev().fold(F::zero(), |sum, &x| gamma * (x + gae_lambda * sum));
    (F::one() - gae_lambda) * terms - error
}
// ANCHOR_END: gae.bias

/// The variance of the advantage given the state, where the value function is exact.
///
/// ID `gae.exact-value`: `sum_l (gamma lambda)^(2l) E[delta_{t+l}^2 | s_t]`, non-decreasing in `lambda`; TD errors of an
/// exact value function are uncorrelated and have mean 0. `mean_square[l]` is `E[delta_{t+l}^2 | s_t]`. With a wrong value
/// function neither the formula nor the order in `lambda` holds.
///
/// Source: J. Schulman et al. (2016), High-Dimensional Continuous Control Using Generalized Advantage Estimation.
// ANCHOR: gae.exact-value
pub fn variance<F: Real>(mean_square: &[F], gamma: F, gae_lambda: F) -> F {
    let decay = gamma * gae_lambda;
    mean_square.iter().rev().fold(F::zero(), |sum, &square| square + decay * decay * sum)
}
// ANCHOR_END: gae.exact-value

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dispatch::at_every_level;
    use ndarray::{Array2, array};

    #[test]
    fn an_episode_ends_inside_the_rollout() {
        let reward = array![[1.0, 1.0], [1.0, 1.0], [1.0, 1.0]];
        let value = array![[2.0, 2.0], [4.0, 4.0], [8.0, 8.0]];
        let next_value = array![[4.0, 4.0], [f64::NAN, 6.0], [10.0, 10.0]];
        let end = array![[End::No, End::No], [End::Terminated, End::Truncated], [End::No, End::No]];
        let (mut a, mut g) = (Array2::zeros((3, 2)), Array2::zeros((3, 2)));
        gae(&reward, &value, &next_value, &end, 0.5, 0.5, &mut a, &mut g);
        assert_eq!(a, array![[0.25, 1.0], [-3.0, 0.0], [-2.0, -2.0]]);
        assert_eq!(g, &a + &value);
    }

    type Rollout = (Array2<f32>, Array2<f32>, Array2<f32>, Array2<End>);

    fn job<'a>(rollout: &'a Rollout, a: &'a mut Array2<f32>, g: &'a mut Array2<f32>) -> Job<'a, f32> {
        let (reward, value, next_value, end) = rollout;
        Job {
            reward: reward.view(),
            value: value.view(),
            next_value: next_value.view(),
            end: end.view(),
            advantage: a.view_mut(),
            return_: g.view_mut(),
        }
    }

    /// A rollout with every kind of end, from a multiplicative hash.
    fn rollout(steps: usize, envs: usize) -> Rollout {
        let mut state = 1u32;
        let mut draw = || {
            state = state.wrapping_mul(747_796_405).wrapping_add(2_891_336_453);
            state >> 8
        };
        let mut array = || Array2::from_shape_fn((steps, envs), |_| draw() as f32 / (1 << 23) as f32 - 1.0);
        let (reward, value, mut next_value) = (array(), array(), array());
        let end = Array2::from_shape_fn((steps, envs), |_| match draw() % 8 {
            0 => End::Terminated,
            1 => End::Truncated,
            _ => End::No,
        });
        next_value.zip_mut_with(&end, |v, e| {
            if e.terminated() {
                *v = f32::NAN;
            }
        });
        (reward, value, next_value, end)
    }

    #[test]
    fn every_path_gives_the_same_bits() {
        for (steps, envs) in [(1, 1), (5, 3), (9, 8), (7, 31), (6, 33), (4, 100), (1100, 1000), (2, 4100)] {
            let rollout = rollout(steps, envs);
            let (reward, value, next_value, end) = &rollout;
            let (gamma, decay) = (0.99, 0.99 * 0.95);
            let mut plain = Array2::<f32>::zeros((steps, envs));
            for t in (0..steps).rev() {
                for i in 0..envs {
                    let next = if t + 1 < steps { plain[[t + 1, i]] } else { 0.0 };
                    let (r, v, nv) = (reward[[t, i]], value[[t, i]], next_value[[t, i]]);
                    plain[[t, i]] = step(r, v, nv, end[[t, i]], next, gamma, decay);
                }
            }
            assert!(plain.iter().all(|a| a.is_finite()));
            let results = at_every_level(|| {
                let (mut a, mut g) = (Array2::zeros((steps, envs)), Array2::zeros((steps, envs)));
                wide(&mut job(&rollout, &mut a, &mut g), gamma, decay);
                let wide_result = (a.clone(), g.clone());
                a.fill(0.0);
                job(&rollout, &mut a, &mut g).run(gamma, decay, false);
                let cached_result = (a.clone(), g.clone());
                a.fill(0.0);
                job(&rollout, &mut a, &mut g).run(gamma, decay, true);
                [wide_result, cached_result, (a, g)]
            });
            let plain = (plain.clone(), &plain + value);
            assert!(results.iter().flatten().all(|result| *result == plain), "{steps} x {envs}");
            let (mut a, mut g) = (Array2::zeros((steps, envs)), Array2::zeros((steps, envs)));
            for threads in [1, 2, 3] {
                a.fill(0.0); // only the largest of these shapes is worth a second thread
                gae_threads(threads, reward, value, next_value, end, gamma, 0.95, &mut a, &mut g);
                assert_eq!((&a, &g), (&plain.0, &plain.1), "{threads} threads");
            }
        }
    }

    #[test]
    fn threads_share_few_columns() {
        for envs in [1, 8, 33, 47] {
            let steps = 4 * PER_THREAD / envs;
            let (reward, value, next_value, end) = rollout(steps, envs);
            let zeros = || Array2::zeros((steps, envs));
            let (mut a, mut g, mut a2, mut g2) = (zeros(), zeros(), zeros(), zeros());
            gae(&reward, &value, &next_value, &end, 0.9, 0.8, &mut a, &mut g);
            gae_threads(4, &reward, &value, &next_value, &end, 0.9, 0.8, &mut a2, &mut g2);
            assert!(a == a2 && g == g2, "{envs} columns");
        }
    }

    #[test]
    fn another_order_of_memory_agrees() {
        let (reward, value, next_value, end) = rollout(6, 5);
        let (mut a, mut g) = (Array2::zeros((6, 5)), Array2::zeros((6, 5)));
        let (mut a2, mut g2) = (Array2::zeros((5, 6)).reversed_axes(), Array2::zeros((6, 5)));
        gae(&reward, &value, &next_value, &end, 0.9, 0.8, &mut a, &mut g);
        gae(&reward, &value, &next_value, &end, 0.9, 0.8, &mut a2, &mut g2);
        assert_eq!((a, g), (a2, g2));
    }

    #[test]
    fn weights_of_five_steps() {
        let mut weight = [0.0f64; 5];
        finite_weights(0.95, &mut weight);
        assert!((weight.iter().sum::<f64>() - 1.0).abs() < 1e-15);
        let plain: f64 = (1..=5).map(|k| average_weight(k, 0.95)).sum();
        assert!((plain - 0.22622).abs() < 5e-6);
        finite_weights(1.0, &mut weight);
        assert_eq!(weight, [0.0, 0.0, 0.0, 0.0, 1.0]);
    }

    #[test]
    fn bias_and_variance_by_hand() {
        assert_eq!(bias(&[1.0, 1.0], 1.0, 0.5, 0.5), 0.5 * (0.5 + 0.5 * 0.25) - 1.0);
        assert_eq!(variance(&[1.0, 4.0], 0.5, 1.0), 2.0);
    }
}
