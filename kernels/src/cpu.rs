//! The kernels compiled for the CPU. Slow and exact: every thread of the launch runs alone, one after the other.

/// Whether the kernels were compiled; false where the machine has no C++ compiler.
pub const AVAILABLE: bool = cfg!(cpu_kernels);

/// A one-dimensional launch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Launch {
    /// Number of blocks.
    pub grid: u32,
    /// Threads per block.
    pub block: u32,
}

impl Launch {
    /// The smallest grid of blocks of `block` threads that has a thread for each of `items`.
    ///
    /// # Panics
    /// If `block` is 0, or above 1024, the most that a GPU takes.
    pub fn cover(items: usize, block: u32) -> Self {
        assert!((1..=1024).contains(&block), "a block of {block} threads: 1 to 1024 are possible");
        let grid = u32::try_from(items.div_ceil(block as usize)).expect("a grid has at most 2^31 - 1 blocks");
        Launch { grid, block }
    }
}

/// A rollout as a kernel reads it: four arrays `[T, N]`, row after row.
#[derive(Clone, Copy, Debug)]
pub struct Rollout<'a> {
    /// Rewards.
    pub reward: &'a [f32],
    /// Values of the states acted in.
    pub value: &'a [f32],
    /// Values of the true successor states.
    pub next_value: &'a [f32],
    /// 0 goes on, 1 terminated, 2 truncated.
    pub end: &'a [u8],
    /// N.
    pub num_envs: usize,
}

/// Runs the kernel `gae_serial`; both outputs are `[T, N]`, and only what the launch reaches is written.
///
/// # Panics
/// If the lengths of two arrays differ or are no multiple of `num_envs`, or if the kernels were not compiled
/// ([`AVAILABLE`]).
pub fn gae_serial(
    launch: Launch,
    rollout: Rollout<'_>,
    gamma: f32,
    gae_lambda: f32,
    advantage: &mut [f32],
    return_: &mut [f32],
) {
    let Rollout { reward, value, next_value, end, num_envs } = rollout;
    let len = reward.len();
    for (name, other) in [
        ("value", value.len()),
        ("next_value", next_value.len()),
        ("end", end.len()),
        ("advantage", advantage.len()),
        ("return_", return_.len()),
    ] {
        assert_eq!(len, other, "reward has {len} elements and {name} has {other}");
    }
    assert!(
        num_envs > 0 && len % num_envs == 0,
        "reward has {len} elements, which are no rows of {num_envs} environments"
    );
    let int = |n: usize| i32::try_from(n).expect("the kernel counts steps and environments in 32 bits");
    let (num_steps, num_envs) = (int(len / num_envs), int(num_envs));
    #[cfg(cpu_kernels)]
    // SAFETY: all six arrays have num_steps * num_envs elements, which is where the kernel reads and writes; the borrows
    // keep the outputs apart from everything else.
    unsafe {
        compiled::rederive_cpu_gae_serial(
            launch.grid,
            launch.block,
            reward.as_ptr(),
            value.as_ptr(),
            next_value.as_ptr(),
            end.as_ptr(),
            advantage.as_mut_ptr(),
            return_.as_mut_ptr(),
            num_steps,
            num_envs,
            gamma,
            gae_lambda,
        )
    }
    #[cfg(not(cpu_kernels))]
    panic!(
        "{launch:?}, {num_steps} x {num_envs}, {gamma}, {gae_lambda}: there was no C++ compiler for the kernels"
    );
}

#[cfg(cpu_kernels)]
mod compiled {
    unsafe extern "C" {
        pub fn rederive_cpu_gae_serial(
            grid: u32,
            block: u32,
            reward: *const f32,
            value: *const f32,
            next_value: *const f32,
            end: *const u8,
            advantage: *mut f32,
            return_: *mut f32,
            num_steps: i32,
            num_envs: i32,
            gamma: f32,
            gae_lambda: f32,
        );
    }
}
