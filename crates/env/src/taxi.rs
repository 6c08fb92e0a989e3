//! `Taxi-v3` (`Taxi-v4`): fetch a passenger and bring them where they want to go.

use crate::{
    FiniteModel, FiniteTable, Grid, Outcome,
    grid::{Board, Move, Tile, TileKind},
    scene::{BLACK, BLUE, GREEN, PALE, RED, Scene, YELLOW},
};

const SIDE: usize = 5;
/// Red, green, yellow, blue: the cells (row, column) where a passenger waits or wants to go.
const STANDS: [(usize, usize); 4] = [(0, 0), (0, 4), (4, 0), (4, 3)];
const STAND_NAMES: [&str; 4] = ["R", "G", "Y", "B"];
/// In the place of a stand's number: the passenger is in the taxi.
const ABOARD: usize = 4;
/// The walls to the right of these cells (row, column).
const WALLS: [(usize, usize); 6] = [(0, 1), (1, 1), (3, 0), (3, 2), (4, 0), (4, 2)];

/// A taxi on 5 x 5 cells with walls, a passenger at one of four stands, and a destination at another.
///
/// | | |
/// |---|---|
/// | observation | the state, `((row * 5 + column) * 5 + passenger) * 4 + destination`; passenger 4 is in the taxi |
/// | action | 0: south, 1: north, 2: east, 3: west, 4: pick up, 5: drop off |
/// | reward | 20 for the right drop-off, -10 for an impossible pick-up or drop-off, -1 otherwise |
/// | start | uniform over the 300 states with the passenger at a stand other than the destination |
/// | terminated | after the right drop-off |
/// | truncated | after 200 steps |
///
/// Stands 0 to 3 are red, green, yellow and blue. Gymnasium 1.3 renamed this environment from `Taxi-v3` to `Taxi-v4` when it
/// mended the rainy variant, which is not offered here; the table is the same.
///
/// T. Dietterich (2000), *Hierarchical reinforcement learning with the MAXQ value function decomposition*.
pub struct Taxi {
    table: FiniteTable,
}

fn encode(row: usize, column: usize, passenger: usize, destination: usize) -> usize {
    ((row * SIDE + column) * 5 + passenger) * 4 + destination
}

/// Row, column, passenger, destination.
fn decode(state: usize) -> [usize; 4] {
    [state / 100, state / 20 % 5, state / 4 % 5, state % 4]
}

impl Taxi {
    /// The table.
    pub fn new() -> Self {
        let row_of = |state: usize, action: usize| {
            let [row, column, passenger, destination] = decode(state);
            let stand = STANDS.iter().position(|&stand| stand == (row, column));
            let moved = |row, column| (encode(row, column, passenger, destination), -1.0, false);
            let refused = (state, -10.0, false);
            let (next, reward, terminated) = match action {
                0 => moved((row + 1).min(SIDE - 1), column),
                1 => moved(row.saturating_sub(1), column),
                2 if column + 1 < SIDE && !WALLS.contains(&(row, column)) => moved(row, column + 1),
                3 if column > 0 && !WALLS.contains(&(row, column - 1)) => moved(row, column - 1),
                2 | 3 => moved(row, column),
                4 if stand == Some(passenger) => (encode(row, column, ABOARD, destination), -1.0, false),
                5 if passenger == ABOARD => match stand {
                    Some(stand) if stand == destination => {
                        (encode(row, column, stand, destination), 20.0, true)
                    }
                    Some(stand) => (encode(row, column, stand, destination), -1.0, false),
                    None => refused,
                },
                _ => refused,
            };
            vec![Outcome { prob: 1.0, next: next as u32, reward, terminated }]
        };
        let start = (0..500).map(|state| {
            let [_, _, passenger, destination] = decode(state);
            if passenger != ABOARD && passenger != destination { 1.0 / 300.0 } else { 0.0 }
        });
        Taxi { table: FiniteTable::new(500, 6, row_of, start.collect()) }
    }
}

impl Default for Taxi {
    fn default() -> Self {
        Self::new()
    }
}

impl FiniteModel for Taxi {
    #[inline(always)]
    fn table(&self) -> &FiniteTable {
        &self.table
    }

    /// The taxi is `@`, green once the passenger is aboard; the passenger's stand is in brackets, the destination has a star.
    fn scene(&self, state: u32) -> Scene {
        let [row, column, passenger, destination] = decode(state as usize);
        let mut scene = Scene::board(SIDE, SIDE, Some((row, column)), |row, column| {
            let Some(stand) = STANDS.iter().position(|&cell| cell == (row, column)) else {
                return (PALE, String::new());
            };
            let mut name = STAND_NAMES[stand].to_owned();
            if stand == passenger {
                name = format!("({name})");
            }
            if stand == destination {
                name.push('*');
            }
            ([RED, GREEN, YELLOW, BLUE][stand].map(|c| 128 + c / 2), name)
        });
        for (row, column) in WALLS {
            let (x, top) = (column as f32 + 1.0, (SIDE - row) as f32);
            scene.line(vec![[x, top], [x, top - 1.0]], 0.1, BLACK);
        }
        if passenger == ABOARD {
            scene.circle([column as f32 + 0.78, (SIDE - row) as f32 - 0.22], 0.12, GREEN);
        }
        scene
    }

    /// A board for each place of the passenger and each destination other than it: the tiles are where the taxi is.
    fn grid(&self) -> Option<Grid> {
        let board = |passenger: usize, destination: usize| {
            let from =
                STAND_NAMES.get(passenger).map_or("aboard".to_owned(), |name| format!("waits at {name}"));
            let tile = |cell: usize| {
                let (row, column) = (cell / SIDE, cell % SIDE);
                let stand = STANDS.iter().position(|&stand| stand == (row, column));
                let sign = stand.and_then(|stand| STAND_NAMES[stand].chars().next()).unwrap_or(' ');
                let state = encode(row, column, passenger, destination) as u32;
                Tile { state, kind: TileKind::Open, sign }
            };
            let title = format!("{from}, to {}", STAND_NAMES[destination]);
            Board { title, tiles: (0..SIDE * SIDE).map(tile).collect() }
        };
        let boards =
            (0..=ABOARD).flat_map(|p| (0..STANDS.len()).map(move |d| (p, d))).filter(|(p, d)| p != d);
        Some(Grid {
            rows: SIDE,
            columns: SIDE,
            actions: vec![Move::Down, Move::Up, Move::Right, Move::Left, Move::Other('P'), Move::Other('D')],
            boards: boards.map(|(p, d)| board(p, d)).collect(),
        })
    }
}
