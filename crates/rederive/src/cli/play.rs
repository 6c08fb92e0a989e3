//! `rederive play`.

use super::args::{First, Opponent, PlayArgs};
use super::report::{self, Failure, duration, grouped};
use super::suggest;
use console::Style;
use rederive::math::Stream;
use rederive::mcts::connect_four::{self, COLUMNS, ConnectFour, ROWS};
use rederive::mcts::tic_tac_toe::{self, TicTacToe};
use rederive::mcts::{Config, Model, MovesError, Search};
use serde_json::json;
use std::fmt::Write as _;
use std::io::{self, IsTerminal, Lines, StdinLock};
use std::str::FromStr;
use std::time::Instant;

/// The names that `play` knows.
pub const GAMES: [&str; 2] = ["connect4", "tictactoe"];

/// Playouts per move unless told otherwise.
const PLAYOUTS: u64 = 100_000;
/// Playouts between two looks at the clock.
const BATCH: u64 = 1000;

pub fn run(args: PlayArgs) -> Result<(), Failure> {
    match args.game.as_str() {
        "connect4" => play(ConnectFour, &args),
        "tictactoe" => play(TicTacToe, &args),
        other => Err(Failure::Input(format!(
            "unknown game `{other}` (there are: {}){}",
            GAMES.join(", "),
            suggest::did_you_mean(other, GAMES)
        ))),
    }
}

/// A game as people see it: moves have numbers from 1 on.
trait Game: Model<State: Copy + Default + FromStr<Err = MovesError>> + Copy {
    const NAME: &'static str;
    const TITLE: &'static str;
    /// What a move chooses.
    const PLACE: &'static str;
    /// The largest number of a move.
    const PLACES: usize;

    fn stones(position: &Self::State) -> u32;
    fn won(position: &Self::State) -> bool;
    /// The number of an action.
    fn number(position: &Self::State, action: usize) -> usize;
    /// Makes a move, if that is allowed.
    fn put(position: &mut Self::State, number: usize) -> bool;
    /// The board, where `mark` says how to write a stone of the first (`true`) or the second player.
    fn board(position: &Self::State, mark: impl Fn(bool) -> String) -> String;
}

impl Game for ConnectFour {
    const NAME: &'static str = GAMES[0];
    const TITLE: &'static str = "Connect Four";
    const PLACE: &'static str = "column";
    const PLACES: usize = COLUMNS;

    fn stones(position: &connect_four::Position) -> u32 {
        position.stones()
    }

    fn won(position: &connect_four::Position) -> bool {
        position.won()
    }

    fn number(position: &connect_four::Position, action: usize) -> usize {
        position.column(action) + 1
    }

    fn put(position: &mut connect_four::Position, number: usize) -> bool {
        position.play(number - 1)
    }

    fn board(position: &connect_four::Position, mark: impl Fn(bool) -> String) -> String {
        let first_moves = position.stones().is_multiple_of(2);
        let mut out = String::new();
        for row in (0..ROWS).rev() {
            out += "  │";
            for column in 0..COLUMNS {
                let cell = position.stone(column, row);
                out += &format!(" {}", cell.map_or("·".to_owned(), |mine| mark(mine == first_moves)));
            }
            out += " │\n";
        }
        out + "  └───────────────┘\n    1 2 3 4 5 6 7\n"
    }
}

impl Game for TicTacToe {
    const NAME: &'static str = GAMES[1];
    const TITLE: &'static str = "Tic-tac-toe";
    const PLACE: &'static str = "cell";
    const PLACES: usize = 9;

    fn stones(position: &tic_tac_toe::Position) -> u32 {
        position.stones()
    }

    fn won(position: &tic_tac_toe::Position) -> bool {
        position.won()
    }

    fn number(position: &tic_tac_toe::Position, action: usize) -> usize {
        position.cell(action) + 1
    }

    fn put(position: &mut tic_tac_toe::Position, number: usize) -> bool {
        position.play(number - 1)
    }

    fn board(position: &tic_tac_toe::Position, mark: impl Fn(bool) -> String) -> String {
        let first_moves = position.stones().is_multiple_of(2);
        let mut out = String::new();
        for cell in 0..9 {
            let number = || Style::new().dim().apply_to(cell + 1).to_string();
            let text = position.stone(cell).map_or_else(number, |mine| mark(mine == first_moves));
            let _ = match cell % 3 {
                0 => write!(out, "    {text}"),
                1 => write!(out, " │ {text}"),
                _ => writeln!(out, " │ {text}"),
            };
            if cell == 2 || cell == 5 {
                out += "   ───┼───┼───\n";
            }
        }
        out
    }
}

/// What one search found.
struct Found {
    number: usize,
    value: f64,
    playouts: u64,
    seconds: f64,
    /// The expected course of the game.
    line: Vec<usize>,
    /// Number, visits and mean of every move.
    moves: Vec<(usize, u32, f64)>,
}

fn search<G: Game>(game: G, position: &G::State, args: &PlayArgs) -> Result<Found, Failure> {
    let simulations = args.playouts.unwrap_or(PLAYOUTS);
    // Won with 1 and lost with -1.
    let config = Config { simulations, range: 2.0, ..Config::default() };
    // A seed of its own for each move, whoever asked before.
    let seed = args.seed.wrapping_add(u64::from(G::stones(position)));
    let start = Instant::now();
    let mut search = Search::new(game, config, seed)?;
    search.restart(position);
    match args.seconds {
        None => search.run(simulations),
        Some(seconds) => {
            // Counts are 32-bit numbers.
            let mut left = u64::from(u32::MAX) / BATCH - 1;
            search.run(BATCH);
            while start.elapsed().as_secs_f64() < seconds && left > 0 {
                search.run(BATCH);
                left -= 1;
            }
        }
    }
    let seconds = start.elapsed().as_secs_f64();
    let moves: Vec<_> =
        search.children().map(|c| (G::number(position, c.action), c.visits, c.mean)).collect();
    let mut line = Vec::new();
    let mut at = *position;
    for action in search.line() {
        let number = G::number(&at, action);
        line.push(number);
        if !G::put(&mut at, number) {
            break;
        }
    }
    let playouts = moves.iter().map(|m| u64::from(m.1)).sum();
    let number = G::number(position, search.best());
    Ok(Found { number, value: search.value(), playouts, seconds, line, moves })
}

fn play<G: Game>(game: G, args: &PlayArgs) -> Result<(), Failure> {
    let moves = args.moves.as_deref().unwrap_or("");
    let start: G::State =
        moves.parse().map_err(|e: MovesError| Failure::Input(format!("--moves {moves}: {e}")))?;
    if game.num_actions(&start) == 0 {
        return Err(Failure::Input(format!("--moves {moves}: the game is over")));
    }
    if args.json {
        let found = search(game, &start, args)?;
        let share = |visits: u32| f64::from(visits) / found.playouts as f64;
        let children: Vec<_> = (found.moves.iter())
            .map(|&(number, visits, q)| json!({ "move": number, "visits": visits, "share": share(visits), "q": q }))
            .collect();
        return report::json(&json!({
            "game": G::NAME, "moves": moves, "playouts": found.playouts, "seed": args.seed,
            "wall_seconds": found.seconds, "best": found.number, "value": found.value, "line": found.line,
            "children": children,
        }));
    }
    Match { game, args, position: start, moves: moves.to_owned(), input: Input::new() }.run()
}

/// Who moves next.
#[derive(Clone, Copy, PartialEq)]
enum Side {
    Search,
    Other,
}

struct Match<'a, G: Game> {
    game: G,
    args: &'a PlayArgs,
    position: G::State,
    moves: String,
    input: Input,
}

impl<G: Game> Match<'_, G> {
    fn run(&mut self) -> Result<(), Failure> {
        let mut random = Stream::new(self.args.seed, "opponent", 0);
        self.greet()?;
        while self.game.num_actions(&self.position) > 0 {
            self.draw()?;
            let number = match (self.side(), self.args.against) {
                (Side::Other, None) => match self.ask()? {
                    Some(number) => number,
                    None => return self.stop(),
                },
                (Side::Other, Some(Opponent::Random)) => {
                    let actions = self.game.num_actions(&self.position) as u32;
                    let number = G::number(&self.position, random.below(actions) as usize);
                    report::stdout(&format!("{} plays {} {number}\n", self.name(Side::Other), G::PLACE))?;
                    number
                }
                (side, _) => {
                    let found = search(self.game, &self.position, self.args)?;
                    let name = self.name(side);
                    report::stdout(&format!("{name} plays {} {}{}", G::PLACE, found.number, table(&found)))?;
                    found.number
                }
            };
            // Every number that comes here was found legal.
            if !G::put(&mut self.position, number) {
                return Err(Failure::Run(format!("{} {number} can't be played", G::PLACE)));
            }
            self.moves += &number.to_string();
        }
        self.draw()?;
        let ending = match (G::won(&self.position), self.side()) {
            (false, _) => "A draw.".to_owned(),
            // Whoever moved last has won.
            (true, Side::Search) if self.args.against.is_none() => "You win.".to_owned(),
            (true, Side::Search) => format!("{} wins.", self.name(Side::Other)),
            (true, Side::Other) => format!("{} wins.", self.name(Side::Search)),
        };
        report::stdout(&format!("{}\nMoves: {}\n", Style::new().bold().apply_to(ending), self.moves))
    }

    /// `--first` says who makes the first move of the game, also where `--moves` has made it.
    fn side(&self) -> Side {
        let first_moves = G::stones(&self.position).is_multiple_of(2);
        if first_moves == (self.args.first == First::Me) { Side::Other } else { Side::Search }
    }

    fn name(&self, side: Side) -> &'static str {
        match (side, self.args.against) {
            (Side::Search, Some(Opponent::Computer)) if self.args.first == First::Me => "The second computer",
            (Side::Search, Some(Opponent::Computer)) => "The first computer",
            (Side::Search, _) => "The computer",
            (Side::Other, Some(Opponent::Computer)) if self.args.first == First::Me => "The first computer",
            (Side::Other, Some(Opponent::Computer)) => "The second computer",
            (Side::Other, Some(Opponent::Random)) => "The random player",
            (Side::Other, None) => "You",
        }
    }

    fn mark(first: bool) -> String {
        let style = if first { Style::new().yellow().bold() } else { Style::new().red().bold() };
        style.apply_to(if first { "●" } else { "○" }).to_string()
    }

    fn greet(&self) -> Result<(), Failure> {
        let effort = match (self.args.seconds, self.args.playouts) {
            (Some(seconds), _) => format!("{} per move", duration(seconds)),
            (None, playouts) => format!("{} playouts per move", grouped(playouts.unwrap_or(PLAYOUTS))),
        };
        let title = Style::new().bold().apply_to(G::TITLE);
        let other_first = self.args.first == First::Me;
        let (search, other) = (Self::mark(!other_first), Self::mark(other_first));
        let (them, us) = (self.name(Side::Other), self.name(Side::Search).to_lowercase());
        let mut text = format!("{title}: {them} {other} against {us} {search}, {effort}\n");
        if self.args.against.is_none() {
            let dim = Style::new().dim();
            let help = format!("A {} from 1 to {}; ? for a hint, q to stop.", G::PLACE, G::PLACES);
            let _ = writeln!(text, "{}", dim.apply_to(help));
        }
        report::stdout(&text)
    }

    fn draw(&self) -> Result<(), Failure> {
        report::stdout(&format!("\n{}\n", G::board(&self.position, Self::mark)))
    }

    /// The person's move; `None` to stop.
    fn ask(&mut self) -> Result<Option<usize>, Failure> {
        loop {
            report::stdout("Your move: ")?;
            let Some(line) = self.input.next()? else { return Ok(None) };
            let text = line.trim();
            let problem = match text {
                "" => continue,
                "q" | "quit" | "exit" => return Ok(None),
                "?" => {
                    let found = search(self.game, &self.position, self.args)?;
                    report::stdout(&format!("A hint: {} {}{}", G::PLACE, found.number, table(&found)))?;
                    continue;
                }
                _ => match text.parse::<usize>() {
                    Ok(number) if (1..=G::PLACES).contains(&number) => {
                        if G::put(&mut self.position.clone(), number) {
                            return Ok(Some(number));
                        }
                        format!(
                            "{} {number} is {}",
                            G::PLACE,
                            if G::PLACES == COLUMNS { "full" } else { "taken" }
                        )
                    }
                    _ => format!("`{text}` is no {}: must be in 1..={}, ? or q", G::PLACE, G::PLACES),
                },
            };
            self.input.complain(&problem)?;
        }
    }

    fn stop(&self) -> Result<(), Failure> {
        let resume = if self.moves.is_empty() { String::new() } else { format!(" --moves {}", self.moves) };
        report::note(format_args!("stopped before the end; `rederive play {}{resume}` goes on", G::NAME));
        Ok(())
    }
}

/// Lines from standard input, whether a person types them or a script has written them.
struct Input {
    lines: Lines<StdinLock<'static>>,
    number: usize,
    person: bool,
}

impl Input {
    fn new() -> Self {
        Input { lines: io::stdin().lines(), number: 0, person: io::stdin().is_terminal() }
    }

    fn next(&mut self) -> Result<Option<String>, Failure> {
        self.number += 1;
        let line = self.lines.next().transpose();
        let line = line.map_err(|e| Failure::Input(format!("standard input, line {}: {e}", self.number)))?;
        if !self.person || line.is_none() {
            // What a script says is not echoed by a terminal.
            report::stdout(&format!("{}\n", line.as_deref().unwrap_or_default().trim()))?;
        }
        Ok(line)
    }

    /// A person may try again; a script has a mistake.
    fn complain(&self, problem: &str) -> Result<(), Failure> {
        if self.person {
            report::stdout(&format!("{}\n", Style::new().red().apply_to(problem)))
        } else {
            Err(Failure::Input(format!("standard input, line {}: {problem}", self.number)))
        }
    }
}

/// Columns that the longest bar takes.
const BAR: f64 = 30.0;

/// How the search spent its playouts: a line on the whole, and a bar for each move.
fn table(found: &Found) -> String {
    let Found { number, value, playouts, seconds, line, moves } = found;
    let dim = Style::new().dim();
    let expected: Vec<String> = line.iter().take(8).map(ToString::to_string).collect();
    let facts = format!(
        "{} playouts in {}, value {value:+.3}, expects {}",
        grouped(*playouts),
        duration(*seconds),
        expected.join(" ")
    );
    let mut out = format!("  {}\n", dim.apply_to(facts));
    for &(move_, visits, mean) in moves {
        let share = f64::from(visits) / (*playouts).max(1) as f64;
        let bar = bar(share);
        let fill = " ".repeat(BAR as usize - bar.chars().count());
        let style = if move_ == *number { Style::new().green().bold() } else { Style::new().cyan() };
        let _ = writeln!(
            out,
            "  {move_} {}{fill} {:>5.1}% {:>11} visits  Q {mean:+.3}",
            style.apply_to(bar),
            100.0 * share,
            grouped(u64::from(visits)),
        );
    }
    out
}

/// A bar in eighths of a column.
fn bar(share: f64) -> String {
    const EIGHTHS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];
    let eighths = (share.clamp(0.0, 1.0) * BAR * 8.0).round() as usize;
    "█".repeat(eighths / 8) + EIGHTHS[eighths % 8]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_grow_with_the_share() {
        assert_eq!([bar(0.0), bar(0.5), bar(1.0)], [String::new(), "█".repeat(15), "█".repeat(30)]);
        assert_eq!(bar(1.0 / 240.0), "▏");
        assert!((0..=1000).all(|i| bar(f64::from(i) / 1000.0).chars().count() <= 30));
    }

    #[test]
    fn boards_show_every_stone() {
        let mark = |first| (if first { "X" } else { "O" }).to_owned();
        let board = ConnectFour::board(&"4435".parse().unwrap(), mark);
        let rows: Vec<&str> = board.lines().collect();
        assert_eq!(&rows[3..6], ["  │ · · · · · · · │", "  │ · · · O · · · │", "  │ · · X X O · · │"]);
        let board = TicTacToe::board(&"159".parse().unwrap(), mark);
        let plain = console::strip_ansi_codes(&board).into_owned();
        assert_eq!(plain.lines().next(), Some("    X │ 2 │ 3"));
        assert_eq!(plain.lines().nth(2), Some("    4 │ O │ 6"));
        assert_eq!(plain.lines().nth(4), Some("    7 │ 8 │ X"));
    }
}
