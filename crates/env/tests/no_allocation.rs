//! A step allocates nothing, whichever environment takes it and whichever episodes end in it.

use ndarray::Array2;
use rederive_env::{Actions, IDS, Space, make_vec};
use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
};

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

#[test]
fn a_step_allocates_nothing() {
    for spec in IDS {
        let mut env = make_vec(&format!("{}?max_steps=7", spec.id), 13).unwrap();
        let discrete: Vec<u32> = (0..13).map(|n| n % 2).collect();
        let continuous = Array2::from_elem((13, 1), 0.5);
        let is_discrete = matches!(env.action_space(), Space::Discrete { .. });
        let before = ALLOCATIONS.get();
        let mut ended = false;
        for _ in 0..50 {
            env.step(if is_discrete {
                Actions::Discrete(&discrete)
            } else {
                Actions::Continuous(&continuous)
            });
            ended |= env.end().iter().any(|end| end.done());
        }
        let after = ALLOCATIONS.get();
        assert!(ended, "{}: no episode ended", spec.id);
        assert_eq!(after - before, 0, "{}: allocations in 50 steps", spec.id);
    }
}
