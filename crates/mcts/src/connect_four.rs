//! Connect Four on the usual board of seven columns and six rows.

use crate::moves::follow;
use crate::{Model, MovesError};
use rand::RngCore;
use rederive_math::Stream;
use std::str::FromStr;

/// Connect Four: 1 for a win, -1 for a loss, 0 for a draw.
#[derive(Clone, Copy, Debug, Default)]
pub struct ConnectFour;

/// Columns of the board.
pub const COLUMNS: usize = 7;
/// Rows of the board.
pub const ROWS: usize = 6;

/// A position. A column takes seven bits, its lowest cell first; the seventh is always empty, so that shifts do not run from
/// one column into the next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Position {
    /// The stones of the player to move.
    mine: u64,
    all: u64,
    won: bool,
}

const HEIGHT: u32 = ROWS as u32 + 1;
/// The lowest cell of each column.
const BOTTOM: u64 = 0x0000_0408_1020_4081;
/// All cells.
const BOARD: u64 = BOTTOM * ((1 << ROWS) - 1);
const COLUMN: u64 = (1 << ROWS) - 1;

/// The cells where a stone would come to rest, one for each column that is not full: a carry runs up each column to its first
/// free cell.
#[inline(always)]
fn landing(all: u64) -> u64 {
    (all + BOTTOM) & BOARD
}

/// Whether four of these stones lie in a row.
#[inline(always)]
fn four(stones: u64) -> bool {
    // Upwards, along a row, and along both diagonals: two neighbours first, then two such pairs.
    let along = |shift: u32| {
        let pairs = stones & (stones >> shift);
        pairs & (pairs >> (2 * shift))
    };
    (along(1) | along(HEIGHT) | along(HEIGHT - 1) | along(HEIGHT + 1)) != 0
}

/// The set bit number `index`, counted from the lowest.
#[inline(always)]
fn nth_bit(mut bits: u64, index: u32) -> u64 {
    for _ in 0..index {
        bits &= bits - 1;
    }
    bits & bits.wrapping_neg()
}

impl Position {
    /// The columns that are not full, while the game goes on, from the left.
    pub fn columns(&self) -> impl Iterator<Item = usize> + use<> {
        let landing = if self.won { 0 } else { landing(self.all) };
        (0..COLUMNS).filter(move |column| landing >> (*column as u32 * HEIGHT) & COLUMN != 0)
    }

    /// Whether the last move won.
    pub fn won(&self) -> bool {
        self.won
    }

    /// Whether no move is left.
    pub fn over(&self) -> bool {
        self.won || self.all == BOARD
    }

    /// How many stones lie on the board.
    pub fn stones(&self) -> u32 {
        self.all.count_ones()
    }

    /// Whose stone lies in a cell, counted from the left and from below: `Some(true)` for the player to move.
    pub fn stone(&self, column: usize, row: usize) -> Option<bool> {
        let bit = column as u32 * HEIGHT + row as u32;
        (self.all >> bit & 1 == 1).then(|| self.mine >> bit & 1 == 1)
    }

    /// The column of the action with that number.
    ///
    /// # Panics
    /// If there is no such action.
    pub fn column(&self, action: usize) -> usize {
        self.columns().nth(action).expect("a column that is not full")
    }

    /// Drops a stone of the player to move into a column, counted from 0, if it is not full and the game goes on.
    #[must_use]
    pub fn play(&mut self, column: usize) -> bool {
        let stone =
            if column < COLUMNS { landing(self.all) & (COLUMN << (column as u32 * HEIGHT)) } else { 0 };
        if self.won || stone == 0 {
            return false;
        }
        self.put(stone);
        true
    }

    #[inline(always)]
    fn put(&mut self, stone: u64) {
        self.won = four(self.mine | stone);
        self.mine ^= self.all;
        self.all |= stone;
    }
}

/// Reads the moves from the beginning as columns from 1 to 7, such as `4435`.
impl FromStr for Position {
    type Err = MovesError;

    fn from_str(text: &str) -> Result<Self, MovesError> {
        let mut position = Position::default();
        follow(text, "column", COLUMNS as u32, |column| match (position.over(), position.play(column)) {
            (true, _) => Err("the game is over".to_owned()),
            (false, true) => Ok(()),
            (false, false) => Err(format!("column {} is full", column + 1)),
        })?;
        Ok(position)
    }
}

impl Model for ConnectFour {
    type State = Position;
    const TWO_PLAYERS: bool = true;

    #[inline(always)]
    fn num_actions(&self, state: &Position) -> usize {
        if state.won { 0 } else { landing(state.all).count_ones() as usize }
    }

    #[inline(always)]
    fn step(&self, state: &mut Position, action: usize, _: &mut Stream) -> f64 {
        state.put(nth_bit(landing(state.all), action as u32));
        f64::from(u8::from(state.won))
    }

    #[inline]
    fn playout(&self, state: &Position, gamma: f64, max_steps: u32, rng: &mut Stream) -> f64 {
        if state.won {
            return 0.0;
        }
        let (outcome, length) = random_game(state.mine, state.all, max_steps, rng);
        // The reward is that of the last step alone.
        if gamma == 1.0 || length == 0 { outcome } else { outcome * gamma.powi(length as i32 - 1) }
    }
}

/// Uniformly random moves to the end of the game: its outcome for the player to move first, and how many moves it took.
#[inline(always)]
fn random_game(mine: u64, all: u64, max_steps: u32, rng: &mut Stream) -> (f64, u32) {
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("bmi2") && std::arch::is_x86_feature_detected!("popcnt") {
        // SAFETY: the CPU has what the function is compiled for.
        return unsafe { random_game_bmi2(mine, all, max_steps, rng) };
    }
    moves(mine, all, max_steps, rng, nth_bit)
}

/// The same with the instructions that put bits where a mask has ones, and that count ones.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "bmi1,bmi2,popcnt")]
fn random_game_bmi2(mine: u64, all: u64, max_steps: u32, rng: &mut Stream) -> (f64, u32) {
    moves(mine, all, max_steps, rng, |bits, index| std::arch::x86_64::_pdep_u64(1 << index, bits))
}

#[inline(always)]
fn moves(
    mut mine: u64,
    mut all: u64,
    max_steps: u32,
    rng: &mut Stream,
    nth_bit: impl Fn(u64, u32) -> u64,
) -> (f64, u32) {
    let (mut word, mut lanes) = (0u64, 0u32);
    for length in 0..max_steps {
        let landing = landing(all);
        if landing == 0 {
            return (0.0, length);
        }
        let n = landing.count_ones();
        // Lemire's multiply-and-reject on a quarter of a random word: every column has exactly the same chance.
        let index = loop {
            if lanes == 0 {
                (word, lanes) = (rng.next_u64(), 4);
            }
            let product = (word & 0xffff) as u32 * n;
            (word, lanes) = (word >> 16, lanes - 1);
            if product & 0xffff >= n || product & 0xffff >= 0x1_0000 % n {
                break product >> 16;
            }
        };
        let stone = nth_bit(landing, index);
        let moved = mine | stone;
        if four(moved) {
            return (if length % 2 == 0 { 1.0 } else { -1.0 }, length + 1);
        }
        mine ^= all;
        all |= stone;
    }
    (0.0, max_steps)
}
