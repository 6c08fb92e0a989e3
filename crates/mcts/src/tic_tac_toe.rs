//! Tic-tac-toe.

use crate::moves::follow;
use crate::{Model, MovesError};
use rederive_math::Stream;
use std::str::FromStr;

/// Tic-tac-toe: 1 for a win, -1 for a loss, 0 for a draw.
#[derive(Clone, Copy, Debug, Default)]
pub struct TicTacToe;

/// A position: 9 cells, numbered row by row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Position {
    /// The stones of the player to move.
    mine: u16,
    all: u16,
    won: bool,
}

const BOARD: u16 = 0b111_111_111;

/// Three in a row, as bits.
const LINES: [u16; 8] = [0o7, 0o70, 0o700, 0o111, 0o222, 0o444, 0o421, 0o124];

impl Position {
    /// The cells that are free, while the game goes on.
    pub fn free(&self) -> impl Iterator<Item = usize> + use<> {
        let free = if self.won { 0 } else { BOARD & !self.all };
        (0..9).filter(move |cell| free >> cell & 1 == 1)
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

    /// Whose stone lies in a cell: `Some(true)` for the player to move.
    pub fn stone(&self, cell: usize) -> Option<bool> {
        (self.all >> cell & 1 == 1).then(|| self.mine >> cell & 1 == 1)
    }

    /// The cell of the action with that number.
    ///
    /// # Panics
    /// If there is no such action.
    pub fn cell(&self, action: usize) -> usize {
        self.free().nth(action).expect("a free cell")
    }

    /// Puts a stone of the player to move into a cell, if it is free and the game goes on.
    #[must_use]
    pub fn play(&mut self, cell: usize) -> bool {
        if self.over() || cell >= 9 || self.all >> cell & 1 == 1 {
            return false;
        }
        self.put(1 << cell);
        true
    }

    #[inline]
    fn put(&mut self, stone: u16) {
        let moved = self.mine | stone;
        self.won = LINES.iter().any(|line| moved & line == *line);
        self.mine ^= self.all;
        self.all |= stone;
    }
}

/// Reads the moves from the beginning as cells from 1 to 9, such as `519`.
impl FromStr for Position {
    type Err = MovesError;

    fn from_str(text: &str) -> Result<Self, MovesError> {
        let mut position = Position::default();
        follow(text, "cell", 9, |cell| match (position.over(), position.play(cell)) {
            (true, _) => Err("the game is over".to_owned()),
            (false, true) => Ok(()),
            (false, false) => Err(format!("cell {} is taken", cell + 1)),
        })?;
        Ok(position)
    }
}

impl Model for TicTacToe {
    type State = Position;
    const TWO_PLAYERS: bool = true;

    #[inline]
    fn num_actions(&self, state: &Position) -> usize {
        if state.won { 0 } else { 9 - state.stones() as usize }
    }

    #[inline]
    fn step(&self, state: &mut Position, action: usize, _: &mut Stream) -> f64 {
        let mut free = BOARD & !state.all;
        for _ in 0..action {
            free &= free - 1;
        }
        state.put(free & free.wrapping_neg());
        f64::from(u8::from(state.won))
    }
}
