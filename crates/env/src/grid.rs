//! How the states of a finite environment lie on a board, so that values and policies can be drawn.

/// The states of a finite environment on one board, or on several boards of the same size.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grid {
    /// How many rows a board has.
    pub rows: usize,
    /// How many columns a board has.
    pub columns: usize,
    /// What each action does.
    pub actions: Vec<Move>,
    /// The boards: one, unless a state is more than a place.
    pub boards: Vec<Board>,
}

/// One board of a [`Grid`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Board {
    /// What the states of this board have in common besides their place; empty if there is one board.
    pub title: String,
    /// The tiles, row after row from the top left.
    pub tiles: Vec<Tile>,
}

/// One place on a board.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tile {
    /// The state of being there.
    pub state: u32,
    /// What can be done there.
    pub kind: TileKind,
    /// What the environment's own map shows there; a blank if nothing.
    pub sign: char,
}

/// What can be done on a [`Tile`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TileKind {
    /// The action matters.
    Open,
    /// The episode is over, or ends with any action.
    End,
    /// Nobody ever stands there.
    Closed,
}

/// What an action does on a board.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Move {
    /// One tile up.
    Up,
    /// One tile to the right.
    Right,
    /// One tile down.
    Down,
    /// One tile to the left.
    Left,
    /// Something else, for which this letter stands.
    Other(char),
}

impl Move {
    /// An arrow, or the letter of another action.
    pub fn sign(self) -> char {
        match self {
            Move::Up => '↑',
            Move::Right => '→',
            Move::Down => '↓',
            Move::Left => '←',
            Move::Other(letter) => letter,
        }
    }
}

impl Grid {
    /// One board, from the tile at each row and column.
    pub(crate) fn one(
        rows: usize,
        columns: usize,
        actions: &[Move],
        tile: impl Fn(usize, usize) -> Tile,
    ) -> Self {
        let tiles = (0..rows * columns).map(|i| tile(i / columns, i % columns)).collect();
        Grid { rows, columns, actions: actions.to_vec(), boards: vec![Board { title: String::new(), tiles }] }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{finite_table, grid};

    /// What an action is called says where the likeliest of its outcomes leads, on every board of every environment.
    #[test]
    fn moves_lead_where_they_point() {
        let mut boards = Vec::new();
        for id in [
            "FrozenLake-v1?success_rate=0.6",
            "FrozenLake8x8-v1?slippery=false",
            "CliffWalking-v1",
            "Taxi-v3",
            "GridWorld",
            "Crawler-v0",
        ] {
            let (grid, table) = (grid(id).expect(id), finite_table(id).expect(id));
            assert_eq!(grid.actions.len(), table.num_actions(), "{id}");
            boards.push(grid.boards.len());
            let mut moved = [0; 6];
            for board in &grid.boards {
                assert_eq!(board.tiles.len(), grid.rows * grid.columns, "{id}");
                for (i, tile) in
                    board.tiles.iter().enumerate().filter(|(_, tile)| tile.kind == TileKind::Open)
                {
                    for (a, &go) in grid.actions.iter().enumerate() {
                        let row = table.row(tile.state as usize, a);
                        let likeliest = row.iter().max_by(|x, y| x.prob.total_cmp(&y.prob)).unwrap();
                        let Some(to) = board.tiles.iter().position(|t| t.state == likeliest.next) else {
                            continue;
                        };
                        let (row, column) = (i / grid.columns, i % grid.columns);
                        let expected = match go {
                            Move::Up => (row.wrapping_sub(1), column),
                            Move::Right => (row, column + 1),
                            Move::Down => (row + 1, column),
                            Move::Left => (row, column.wrapping_sub(1)),
                            Move::Other(_) => (row, column),
                        };
                        let stays = to == i || likeliest.reward < -50.0;
                        assert!(
                            stays || (to / grid.columns, to % grid.columns) == expected,
                            "{id}: {tile:?}, {go:?}"
                        );
                        moved[a] += usize::from(to != i);
                    }
                }
            }
            let pointing = grid.actions.iter().filter(|go| !matches!(go, Move::Other(_))).count();
            assert!(moved[..pointing].iter().all(|&count| count > 2), "{id}: {moved:?}");
        }
        assert_eq!(boards, [1, 1, 1, 16, 1, 1]);
        assert!(grid("CartPole-v1").is_none() && grid("Zork").is_none());
    }

    #[test]
    fn tiles_end_where_nothing_follows() {
        for id in ["FrozenLake-v1", "FrozenLake8x8-v1", "GridWorld", "CliffWalking-v1"] {
            let (grid, table) = (grid(id).unwrap(), finite_table(id).unwrap());
            for tile in &grid.boards[0].tiles {
                let over = |a| table.row(tile.state as usize, a).iter().all(|outcome| outcome.terminated);
                // The goal of the cliff keeps its own rows, from which no episode ever moves.
                let goal = id == "CliffWalking-v1" && tile.sign == 'G';
                let ends = tile.kind == TileKind::End && !goal;
                assert_eq!((0..4).all(over) && tile.sign != '#', ends, "{id}: {tile:?}");
            }
        }
    }

    #[test]
    fn the_chart_of_blackjack_has_every_hand_that_can_bust() {
        let (grid, model) = (grid("Blackjack-v1").unwrap(), crate::blackjack::Blackjack::new(true, false));
        assert_eq!(
            (grid.boards[0].title.as_str(), grid.boards[1].title.as_str()),
            ("no usable ace", "usable ace")
        );
        for (usable, board) in grid.boards.iter().enumerate() {
            for (i, tile) in board.tiles.iter().enumerate() {
                assert_eq!(model.observation(tile.state), [21 - i / 10, 1 + i % 10, usable]);
            }
        }
    }
}
