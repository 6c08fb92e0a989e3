//! A simulation allocates nothing, once there is room.

use rederive_mcts::{Config, Model, Search, TableModel, connect_four, tic_tac_toe};
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

fn allocations<M: Model>(model: M, root: &M::State) -> usize {
    let config = Config { simulations: 5000, gamma: 0.9, max_depth: 60, ..Config::default() };
    let mut search = Search::new(model, config, 1).unwrap();
    search.plan(root);
    let before = ALLOCATIONS.get();
    search.plan(root);
    ALLOCATIONS.get() - before
}

#[test]
fn a_simulation_allocates_nothing() {
    let taxi = rederive_env::finite_table("Taxi-v3").unwrap();
    let lake = rederive_env::finite_table("FrozenLake-v1").unwrap();
    let (taxi, lake) = (TableModel::new(&taxi), TableModel::new(&lake));
    assert_eq!(allocations(connect_four::ConnectFour, &Default::default()), 0);
    assert_eq!(allocations(tic_tac_toe::TicTacToe, &Default::default()), 0);
    assert_eq!(allocations(taxi, &taxi.state(100)), 0);
    assert_eq!(allocations(lake, &lake.state(0)), 0);
}
