//! Values and a policy on boards: as text for a terminal, in colour or without, and as an SVG file that needs nothing else.

use super::draw::{PAPER, escape};
use super::report::short;
use rederive::env::Grid;
use rederive::env::grid::{Board, Move, Tile, TileKind};
use std::fmt::Write;

/// What is shown on the boards of a grid.
pub struct Heat<'a> {
    pub grid: &'a Grid,
    /// The value of every state.
    pub value: &'a [f64],
    /// The action of every state.
    pub policy: &'a [u32],
    /// The smallest and the largest value on the boards.
    range: (f64, f64),
}

/// How many colours there are to choose from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Colors {
    None,
    Few,
    All,
}

/// Dark to bright, and equally so for every kind of eye: nine colours of the map viridis of S. van der Walt and N. Smith.
const VIRIDIS: [[u8; 3]; 9] = [
    [68, 1, 84],
    [71, 44, 122],
    [59, 81, 139],
    [44, 113, 142],
    [33, 144, 141],
    [39, 173, 129],
    [92, 200, 99],
    [170, 220, 50],
    [253, 231, 37],
];
const CLOSED: [u8; 3] = [120, 120, 120];

fn viridis(share: f64) -> [u8; 3] {
    let at = share.clamp(0.0, 1.0) * (VIRIDIS.len() - 1) as f64;
    let i = (at as usize).min(VIRIDIS.len() - 2);
    let part = at - i as f64;
    std::array::from_fn(|c| {
        let (low, high) = (f64::from(VIRIDIS[i][c]), f64::from(VIRIDIS[i + 1][c]));
        (low + part * (high - low)).round() as u8
    })
}

/// Black on what is bright, white on what is dark.
fn ink([r, g, b]: [u8; 3]) -> [u8; 3] {
    let light = 299 * u32::from(r) + 587 * u32::from(g) + 114 * u32::from(b);
    if light > 130_000 { [0; 3] } else { [255; 3] }
}

impl<'a> Heat<'a> {
    pub fn new(grid: &'a Grid, value: &'a [f64], policy: &'a [u32]) -> Self {
        let tiles = grid.boards.iter().flat_map(|board| &board.tiles);
        let shown = tiles.filter(|tile| tile.kind != TileKind::Closed).map(|tile| value[tile.state as usize]);
        let range =
            shown.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), v| (low.min(v), high.max(v)));
        Heat { grid, value, policy, range }
    }

    fn at(&self, tile: &Tile) -> f64 {
        self.value[tile.state as usize]
    }

    /// Where a value lies between the smallest and the largest.
    fn share(&self, value: f64) -> f64 {
        let (low, high) = self.range;
        if high > low { (value - low) / (high - low) } else { 0.5 }
    }

    fn color(&self, tile: &Tile) -> [u8; 3] {
        if tile.kind == TileKind::Closed { CLOSED } else { viridis(self.share(self.at(tile))) }
    }

    fn action(&self, tile: &Tile) -> Option<Move> {
        let action = self.policy[tile.state as usize] as usize;
        (tile.kind == TileKind::Open).then(|| self.grid.actions[action])
    }

    /// The boards as text that fits into `room` columns: with numbers and arrows if they fit, or with arrows alone, or as
    /// shades of several tiles each.
    pub fn text(&self, room: usize, colors: Colors) -> String {
        let number = Number::new(self.range);
        let full = number.width + 5;
        let style = if self.grid.columns * full <= room {
            Style::Full(number)
        } else if self.grid.columns * 2 <= room && self.grid.rows <= 64 {
            Style::Arrows
        } else {
            let wide = self.grid.columns.div_ceil(room);
            Style::Shades(wide.max(self.grid.rows.div_ceil(2 * 48)))
        };
        let boards: Vec<Vec<String>> =
            self.grid.boards.iter().map(|b| self.board(b, &style, colors)).collect();
        let width = match style {
            Style::Full(_) => self.grid.columns * full,
            Style::Arrows => self.grid.columns * 2,
            Style::Shades(n) => self.grid.columns.div_ceil(n),
        };
        let across = ((room + 2) / (width + 2)).clamp(1, boards.len().max(1));
        let mut out = String::new();
        for (row, (beside, titles)) in boards.chunks(across).zip(self.grid.boards.chunks(across)).enumerate()
        {
            if row > 0 {
                out.push('\n');
            }
            if titles.iter().any(|board| !board.title.is_empty()) {
                let line: Vec<_> = titles.iter().map(|board| format!("{:<width$}", board.title)).collect();
                let _ = writeln!(out, "{}", line.join("  ").trim_end());
            }
            for i in 0..beside[0].len() {
                let line: Vec<_> = beside.iter().map(|board| board[i].as_str()).collect();
                let _ = writeln!(out, "{}", line.join("  ").trim_end());
            }
        }
        if colors != Colors::None {
            let bar: String = (0..32).map(|i| painted(" ", viridis(f64::from(i) / 31.0), colors)).collect();
            let _ = writeln!(out, "{} {bar} {}", short(self.range.0), short(self.range.1));
        } else if let Style::Shades(_) = style {
            let _ = writeln!(
                out,
                "{} {} {}",
                short(self.range.0),
                SHADES.iter().collect::<String>(),
                short(self.range.1)
            );
        }
        out
    }

    fn board(&self, board: &Board, style: &Style, colors: Colors) -> Vec<String> {
        let (rows, columns) = (self.grid.rows, self.grid.columns);
        match style {
            Style::Full(_) | Style::Arrows => board
                .tiles
                .chunks(columns)
                .map(|row| {
                    row.iter()
                        .map(|tile| painted(&self.tile(tile, style), self.color(tile), colors))
                        .collect()
                })
                .collect(),
            // A character is n tiles wide and 2 n high, which is square.
            &Style::Shades(n) => {
                let mean = |row: usize, column: usize| {
                    let near = |from: usize, size: usize| from * n..((from + 1) * n).min(size);
                    let tiles =
                        near(row, rows).flat_map(|r| near(column, columns).map(move |c| r * columns + c));
                    let open = tiles.map(|i| &board.tiles[i]).filter(|tile| tile.kind != TileKind::Closed);
                    let (sum, count) =
                        open.fold((0.0, 0), |(sum, count), tile| (sum + self.at(tile), count + 1));
                    (count > 0).then(|| self.share(sum / f64::from(count)))
                };
                let (down, across) = (rows.div_ceil(n), columns.div_ceil(n));
                (0..down.div_ceil(2))
                    .map(|line| {
                        (0..across)
                            .map(|column| {
                                let upper = mean(2 * line, column);
                                let lower =
                                    if 2 * line + 1 < down { mean(2 * line + 1, column) } else { upper };
                                half_blocks(upper, lower, colors)
                            })
                            .collect()
                    })
                    .collect()
            }
        }
    }

    fn tile(&self, tile: &Tile, style: &Style) -> String {
        let arrow = self.action(tile).map_or(' ', Move::sign);
        match style {
            Style::Full(number) if tile.kind == TileKind::Closed => {
                format!("{:^1$} ", tile.sign, number.width + 4)
            }
            Style::Full(number) => format!("{} {} {arrow} ", tile.sign, number.text(self.at(tile))),
            _ if tile.kind == TileKind::Open => format!("{arrow} "),
            _ => format!("{} ", tile.sign),
        }
    }

    /// The boards as a picture, with `title` above and the colours' scale below.
    pub fn svg(&self, title: &str) -> String {
        let (rows, columns) = (self.grid.rows, self.grid.columns);
        let largest = if self.grid.boards.len() > 1 { 44.0 } else { 72.0 };
        let cell = (WIDTH / columns as f64).clamp(1.0, largest);
        let cell = if cell > 4.0 { cell.floor() } else { cell };
        let (board_width, board_height) = (columns as f64 * cell, rows as f64 * cell);
        let titled = self.grid.boards.iter().any(|board| !board.title.is_empty());
        let head = if titled { 22.0 } else { 0.0 };
        let gap = 18.0;
        let boards = self.grid.boards.len();
        let across = (((WIDTH + gap) / (board_width + gap)) as usize).clamp(1, boards.max(1));
        let down = boards.div_ceil(across);
        let width = (across as f64 * (board_width + gap) - gap).max(420.0) + 2.0 * MARGIN;
        let top = MARGIN + 24.0;
        let bottom = top + down as f64 * (board_height + head + gap) - gap;
        let height = bottom + 44.0;
        let mut svg = String::new();
        let _ = write!(
            svg,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width:.0} {height:.0}\" width=\"{width:.0}\" \
             height=\"{height:.0}\" font-family=\"system-ui, sans-serif\">\n<title>{title}</title>\n\
             <rect width=\"100%\" height=\"100%\" fill=\"{paper}\"/>\n\
             <text x=\"{MARGIN}\" y=\"{y}\" font-size=\"14\" fill=\"#333\">{title}</text>\n",
            title = escape(title),
            paper = hex(PAPER),
            y = MARGIN + 8.0,
        );
        let number = Number::new(self.range);
        for (i, board) in self.grid.boards.iter().enumerate() {
            let x = MARGIN + (i % across) as f64 * (board_width + gap);
            let y = top + (i / across) as f64 * (board_height + head + gap);
            if titled {
                let _ = writeln!(
                    svg,
                    "<text x=\"{x}\" y=\"{:.1}\" font-size=\"13\" fill=\"#555\">{}</text>",
                    y + 14.0,
                    escape(&board.title)
                );
            }
            let _ = writeln!(svg, "<g transform=\"translate({x:.1} {:.1}) scale({cell})\">", y + head);
            self.paint(&mut svg, board);
            let _ = writeln!(svg, "</g>");
            if cell >= 9.0 {
                let _ = writeln!(
                    svg,
                    "<g transform=\"translate({x:.1} {:.1})\" text-anchor=\"middle\">",
                    y + head
                );
                for (j, tile) in board.tiles.iter().enumerate() {
                    let at = [(j % columns) as f64 * cell, (j / columns) as f64 * cell];
                    self.inscribe(&mut svg, tile, at, cell, &number);
                }
                let _ = writeln!(svg, "</g>");
            }
        }
        self.scale(&mut svg, bottom + 16.0);
        svg.push_str("</svg>\n");
        svg
    }

    /// The tiles' colours: one path for each colour, so that a large board stays a small file.
    fn paint(&self, svg: &mut String, board: &Board) {
        let mut runs: std::collections::BTreeMap<[u8; 3], String> = std::collections::BTreeMap::new();
        // Fewer colours than there are make longer runs, and nobody sees the difference.
        let color = |tile: &Tile| match tile.kind {
            TileKind::Closed => CLOSED,
            _ => viridis((self.share(self.at(tile)) * 127.0).round() / 127.0),
        };
        for (row, tiles) in board.tiles.chunks(self.grid.columns).enumerate() {
            let mut column = 0;
            while column < tiles.len() {
                let own = color(&tiles[column]);
                let length = tiles[column..].iter().take_while(|tile| color(tile) == own).count();
                let _ = write!(runs.entry(own).or_default(), "M{column} {row}h{length}v1h-{length}z");
                column += length;
            }
        }
        for (color, path) in runs {
            // A stroke closes the seams that rounding leaves between tiles.
            let _ = writeln!(
                svg,
                "<path fill=\"{0}\" stroke=\"{0}\" stroke-width=\".02\" d=\"{path}\"/>",
                hex(color)
            );
        }
    }

    /// A tile's sign, value and arrow, as far as there is room for them.
    fn inscribe(&self, svg: &mut String, tile: &Tile, [x, y]: [f64; 2], cell: f64, number: &Number) {
        let ink = hex(ink(self.color(tile)));
        let numbers = cell >= 36.0;
        let text = |svg: &mut String, x: f64, y: f64, size: f64, text: &str| {
            let _ = writeln!(
                svg,
                "<text x=\"{x:.1}\" y=\"{y:.1}\" font-size=\"{size:.1}\" fill=\"{ink}\">{}</text>",
                escape(text)
            );
        };
        if tile.sign != ' ' {
            let size = (cell * 0.24).max(7.0);
            if numbers {
                text(svg, x + size * 0.7, y + size * 1.1, size, &tile.sign.to_string());
            } else if tile.kind != TileKind::Open {
                text(svg, x + cell / 2.0, y + cell / 2.0 + size * 0.36, size, &tile.sign.to_string());
            }
        }
        if numbers && tile.kind != TileKind::Closed {
            let size = (cell * 0.2).max(8.0);
            text(svg, x + cell / 2.0, y + cell - size * 0.5, size, number.text(self.at(tile)).trim());
        }
        let center = [x + cell / 2.0, y + cell * if numbers { 0.42 } else { 0.5 }];
        let angle = match self.action(tile) {
            None => return,
            Some(Move::Other(letter)) => {
                let size = cell * 0.36;
                return text(svg, center[0], center[1] + size * 0.36, size, &letter.to_string());
            }
            Some(Move::Right) => 0,
            Some(Move::Down) => 90,
            Some(Move::Left) => 180,
            Some(Move::Up) => 270,
        };
        let _ = writeln!(
            svg,
            "<path transform=\"translate({:.1} {:.1}) rotate({angle}) scale({:.2})\" fill=\"{ink}\" \
             d=\"M-5-1h5v-3l5 4-5 4v-3h-5z\"/>",
            center[0],
            center[1],
            cell * 0.036,
        );
    }

    fn scale(&self, svg: &mut String, y: f64) {
        let (low, high) = self.range;
        for i in 0..64 {
            let _ = writeln!(
                svg,
                "<rect x=\"{:.1}\" y=\"{y:.1}\" width=\"3.2\" height=\"12\" fill=\"{}\"/>",
                MARGIN + 80.0 + 3.0 * f64::from(i),
                hex(viridis(f64::from(i) / 63.0))
            );
        }
        for (x, anchor, value) in [(MARGIN + 74.0, "end", low), (MARGIN + 80.0 + 198.0, "start", high)] {
            let _ = writeln!(
                svg,
                "<text x=\"{x}\" y=\"{:.1}\" font-size=\"12\" text-anchor=\"{anchor}\" fill=\"#555\">{}</text>",
                y + 10.0,
                short(value)
            );
        }
    }
}

/// The width of a picture's boards, in pixels, and the room around them.
const WIDTH: f64 = 960.0;
const MARGIN: f64 = 16.0;

const SHADES: [char; 5] = [' ', '░', '▒', '▓', '█'];

enum Style {
    Full(Number),
    Arrows,
    /// That many tiles each way in one dot.
    Shades(usize),
}

/// How the values of a board are written, all alike.
struct Number {
    digits: usize,
    exponent: bool,
    width: usize,
}

impl Number {
    fn new((low, high): (f64, f64)) -> Self {
        let size = low.abs().max(high.abs());
        let exponent = size != 0.0 && !(1e-2..1e5).contains(&size);
        let digits = if exponent { 1 } else { 3usize.saturating_sub(size.max(1.0).log10().floor() as usize) };
        let mut number = Number { digits, exponent, width: 0 };
        number.width = number.text(low).len().max(number.text(high).len());
        number
    }

    fn text(&self, value: f64) -> String {
        let Number { digits, exponent, width } = *self;
        // A value that rounds to zero has no sign.
        let value = if value.abs() < 0.5 * 10f64.powi(-(digits as i32)) && !exponent { 0.0 } else { value };
        if exponent { format!("{value:>width$.digits$e}") } else { format!("{value:>width$.digits$}") }
    }
}

fn hex([r, g, b]: [u8; 3]) -> String {
    format!("#{r:02x}{g:02x}{b:02x}")
}

/// Where the levels 0, 95, 135, 175, 215 and 255 of a terminal's 256 colours are nearer than the one before.
const LEVELS: [u8; 5] = [48, 115, 155, 195, 235];

/// The codes that set a colour, `38` for ink and `48` for paper.
fn code(layer: u8, [r, g, b]: [u8; 3], colors: Colors) -> String {
    match colors {
        Colors::None => String::new(),
        Colors::All => format!("\x1b[{layer};2;{r};{g};{b}m"),
        Colors::Few => {
            // The nearest of the terminal's cube of 6 x 6 x 6 colours, whose levels are not even.
            let level = |c: u8| LEVELS.partition_point(|&limit| c >= limit);
            format!("\x1b[{layer};5;{}m", 16 + 36 * level(r) + 6 * level(g) + level(b))
        }
    }
}

fn painted(text: &str, paper: [u8; 3], colors: Colors) -> String {
    if colors == Colors::None {
        return text.to_owned();
    }
    format!("{}{}{text}\x1b[0m", code(38, ink(paper), colors), code(48, paper, colors))
}

/// Two dots, one above the other; in one shade where there is no colour.
fn half_blocks(upper: Option<f64>, lower: Option<f64>, colors: Colors) -> String {
    let color = |share: Option<f64>| share.map_or(CLOSED, viridis);
    if colors == Colors::None {
        let both: Vec<f64> = [upper, lower].into_iter().flatten().collect();
        if both.is_empty() {
            return "#".to_owned();
        }
        let mean = both.iter().sum::<f64>() / both.len() as f64;
        return SHADES[(mean * SHADES.len() as f64).clamp(0.0, 4.0) as usize].to_string();
    }
    format!("{}{}▀\x1b[0m", code(38, color(upper), colors), code(48, color(lower), colors))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Three tiles in a row: one to act on, one that ends, one that is closed.
    fn row() -> Grid {
        let tile = |state, kind, sign| Tile { state, kind, sign };
        let tiles =
            vec![tile(2, TileKind::Open, 'S'), tile(0, TileKind::End, 'G'), tile(1, TileKind::Closed, '#')];
        let boards = vec![Board { title: String::new(), tiles }];
        Grid { rows: 1, columns: 3, actions: vec![Move::Up, Move::Other('P')], boards }
    }

    #[test]
    fn tiles_show_their_own_state_and_closed_ones_do_not_count() {
        let grid = row();
        let heat = Heat::new(&grid, &[-0.5, 99.0, 2.0], &[0, 0, 1]);
        assert_eq!(heat.range, (-0.5, 2.0));
        assert_eq!(
            heat.text(80, Colors::None),
            "S  2.000 P G -0.500       #     \n".replace("     \n", "\n")
        );
        assert_eq!(heat.text(10, Colors::None), "P G #\n");
        let colored = heat.text(80, Colors::All);
        assert!(colored.contains("\x1b[38;2;0;0;0m\x1b[48;2;253;231;37mS  2.000 P "), "{colored:?}");
        assert!(colored.contains("\x1b[48;2;68;1;84mG -0.500   "), "{colored:?}");
        let svg = heat.svg("a < b");
        assert!(svg.contains("a &lt; b") && svg.contains(">P</text>") && !svg.contains("rotate("), "{svg}");
    }

    #[test]
    fn wide_boards_become_the_means_of_their_tiles() {
        let tiles = (0..400u32).map(|state| Tile { state, kind: TileKind::Open, sign: ' ' }).collect();
        let boards = vec![Board { title: String::new(), tiles }];
        let grid = Grid { rows: 2, columns: 200, actions: vec![Move::Up], boards };
        let value: Vec<f64> = (0..400).map(|s| if s % 200 < 100 { 0.0 } else { 1.0 }).collect();
        let text = Heat::new(&grid, &value, &[0; 400]).text(50, Colors::None);
        let expected = format!("{}{}\n0  ░▒▓█ 1.000\n", " ".repeat(25), "█".repeat(25));
        assert_eq!(text, expected);
    }

    #[test]
    fn numbers_of_a_board_are_alike() {
        let written = |low: f64, high: f64, value: f64| Number::new((low, high)).text(value);
        assert_eq!(written(0.0, 1.0, 0.54203), "0.542");
        assert_eq!(written(-12.25, -1.0, -1.0), " -1.00");
        assert_eq!(written(0.0, 4321.0, 7.7), "   8");
        assert_eq!(written(0.0, 3.2e-5, 1.23e-5), "1.2e-5");
        assert_eq!(written(-1.0, 1.0, -1e-9), " 0.000");
    }

    /// The levels of each channel are those that are nearest.
    #[test]
    fn few_colours_are_the_nearest() {
        let levels = [0i32, 95, 135, 175, 215, 255];
        for c in 0..=255u8 {
            let code = code(48, [c, 0, 0], Colors::Few);
            let number: usize = code.trim_start_matches("\x1b[48;5;").trim_end_matches('m').parse().unwrap();
            let own = levels[(number - 16) / 36];
            let least = levels.iter().map(|level| (level - i32::from(c)).abs()).min().unwrap();
            assert_eq!((own - i32::from(c)).abs(), least, "{c}: {own}");
        }
    }
}
