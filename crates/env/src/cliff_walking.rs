//! `CliffWalking-v1`: from one end of a cliff to the other without stepping off it.

use crate::{
    FiniteModel, FiniteTable, Grid, Outcome,
    frozen_lake::step_on_board,
    grid::{Move, Tile, TileKind},
    scene::{BROWN, GREEN, PALE, Scene},
};

const ROWS: usize = 4;
const COLUMNS: usize = 12;
const START: usize = 36;
const GOAL: usize = 47;

/// Up, right, down, left as (rows, columns).
const DIRECTIONS: [(isize, isize); 4] = [(-1, 0), (0, 1), (1, 0), (0, -1)];

/// A board of 4 rows and 12 columns whose bottom row, but for its ends, is a cliff. The state is `row * 12 + column`, from the
/// top left.
///
/// | | |
/// |---|---|
/// | observation | the state |
/// | action | 0: up, 1: right, 2: down, 3: left |
/// | reward | -1 per step; -100 for stepping off the cliff, which puts the agent back at the start |
/// | start | bottom left, 36 |
/// | terminated | at the goal, bottom right, 47 |
/// | truncated | never |
///
/// On slippery ground the agent moves as intended or to either side with probability 1/3 each.
///
/// R. Sutton, A. Barto (2018), *Reinforcement learning: an introduction*, example 6.6.
pub struct CliffWalking {
    table: FiniteTable,
}

fn is_cliff(state: usize) -> bool {
    state > START && state < GOAL
}

impl CliffWalking {
    /// The board, slippery or not.
    pub fn new(slippery: bool) -> Self {
        let walk = |s: usize, direction: usize, prob: f64| {
            let next = step_on_board(s, DIRECTIONS[direction], ROWS, COLUMNS);
            if is_cliff(next) {
                Outcome { prob, next: START as u32, reward: -100.0, terminated: false }
            } else {
                Outcome { prob, next: next as u32, reward: -1.0, terminated: next == GOAL }
            }
        };
        let row = |s: usize, a: usize| {
            if slippery {
                [(a + 3) % 4, a, (a + 1) % 4].map(|direction| walk(s, direction, 1.0 / 3.0)).to_vec()
            } else {
                vec![walk(s, a, 1.0)]
            }
        };
        let start = (0..ROWS * COLUMNS).map(|s| if s == START { 1.0 } else { 0.0 }).collect();
        CliffWalking { table: FiniteTable::new(ROWS * COLUMNS, 4, row, start) }
    }
}

impl FiniteModel for CliffWalking {
    #[inline(always)]
    fn table(&self) -> &FiniteTable {
        &self.table
    }

    fn scene(&self, state: u32) -> Scene {
        let agent = (state as usize / COLUMNS, state as usize % COLUMNS);
        Scene::board(ROWS, COLUMNS, Some(agent), |row, column| match row * COLUMNS + column {
            START => (PALE, "S".into()),
            GOAL => (GREEN, "G".into()),
            cell if is_cliff(cell) => (BROWN, "C".into()),
            _ => (PALE, ".".into()),
        })
    }

    fn grid(&self) -> Option<Grid> {
        Some(Grid::one(ROWS, COLUMNS, &[Move::Up, Move::Right, Move::Down, Move::Left], |row, column| {
            let state = row * COLUMNS + column;
            let (kind, sign) = match state {
                START => (TileKind::Open, 'S'),
                GOAL => (TileKind::End, 'G'),
                cell if is_cliff(cell) => (TileKind::Closed, 'C'),
                _ => (TileKind::Open, ' '),
            };
            Tile { state: state as u32, kind, sign }
        }))
    }
}
