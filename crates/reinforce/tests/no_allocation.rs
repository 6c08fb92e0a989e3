//! Once its buffers have grown to the longest batch, learning allocates nothing.

use rederive_env::make_vec;
use rederive_reinforce::{A2c, A2cConfig, Advantage, Baseline, Config, Reinforce};
use rederive_train::{EpisodeLog, Learner, Policy, Report};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

struct Counting;

thread_local! {
    /// Of this thread alone: the test runner's own threads allocate when they like.
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: every call is handed on to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: the caller keeps the promises that the system's allocator asks for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Allocations of three iterations after three others; every batch is equally long.
fn allocations(
    id: &str,
    num_envs: usize,
    make: impl Fn(&dyn rederive_env::VecEnv) -> Box<dyn Learner>,
) -> usize {
    let mut env = make_vec(id, num_envs).unwrap();
    let mut agent = make(env.as_ref());
    env.reset(1);
    let (mut log, mut report) = (EpisodeLog::new(num_envs), Report::default());
    let mut three = || {
        for _ in 0..3 {
            agent.iterate(env.as_mut(), 0.0, &mut log, &mut report).unwrap();
            log.drain();
        }
    };
    three();
    let before = ALLOCATIONS.get();
    three();
    ALLOCATIONS.get() - before
}

#[test]
fn learning_allocates_nothing() {
    for baseline in [Baseline::None, Baseline::Constant, Baseline::Time, Baseline::Value] {
        for policy in [Policy::Gaussian, Policy::Beta] {
            let config = Config { episodes: 2, baseline, policy, ..Config::default() };
            let make = |env: &dyn rederive_env::VecEnv| -> Box<dyn Learner> {
                Box::new(Reinforce::new(config.clone(), env, 1).unwrap())
            };
            assert_eq!(allocations("Pendulum-v1", 1, make), 0, "{config:?}");
        }
    }
    for advantage in [Advantage::Gae, Advantage::NStep] {
        for id in ["CartPole-v1?max_steps=3", "Pendulum-v1?max_steps=3"] {
            let config = A2cConfig { advantage, discount_weights: true, ..A2cConfig::default() };
            let make = |env: &dyn rederive_env::VecEnv| -> Box<dyn Learner> {
                Box::new(A2c::new(config.clone(), env, 1).unwrap())
            };
            assert_eq!(allocations(id, 8, make), 0, "{id}, {config:?}");
        }
    }
}
