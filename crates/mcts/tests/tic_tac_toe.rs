//! Tic-tac-toe against its complete game tree.

use rederive_mcts::tic_tac_toe::{Position, TicTacToe};
use rederive_mcts::{Config, Search};
use std::collections::HashMap;

/// The game again, without bits: cells row by row, 1 for whoever began, 2 for the other.
type Board = [u8; 9];

fn winner(board: &Board) -> Option<u8> {
    const LINES: [[usize; 3]; 8] =
        [[0, 1, 2], [3, 4, 5], [6, 7, 8], [0, 3, 6], [1, 4, 7], [2, 5, 8], [0, 4, 8], [2, 4, 6]];
    LINES.iter().find(|l| board[l[0]] != 0 && l.iter().all(|c| board[*c] == board[l[0]])).map(|l| board[l[0]])
}

/// The value to the player to move, by looking at all that can follow.
fn negamax(board: &mut Board, player: u8, values: &mut HashMap<Board, i32>) -> i32 {
    if winner(board).is_some() {
        return -1;
    }
    if let Some(&value) = values.get(board) {
        return value;
    }
    let mut best = None;
    for cell in 0..9 {
        if board[cell] == 0 {
            board[cell] = player;
            let value = -negamax(board, 3 - player, values);
            board[cell] = 0;
            best = best.max(Some(value));
        }
    }
    let value = best.unwrap_or(0);
    values.insert(*board, value);
    value
}

fn position(moves: &[usize]) -> Position {
    let mut position = Position::default();
    for &cell in moves {
        assert!(position.play(cell), "{moves:?}");
    }
    position
}

#[test]
fn the_game_is_a_draw_and_its_tree_is_the_published_one() {
    assert_eq!(negamax(&mut [0; 9], 1, &mut HashMap::new()), 0);
    // Games and positions, by the crate's own moves: 255168 and 5478.
    fn walk(position: Position, positions: &mut std::collections::HashSet<(Position, u32)>) -> u64 {
        positions.insert((position, position.stones()));
        if position.over() {
            return 1;
        }
        let follow = |cell| {
            let mut next = position;
            assert!(next.play(cell));
            next
        };
        position.free().map(|cell| walk(follow(cell), positions)).sum()
    }
    let mut positions = std::collections::HashSet::new();
    assert_eq!(walk(Position::default(), &mut positions), 255_168);
    assert_eq!(positions.len(), 5478);
}

/// Plays for one side against every reply of the other, and returns how the games can end for the searching side.
fn outcomes(begins: bool, config: &Config) -> HashMap<&'static str, u32> {
    fn play(
        moves: &mut Vec<usize>,
        ours: bool,
        config: &Config,
        chosen: &mut HashMap<Position, usize>,
        ends: &mut HashMap<&'static str, u32>,
    ) {
        let at = position(moves);
        if at.over() {
            let end = match (at.won(), ours) {
                (false, _) => "drawn",
                (true, true) => "lost",
                (true, false) => "won",
            };
            *ends.entry(end).or_default() += 1;
            return;
        }
        let cells: Vec<usize> = if ours {
            // The seed depends on the position alone.
            let seed = moves.iter().fold(1, |seed, cell| seed * 10 + *cell as u64);
            vec![*chosen.entry(at).or_insert_with(|| {
                let mut search = Search::new(TicTacToe, config.clone(), seed).unwrap();
                search.plan(&at);
                at.cell(search.best())
            })]
        } else {
            at.free().collect()
        };
        for cell in cells {
            moves.push(cell);
            play(moves, !ours, config, chosen, ends);
            moves.pop();
        }
    }
    let mut ends = HashMap::new();
    play(&mut Vec::new(), begins, config, &mut HashMap::new(), &mut ends);
    ends
}

#[test]
fn ten_thousand_playouts_never_lose() {
    let config = Config { simulations: 10_000, range: 2.0, ..Config::default() };
    for begins in [true, false] {
        let ends = outcomes(begins, &config);
        assert_eq!(ends.get("lost"), None, "begins: {begins}, {ends:?}");
        assert!(ends["won"] > 0 && ends["drawn"] > 0, "{ends:?}");
    }
    // The search is what makes the difference.
    let one = outcomes(true, &Config { simulations: 9, ..config });
    assert!(one["lost"] > 0, "{one:?}");
}

#[test]
fn chosen_moves_have_the_exact_value() {
    // Every position that can be met, with 10000 playouts: the move keeps the value.
    fn board(position: &Position) -> (Board, u8) {
        let player = if position.stones().is_multiple_of(2) { 1 } else { 2 };
        let stone = |cell| position.stone(cell).map_or(0, |mine| if mine { player } else { 3 - player });
        (std::array::from_fn(stone), player)
    }
    let mut values = HashMap::new();
    negamax(&mut [0; 9], 1, &mut values);
    let mut seen = std::collections::HashSet::new();
    let mut open = vec![Position::default()];
    let mut wrong = 0;
    let mut search = Search::new(TicTacToe, Config { range: 2.0, ..Config::default() }, 5).unwrap();
    while let Some(at) = open.pop() {
        if at.over() || !seen.insert((at, at.stones())) {
            continue;
        }
        let (mut here, player) = board(&at);
        let value = negamax(&mut here, player, &mut values);
        search.plan(&at);
        here[at.cell(search.best())] = player;
        wrong += u32::from(-negamax(&mut here, 3 - player, &mut values) != value);
        for cell in at.free() {
            let mut next = at;
            assert!(next.play(cell));
            open.push(next);
        }
    }
    // 5478 positions less those where the game is over: 626 won by whoever began, 316 by the other, 16 drawn.
    assert_eq!((seen.len(), wrong), (4520, 0));
}
