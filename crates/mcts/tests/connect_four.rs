//! Connect Four against published counts and against an exact solver on arrays.

use rederive_math::Stream;
use rederive_mcts::connect_four::{COLUMNS, ConnectFour, Position, ROWS};
use rederive_mcts::{Config, Model, Search, playout};
use std::collections::{HashMap, HashSet};

/// The game again, without bits: columns of stones from below.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
struct Board([Vec<u8>; COLUMNS]);

impl Board {
    fn at(&self, column: isize, row: isize) -> u8 {
        let stones = usize::try_from(column).ok().and_then(|c| self.0.get(c));
        let stone = stones.and_then(|s| usize::try_from(row).ok().and_then(|r| s.get(r)));
        stone.copied().unwrap_or(0)
    }

    fn stones(&self) -> usize {
        self.0.iter().map(Vec::len).sum()
    }

    fn player(&self) -> u8 {
        1 + (self.stones() % 2) as u8
    }

    fn columns(&self) -> Vec<usize> {
        (0..COLUMNS).filter(|c| self.0[*c].len() < ROWS).collect()
    }

    /// Drops a stone and says whether it makes four in a row.
    fn play(&mut self, column: usize) -> bool {
        let player = self.player();
        self.0[column].push(player);
        self.four_through(column, player)
    }

    /// Whether the top stone of a column lies in a row of four of the player's.
    fn four_through(&self, column: usize, player: u8) -> bool {
        let row = self.0[column].len() - 1;
        [(1, 0), (0, 1), (1, 1), (1, -1)].iter().any(|&(dx, dy)| {
            let run = |sign: isize| {
                (1..4)
                    .take_while(|k| {
                        self.at(column as isize + sign * k * dx, row as isize + sign * k * dy) == player
                    })
                    .count()
            };
            1 + run(1) + run(-1) >= 4
        })
    }

    /// The exact value to the player to move: 1, 0 or -1.
    fn solve(&self, mut alpha: i32, beta: i32, known: &mut HashMap<Board, (i32, i32)>) -> i32 {
        if self.stones() == COLUMNS * ROWS {
            return 0;
        }
        let (low, high) = known.get(self).copied().unwrap_or((-1, 1));
        if low >= beta || low == high {
            return low;
        }
        if high <= alpha {
            return high;
        }
        let from = alpha.max(low);
        alpha = from;
        let mut best = -1;
        let mut columns = self.columns();
        columns.sort_by_key(|c| c.abs_diff(3));
        for column in columns {
            let mut next = self.clone();
            let value = if next.play(column) { 1 } else { -next.solve(-beta, -alpha, known) };
            best = best.max(value);
            alpha = alpha.max(best);
            if alpha >= beta {
                break;
            }
        }
        let bounds = if best <= from {
            (low, best)
        } else if best >= beta {
            (best, high)
        } else {
            (best, best)
        };
        known.insert(self.clone(), bounds);
        best
    }
}

/// A position in both forms, unless the moves end the game.
fn both(moves: &[usize]) -> Option<(Position, Board)> {
    let (mut position, mut board) = (Position::default(), Board::default());
    for &column in moves {
        let won = board.play(column);
        assert!(position.play(column) && position.won() == won);
        if won {
            return None;
        }
    }
    Some((position, board))
}

#[test]
fn the_tree_is_the_published_one() {
    fn walk(position: Position, depth: usize, met: &mut [HashSet<Position>], paths: &mut [u64]) {
        met[0].insert(position);
        paths[0] += 1;
        if depth == 0 {
            return;
        }
        for column in position.columns() {
            let mut next = position;
            assert!(next.play(column));
            walk(next, depth - 1, &mut met[1..], &mut paths[1..]);
        }
    }
    let (mut met, mut paths) = (vec![HashSet::new(); 9], [0; 9]);
    walk(Position::default(), 8, &mut met, &mut paths);
    assert_eq!(paths, [1, 7, 49, 343, 2401, 16_807, 117_649, 823_536, 5_673_234]);
    // Different positions (OEIS A212693).
    let sizes: Vec<usize> = met.iter().map(HashSet::len).collect();
    assert_eq!(sizes, [1, 7, 49, 238, 1120, 4263, 16_422, 54_859, 184_275]);
}

#[test]
fn random_games_agree_with_the_board_of_arrays() {
    let mut rng = Stream::new(3, "games", 0);
    let (mut wins, mut draws, mut scratch) = (0, 0, Stream::new(0, "unused", 0));
    for _ in 0..3000 {
        let (mut position, mut board) = (Position::default(), Board::default());
        loop {
            let columns: Vec<usize> = position.columns().collect();
            assert_eq!(columns, board.columns());
            assert_eq!(columns.len(), ConnectFour.num_actions(&position));
            for column in 0..COLUMNS {
                for row in 0..ROWS {
                    let stone = board.at(column as isize, row as isize);
                    let expected = (stone != 0).then_some(stone == board.player());
                    assert_eq!(position.stone(column, row), expected);
                }
            }
            let action = rng.below(columns.len() as u32) as usize;
            assert_eq!(position.column(action), columns[action]);
            let won = board.play(columns[action]);
            let reward = ConnectFour.step(&mut position, action, &mut scratch);
            assert_eq!((reward == 1.0, position.won()), (won, won));
            if position.over() {
                wins += u32::from(won);
                draws += u32::from(!won);
                assert_eq!((position.columns().count() == 0, position.play(0)), (true, false));
                break;
            }
        }
    }
    assert!(wins > 2900 && draws > 0, "{wins} won and {draws} drawn");
}

#[test]
fn moves_are_read_or_refused() {
    assert_eq!("".parse(), Ok(Position::default()));
    assert_eq!("4435".parse::<Position>().unwrap().stones(), 4);
    for (moves, number, problem) in [
        ("448", 3, "must be in 1..=7"),
        ("4x", 2, "must be in 1..=7"),
        ("0", 1, "must be in 1..=7"),
        ("4444444", 7, "column 4 is full"),
        ("12121213", 8, "the game is over"),
    ] {
        let error = moves.parse::<Position>().unwrap_err();
        assert_eq!(error.number, number, "{error}");
        assert!(error.to_string().contains(problem), "{error}");
    }
}

/// The quick playout draws from the law of the plain one: the same mean outcome and mean discounted outcome.
#[test]
fn the_quick_playout_has_the_law_of_the_plain_one() {
    const N: u32 = 40_000;
    for (moves, gamma, max_steps) in
        [("", 1.0, 100), ("44455", 0.9, 100), ("1122", 1.0, 9), ("334455", 0.5, 1), ("", 1.0, 0)]
    {
        let position: Position = moves.parse().unwrap();
        let mut rng = Stream::new(1, "playouts", 0);
        let mut moments = |quick: bool| {
            let (mut sum, mut squares) = (0.0, 0.0);
            for _ in 0..N {
                let z = if quick {
                    ConnectFour.playout(&position, gamma, max_steps, &mut rng)
                } else {
                    let pick = |n: usize, rng: &mut Stream| rng.below(n as u32) as usize;
                    playout(&ConnectFour, &position, gamma, max_steps, &mut rng, pick)
                };
                sum += z;
                squares += z * z;
            }
            let mean = sum / f64::from(N);
            (mean, squares / f64::from(N) - mean * mean)
        };
        let ((quick, v), (plain, w)) = (moments(true), moments(false));
        let error = ((v + w) / f64::from(N)).sqrt();
        assert!((quick - plain).abs() <= 5.0 * error, "{moves}: {quick} against {plain}");
    }
    // Nothing follows a won game.
    let won: Position = "1212121".parse().unwrap();
    assert_eq!(ConnectFour.playout(&won, 1.0, 100, &mut Stream::new(1, "none", 0)), 0.0);
}

/// Late positions, drawn at random, that the solver settles: the search's move has the exact value, except where only a
/// deep reply refutes it, which 100000 simulations see.
#[test]
fn late_positions_are_played_exactly() {
    let mut rng = Stream::new(8, "positions", 0);
    let mut known = HashMap::new();
    let config = Config { simulations: 100_000, range: 2.0, ..Config::default() };
    let mut search = Search::new(ConnectFour, config, 1).unwrap();
    let (mut values, mut positions) = ([0; 3], 0);
    while positions < 60 {
        let mut moves = Vec::new();
        let mut end = Board::default();
        while moves.len() < 24 {
            let columns = end.columns();
            let column = columns[rng.below(columns.len() as u32) as usize];
            moves.push(column);
            if end.play(column) {
                break;
            }
        }
        let Some((position, board)) = both(&moves) else { continue };
        let exact = board.solve(-1, 1, &mut known);
        let value_of = |column: usize, known: &mut HashMap<Board, (i32, i32)>| {
            let mut next = board.clone();
            if next.play(column) { 1 } else { -next.solve(-1, 1, known) }
        };
        let worst = board.columns().iter().map(|c| value_of(*c, &mut known)).min().unwrap();
        if worst == exact {
            // Every move is as good: nothing to get wrong.
            continue;
        }
        search.plan(&position);
        let column = position.column(search.best());
        assert_eq!(value_of(column, &mut known), exact, "{moves:?}: column {column}");
        values[(exact + 1) as usize] += 1;
        positions += 1;
    }
    assert!(values[1] > 0 && values[2] > 0, "{values:?}");
}

/// Wins in one move and the only defences against them, wherever they turn up.
#[test]
fn wins_are_taken_and_threats_are_blocked() {
    let config = Config { simulations: 5000, range: 2.0, ..Config::default() };
    let mut search = Search::new(ConnectFour, config, 1).unwrap();
    let mut best = |position: &Position| {
        search.plan(position);
        position.column(search.best())
    };
    // Three in a column; three in a row that the other holds; two in a row with both ends open; three with both ends open.
    for (moves, columns) in
        [("121212", &[1][..]), ("112233", &[4]), ("1122331", &[4]), ("334", &[2, 5]), ("334455", &[2, 6])]
    {
        let column = best(&moves.parse().unwrap()) + 1;
        assert!(columns.contains(&column), "{moves}: {column}");
    }
    let mut rng = Stream::new(9, "positions", 0);
    let (mut wins, mut blocks) = (0, 0);
    while wins < 100 || blocks < 100 {
        let moves: Vec<usize> = (0..6 + rng.below(20)).map(|_| rng.below(7) as usize).collect();
        let (mut position, mut board, mut fine) = (Position::default(), Board::default(), true);
        for &column in &moves {
            fine = fine && position.play(column) && !board.play(column);
        }
        if !fine || position.over() {
            continue;
        }
        // Columns that win at once for a player, who need not be the one to move.
        let winning = |board: &Board, player: u8| -> Vec<usize> {
            let wins = |c: &usize| {
                let mut next = board.clone();
                next.0[*c].push(player);
                next.four_through(*c, player)
            };
            board.columns().into_iter().filter(wins).collect()
        };
        let (us, them) = (board.player(), 3 - board.player());
        let (ours, threats) = (winning(&board, us), winning(&board, them));
        if !ours.is_empty() && wins < 100 {
            wins += 1;
            let column = best(&position);
            assert!(ours.contains(&column), "{moves:?}: {column} instead of {ours:?}");
        } else if let (true, &[threat]) = (ours.is_empty(), &threats[..])
            && blocks < 100
        {
            let mut held = board.clone();
            held.play(threat);
            if winning(&held, them).is_empty() {
                blocks += 1;
                let column = best(&position);
                assert_eq!(column, threat, "{moves:?}");
            }
        }
    }
}
