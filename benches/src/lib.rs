//! What the benchmarks share: the C loop that advantage estimation is held against.

use ndarray::{ArrayRef2, ArrayView2};
use rederive_math::End;

/// The arrays of one rollout, all `[T,N]` in row-major order.
pub struct Rollout<'a> {
    /// Rewards.
    pub reward: ArrayView2<'a, f32>,
    /// Values of the states acted in.
    pub value: ArrayView2<'a, f32>,
    /// Values of the true successor states.
    pub next_value: ArrayView2<'a, f32>,
    /// How each step ended.
    pub end: ArrayView2<'a, End>,
}

/// Advantage estimation as the C compiler makes it with `-O3 -march=native`; `None` where there was no C compiler.
///
/// # Panics
/// If two shapes differ, an array is not in row-major order, or there is no step.
pub fn gae_c(
    rollout: &Rollout,
    gamma: f32,
    gae_lambda: f32,
    advantage: &mut ArrayRef2<f32>,
    return_: &mut ArrayRef2<f32>,
) -> Option<()> {
    let Rollout { reward, value, next_value, end } = rollout;
    let (steps, envs) = reward.dim();
    assert!(steps > 0, "reward has no step");
    let dims = [value.dim(), next_value.dim(), end.dim(), advantage.dim(), return_.dim()];
    assert!(
        dims.iter().all(|&dim| dim == (steps, envs)),
        "reward is [{steps},{envs}] but the others are {dims:?}"
    );
    let slices = (reward.as_slice()?, value.as_slice()?, next_value.as_slice()?, end.as_slice()?);
    call(steps, envs, gamma, gamma * gae_lambda, slices, advantage.as_slice_mut()?, return_.as_slice_mut()?)
}

#[cfg(c_loop)]
fn call(
    steps: usize,
    envs: usize,
    gamma: f32,
    chain: f32,
    (reward, value, next_value, end): (&[f32], &[f32], &[f32], &[End]),
    advantage: &mut [f32],
    return_: &mut [f32],
) -> Option<()> {
    unsafe extern "C" {
        fn gae(
            steps: usize,
            envs: usize,
            gamma: f32,
            chain: f32,
            reward: *const f32,
            value: *const f32,
            next_value: *const f32,
            end: *const u8,
            advantage: *mut f32,
            return_: *mut f32,
        );
    }
    // SAFETY: every slice holds steps * envs entries (the caller checked the shapes), steps > 0, the outputs are borrowed mutably
    // and so overlap nothing, and `End` is one byte.
    unsafe {
        gae(
            steps,
            envs,
            gamma,
            chain,
            reward.as_ptr(),
            value.as_ptr(),
            next_value.as_ptr(),
            end.as_ptr().cast(),
            advantage.as_mut_ptr(),
            return_.as_mut_ptr(),
        );
    }
    Some(())
}

#[cfg(not(c_loop))]
fn call(
    _: usize,
    _: usize,
    _: f32,
    _: f32,
    _: (&[f32], &[f32], &[f32], &[End]),
    _: &mut [f32],
    _: &mut [f32],
) -> Option<()> {
    None
}
