//! `FrozenLake-v1` and `FrozenLake8x8-v1`: cross the ice, slipping, without falling into a hole.

use crate::{
    FiniteModel, FiniteTable, Grid, Outcome,
    grid::{Move, Tile, TileKind},
    scene::{GREEN, PALE, Scene},
};

const SMALL: &[&str] = &["SFFF", "FHFH", "FFFH", "HFFG"];
const LARGE: &[&str] =
    &["SFFFFFFF", "FFFFFFFF", "FFFHFFFF", "FFFFFHFF", "FFFHFFFF", "FHHFFFHF", "FHFFHFHF", "FFFHFFFG"];

/// A lake of cells: `S` start, `F` frozen, `H` hole, `G` goal. The state is `row * columns + column`, from the top left.
///
/// | | |
/// |---|---|
/// | observation | the state |
/// | action | 0: left, 1: down, 2: right, 3: up |
/// | reward | 1 on reaching the goal, 0 otherwise |
/// | start | on `S` (uniformly, if there are several) |
/// | terminated | in a hole or at the goal |
/// | truncated | after 100 steps (4x4), 200 (8x8) |
///
/// On slippery ice the agent moves as intended with probability `success_rate` (1/3) and to either side with half of the
/// rest each; a move off the map stays put.
pub struct FrozenLake {
    rows: Vec<Vec<u8>>,
    table: FiniteTable,
}

impl FrozenLake {
    /// A lake from its map: `4x4`, `8x8`, or rows of `S`, `F`, `H` and `G` separated by `/`. Without slipping, `success_rate`
    /// is 1. Returns `None` if the map is neither, has rows of different lengths or no `S`, or the rate is not in `[0, 1]`.
    pub fn new(map: &str, success_rate: f64) -> Option<Self> {
        let rows: Vec<Vec<u8>> = match map {
            "4x4" => SMALL.iter().map(|row| row.as_bytes().to_vec()).collect(),
            "8x8" => LARGE.iter().map(|row| row.as_bytes().to_vec()).collect(),
            own => own.split('/').map(|row| row.as_bytes().to_vec()).collect(),
        };
        let columns = rows[0].len();
        let starts = rows.iter().flatten().filter(|&&cell| cell == b'S').count();
        let sound =
            rows.iter().all(|row| row.len() == columns && row.iter().all(|cell| b"SFHG".contains(cell)));
        if !sound || starts == 0 || !(0.0..=1.0).contains(&success_rate) {
            return None;
        }
        let at = |s: usize| rows[s / columns][s % columns];
        let slide = |s: usize, direction: usize, prob: f64| {
            let next = step_on_board(s, DIRECTIONS[direction], rows.len(), columns);
            let cell = at(next);
            Outcome {
                prob,
                next: next as u32,
                reward: if cell == b'G' { 1.0 } else { 0.0 },
                terminated: b"GH".contains(&cell),
            }
        };
        let row = |s: usize, a: usize| {
            if b"GH".contains(&at(s)) {
                vec![Outcome { prob: 1.0, next: s as u32, reward: 0.0, terminated: true }]
            } else if success_rate == 1.0 {
                vec![slide(s, a, 1.0)]
            } else {
                let side = (1.0 - success_rate) / 2.0;
                vec![slide(s, (a + 3) % 4, side), slide(s, a, success_rate), slide(s, (a + 1) % 4, side)]
            }
        };
        let num_states = rows.len() * columns;
        let start = (0..num_states).map(|s| if at(s) == b'S' { 1.0 / starts as f64 } else { 0.0 }).collect();
        let table = FiniteTable::new(num_states, 4, row, start);
        Some(FrozenLake { rows, table })
    }
}

/// Left, down, right, up as (rows, columns): a neighbour in this list is a quarter turn away.
const DIRECTIONS: [(isize, isize); 4] = [(0, -1), (1, 0), (0, 1), (-1, 0)];

/// The state one move away on a board of `rows` times `columns` cells; a move off the board stays put.
pub(crate) fn step_on_board(
    state: usize,
    (down, right): (isize, isize),
    rows: usize,
    columns: usize,
) -> usize {
    let row = (state / columns).saturating_add_signed(down).min(rows - 1);
    let column = (state % columns).saturating_add_signed(right).min(columns - 1);
    row * columns + column
}

impl FiniteModel for FrozenLake {
    #[inline(always)]
    fn table(&self) -> &FiniteTable {
        &self.table
    }

    fn scene(&self, state: u32) -> Scene {
        let columns = self.rows[0].len();
        let agent = (state as usize / columns, state as usize % columns);
        Scene::board(self.rows.len(), columns, Some(agent), |row, column| {
            let cell = self.rows[row][column];
            let color = match cell {
                b'H' => [120, 150, 190],
                b'G' => GREEN,
                _ => PALE,
            };
            (color, char::from(cell).to_string())
        })
    }

    fn grid(&self) -> Option<Grid> {
        let (rows, columns) = (self.rows.len(), self.rows[0].len());
        Some(Grid::one(rows, columns, &[Move::Left, Move::Down, Move::Right, Move::Up], |row, column| {
            let cell = self.rows[row][column];
            Tile {
                state: (row * columns + column) as u32,
                kind: if b"GH".contains(&cell) { TileKind::End } else { TileKind::Open },
                sign: if cell == b'F' { ' ' } else { char::from(cell) },
            }
        }))
    }
}
