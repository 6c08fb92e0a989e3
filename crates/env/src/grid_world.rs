//! `GridWorld-v0`: the grid of the study notes, with walls, exits, noise and a living reward.

use crate::{
    FiniteModel, FiniteTable, Grid, Outcome,
    frozen_lake::step_on_board,
    grid::{Move, Tile, TileKind},
    scene::{GREEN, GREY, PALE, RED, Scene},
};

/// Up, right, down, left as (rows, columns).
const DIRECTIONS: [(isize, isize); 4] = [(-1, 0), (0, 1), (1, 0), (0, -1)];

/// What a cell of a [`GridWorld`] is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Cell {
    /// The agent can stand here.
    Free,
    /// Free, and episodes start here (uniformly over all such cells).
    Start,
    /// No way through.
    Wall,
    /// Whatever is done here ends the episode and earns this reward.
    Exit(f64),
}

/// A grid whose exits pay on the action taken *in* them, not on entering.
///
/// | | |
/// |---|---|
/// | observation | the state: `row * columns + column` from the top left, or `rows * columns` once the episode is over |
/// | action | 0: up, 1: right, 2: down, 3: left; in an exit, any of them exits |
/// | reward | the exit's on the exit action, `living_reward` on every other step |
/// | start | uniform over the start cells |
/// | terminated | by the exit action |
/// | truncated | after 100 steps |
///
/// A move succeeds with probability `1 - noise` and slips to either side with `noise / 2` each; into a wall or off the grid, the
/// agent stays put. Wall cells keep their numbers; no transition leads there.
///
/// ID `dp.gridworld`. The default is the notes' grid of 4 columns and 3 rows, with exits worth 1 and -1. Its cells are called (column, row) from 1,
/// row 1 at the bottom: [`state`](Self::state) translates.
///
/// ```text
/// ...+
/// .#.-
/// S...
/// ```
pub struct GridWorld {
    cells: Vec<Vec<Cell>>,
    table: FiniteTable,
}

/// The notes' map: `.` free, `S` start, `#` wall, `+` and `-` exits worth 1 and -1.
pub const NOTES_MAP: &str = "...+/.#.-/S...";

impl GridWorld {
    /// A grid from its rows, top row first. Returns `None` if rows differ in length, there is no start, `noise` is not in
    /// `[0, 1]`, or a reward is not finite.
    pub fn new(cells: Vec<Vec<Cell>>, noise: f64, living_reward: f64) -> Option<Self> {
        let (rows, columns) = (cells.len(), cells.first()?.len());
        let sound = cells.iter().all(|row| row.len() == columns)
            && cells.iter().flatten().all(|cell| !matches!(cell, Cell::Exit(r) if !r.is_finite()));
        let starts = cells.iter().flatten().filter(|&&cell| cell == Cell::Start).count();
        if !sound || starts == 0 || !(0.0..=1.0).contains(&noise) || !living_reward.is_finite() {
            return None;
        }
        let over = rows * columns;
        let at = |s: usize| cells[s / columns][s % columns];
        // ANCHOR: dp.gridworld
        let go = |s: usize, direction: usize, prob: f64| {
            let to = step_on_board(s, DIRECTIONS[direction], rows, columns);
            let next = if at(to) == Cell::Wall { s } else { to };
            Outcome { prob, next: next as u32, reward: living_reward, terminated: false }
        };
        let ends = |next: usize, reward: f64| {
            vec![Outcome { prob: 1.0, next: next as u32, reward, terminated: true }]
        };
        let row = |s: usize, a: usize| {
            if s == over {
                return ends(over, 0.0);
            }
            match at(s) {
                Cell::Wall => ends(s, 0.0),
                Cell::Exit(reward) => ends(over, reward),
                Cell::Free | Cell::Start => {
                    let moves = [((a + 3) % 4, noise / 2.0), (a, 1.0 - noise), ((a + 1) % 4, noise / 2.0)];
                    moves
                        .into_iter()
                        .filter(|&(_, prob)| prob > 0.0)
                        .map(|(to, prob)| go(s, to, prob))
                        .collect()
                }
            }
        };
        // ANCHOR_END: dp.gridworld
        let start = |s: usize| if s < over && at(s) == Cell::Start { 1.0 / starts as f64 } else { 0.0 };
        let table = FiniteTable::new(over + 1, 4, row, (0..=over).map(start).collect());
        Some(GridWorld { cells, table })
    }

    /// A grid from its map: rows of `.`, `S`, `#`, `+` and `-` separated by `/`, with exits worth 1 and -1. Returns `None` where
    /// [`new`](Self::new) would, or for any other character.
    pub fn from_map(map: &str, noise: f64, living_reward: f64) -> Option<Self> {
        let cell = |c: char| match c {
            '.' => Some(Cell::Free),
            'S' => Some(Cell::Start),
            '#' => Some(Cell::Wall),
            '+' => Some(Cell::Exit(1.0)),
            '-' => Some(Cell::Exit(-1.0)),
            _ => None,
        };
        let rows = map.split('/').map(|row| row.chars().map(cell).collect::<Option<Vec<_>>>());
        GridWorld::new(rows.collect::<Option<Vec<_>>>()?, noise, living_reward)
    }

    /// The state of cell `(column, row)`, both counted from 1, row 1 at the bottom.
    ///
    /// # Panics
    /// If there is no such cell.
    pub fn state(&self, column: usize, row: usize) -> u32 {
        let (rows, columns) = (self.cells.len(), self.cells[0].len());
        assert!((1..=columns).contains(&column) && (1..=rows).contains(&row), "no cell ({column}, {row})");
        ((rows - row) * columns + column - 1) as u32
    }
}

impl FiniteModel for GridWorld {
    #[inline(always)]
    fn table(&self) -> &FiniteTable {
        &self.table
    }

    fn scene(&self, state: u32) -> Scene {
        let (rows, columns) = (self.cells.len(), self.cells[0].len());
        let state = state as usize;
        let agent = (state < rows * columns).then(|| (state / columns, state % columns));
        Scene::board(rows, columns, agent, |row, column| match self.cells[row][column] {
            Cell::Free => (PALE, ".".into()),
            Cell::Start => (PALE, "S".into()),
            Cell::Wall => (GREY, "#".into()),
            Cell::Exit(reward) => (if reward > 0.0 { GREEN } else { RED }, format!("{reward:+}")),
        })
    }

    fn grid(&self) -> Option<Grid> {
        let (rows, columns) = (self.cells.len(), self.cells[0].len());
        Some(Grid::one(rows, columns, &[Move::Up, Move::Right, Move::Down, Move::Left], |row, column| {
            let (kind, sign) = match self.cells[row][column] {
                Cell::Free => (TileKind::Open, ' '),
                Cell::Start => (TileKind::Open, 'S'),
                Cell::Wall => (TileKind::Closed, '#'),
                Cell::Exit(reward) => (TileKind::End, if reward > 0.0 { '+' } else { '-' }),
            };
            Tile { state: (row * columns + column) as u32, kind, sign }
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Value iteration on the table alone, `sweeps` times from zero.
    fn values(grid: &GridWorld, gamma: f64, sweeps: usize) -> Vec<f64> {
        let table = grid.table();
        let mut value = vec![0.0; table.num_states()];
        for _ in 0..sweeps {
            let q = |s, a| -> f64 {
                let worth = |o: &Outcome| if o.terminated { 0.0 } else { value[o.next as usize] };
                table.row(s, a).iter().map(|o| o.prob * (o.reward + gamma * worth(o))).sum()
            };
            value =
                (0..table.num_states()).map(|s| (0..4).map(|a| q(s, a)).fold(f64::MIN, f64::max)).collect();
        }
        value
    }

    #[test]
    fn the_notes_values_come_out() {
        let close = |a: f64, b: f64| assert!((a - b).abs() < 1e-6, "{a} is not {b}");
        let sure = GridWorld::from_map(NOTES_MAP, 0.0, 0.0).unwrap();
        let v = values(&sure, 0.9, 100);
        let at = |v: &[f64], column, row| v[sure.state(column, row) as usize];
        for (column, row, worth) in [(4, 3, 1.0), (3, 3, 0.9), (2, 3, 0.81), (1, 1, 0.59049), (4, 2, -1.0)] {
            close(at(&v, column, row), worth);
        }
        close(at(&values(&sure, 0.9, 5), 1, 1), 0.0);
        close(at(&values(&sure, 0.9, 6), 1, 1), 0.59049);
        let noisy = GridWorld::from_map(NOTES_MAP, 0.2, 0.0).unwrap();
        let v = values(&noisy, 0.9, 200);
        for (column, row, worth) in [(3, 3, 0.847766), (3, 2, 0.571859), (1, 1, 0.490684)] {
            close(at(&v, column, row), worth);
        }
        let undiscounted = values(&sure, 1.0, 100);
        close(at(&undiscounted, 1, 1), 1.0);
        close(at(&undiscounted, 4, 2), -1.0);
    }

    #[test]
    fn maps_that_make_no_sense_are_refused() {
        for (map, noise, living) in
            [("", 0.0, 0.0), ("..+", 0.0, 0.0), ("S/..", 0.0, 0.0), ("Sx", 0.0, 0.0), ("S+", 1.5, 0.0)]
        {
            assert!(GridWorld::from_map(map, noise, living).is_none(), "{map}");
        }
        assert!(GridWorld::from_map("S+", 0.1, f64::NAN).is_none());
    }
}
