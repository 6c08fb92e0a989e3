//! Scenes as text: half blocks in colour, or braille dots without.

use super::draw::{Film, Frame, PAPER};
use super::report::{Failure, short};
use console::Term;
use rederive::env::scene::{Scene, Shape};
use std::fmt::Write as _;
use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Samples per dot and axis: the mean of their colours is the dot's.
const SAMPLES: usize = 3;
/// Frames that are printed where nothing can move.
const STILL_FRAMES: usize = 24;

/// Shows `film` on `term`: moving if it is a terminal, otherwise up to 24 frames one after another. `stop` ends it early.
pub fn show(film: &Film, term: &Term, stop: &AtomicBool) -> Result<(), Failure> {
    match play(film, term, stop) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::Run(format!("drawing: {error}")))
        }
        _ => Ok(()),
    }
}

fn play(film: &Film, term: &Term, stop: &AtomicBool) -> io::Result<()> {
    let mut out = term;
    let color = console::colors_enabled() && term.is_term();
    let (rows, columns) = if term.is_term() { term.size() } else { (24, 72) };
    let room = (usize::from(columns).min(96), usize::from(rows).saturating_sub(2).clamp(4, 32));
    let bounds = film.bounds();
    if !term.is_term() {
        for frame in film.sample(STILL_FRAMES) {
            let text = picture(&frame.scene, bounds, room, color).join("\n");
            writeln!(out, "{}\n{text}\n", caption(film, frame))?;
        }
        return out.flush();
    }
    term.hide_cursor()?;
    let start = Instant::now();
    let mut height = 0;
    let mut result = Ok(());
    for (i, frame) in film.frames.iter().enumerate() {
        let due = start + Duration::from_secs_f64(i as f64 / film.rate);
        let now = Instant::now();
        // A terminal that can't keep up misses frames, except for the last one.
        let late = now > due + Duration::from_secs_f64(1.0 / film.rate);
        if stop.load(Ordering::Relaxed) {
            break;
        }
        if late && i + 1 < film.frames.len() {
            continue;
        }
        std::thread::sleep(due.saturating_duration_since(now));
        let lines = picture(&frame.scene, bounds, room, color);
        let mut text = if height > 0 { format!("\x1b[{height}A\r") } else { String::new() };
        let _ = writeln!(text, "\x1b[2K{}", caption(film, frame));
        for line in &lines {
            let _ = writeln!(text, "{line}\x1b[K");
        }
        height = lines.len() + 1;
        result = out.write_all(text.as_bytes()).and_then(|()| out.flush());
        if result.is_err() {
            break;
        }
    }
    term.show_cursor()?;
    result
}

fn caption(film: &Film, frame: &Frame) -> String {
    let (episode, step, return_) = (frame.episode, frame.step, short(frame.return_));
    format!("{} · episode {episode} · step {step} · return {return_}", film.title)
}

/// The lines of a drawing that fits into `room` (columns, rows), whose dots are square.
fn picture(scene: &Scene, bounds: [f32; 4], room: (usize, usize), color: bool) -> Vec<String> {
    // Dots per character cell: one by two half blocks, or two by four braille dots. Cells are twice as high as wide.
    let (across, down) = if color { (1, 2) } else { (2, 4) };
    let [left, bottom, right, top] = bounds;
    let aspect = (right - left) / (top - bottom);
    let columns = room.0.min((room.1 as f32 * 2.0 * aspect).round() as usize).max(2);
    let rows = room.1.min((columns as f32 / (2.0 * aspect)).round() as usize).max(1);
    let dots = raster(scene, bounds, columns * across, rows * down);
    let mut cells = if color { half_blocks(&dots, columns, rows) } else { braille(&dots, columns, rows) };
    for shape in &scene.shapes {
        if let Shape::Text { center: [x, y], text, color: ink } = shape {
            let row = ((top - y) / (top - bottom) * rows as f32) as usize;
            let middle = ((x - left) / (right - left) * columns as f32) as usize;
            let start = middle.saturating_sub(text.chars().count() / 2);
            for (i, char) in text.chars().enumerate() {
                if let Some(cell) = cells.get_mut(row).and_then(|line| line.get_mut(start + i)) {
                    *cell = Cell { char, ink: *ink, paper: cell.mean() };
                }
            }
        }
    }
    cells
        .iter()
        .map(|line| if color { colored(line) } else { line.iter().map(|c| c.char).collect() })
        .collect()
}

#[derive(Clone, Copy)]
struct Cell {
    char: char,
    ink: [u8; 3],
    paper: [u8; 3],
}

impl Cell {
    fn mean(self) -> [u8; 3] {
        std::array::from_fn(|i| self.ink[i].midpoint(self.paper[i]))
    }
}

/// Two dots per cell: the upper one as ink, the lower one as paper.
fn half_blocks(dots: &[[u8; 3]], columns: usize, rows: usize) -> Vec<Vec<Cell>> {
    let cell = |row: usize, column: usize| Cell {
        char: '▀',
        ink: dots[2 * row * columns + column],
        paper: dots[(2 * row + 1) * columns + column],
    };
    (0..rows).map(|row| (0..columns).map(|column| cell(row, column)).collect()).collect()
}

/// Eight dots per cell, set where a dot is dark against an ordered pattern of thresholds, so that areas have shades.
fn braille(dots: &[[u8; 3]], columns: usize, rows: usize) -> Vec<Vec<Cell>> {
    const THRESHOLDS: [[f32; 4]; 4] =
        [[0.5, 8.5, 2.5, 10.5], [12.5, 4.5, 14.5, 6.5], [3.5, 11.5, 1.5, 9.5], [15.5, 7.5, 13.5, 5.5]];
    const BITS: [[u32; 2]; 4] = [[0x01, 0x08], [0x02, 0x10], [0x04, 0x20], [0x40, 0x80]];
    let width = 2 * columns;
    let darkness =
        |[r, g, b]: [u8; 3]| 1.0 - (0.3 * f32::from(r) + 0.59 * f32::from(g) + 0.11 * f32::from(b)) / 255.0;
    let cell = |row: usize, column: usize| {
        let mut pattern = 0;
        for (i, bits) in BITS.iter().enumerate() {
            for (j, bit) in bits.iter().enumerate() {
                let (y, x) = (4 * row + i, 2 * column + j);
                // Paper stays empty and the darkest colours are solid.
                let dark = (darkness(dots[y * width + x]) - 0.12) * 1.5;
                if dark * 16.0 > THRESHOLDS[y % 4][x % 4] {
                    pattern |= bit;
                }
            }
        }
        let char = char::from_u32(0x2800 + pattern).unwrap_or(' ');
        Cell { char, ink: [0; 3], paper: [255; 3] }
    };
    (0..rows).map(|row| (0..columns).map(|column| cell(row, column)).collect()).collect()
}

/// A line with its colour codes, written only where they change.
fn colored(line: &[Cell]) -> String {
    let mut text = String::new();
    let (mut ink, mut paper) = (None, None);
    for cell in line {
        if ink != Some(cell.ink) {
            let [r, g, b] = cell.ink;
            let _ = write!(text, "\x1b[38;2;{r};{g};{b}m");
            ink = Some(cell.ink);
        }
        if paper != Some(cell.paper) {
            let [r, g, b] = cell.paper;
            let _ = write!(text, "\x1b[48;2;{r};{g};{b}m");
            paper = Some(cell.paper);
        }
        text.push(if cell.char == '▀' && cell.ink == cell.paper { ' ' } else { cell.char });
    }
    text + "\x1b[0m"
}

/// The scene's shapes as `width` by `height` dots, row by row from the top.
fn raster(scene: &Scene, [left, bottom, right, top]: [f32; 4], width: usize, height: usize) -> Vec<[u8; 3]> {
    let (columns, rows) = (width * SAMPLES, height * SAMPLES);
    let step = [(right - left) / columns as f32, (top - bottom) / rows as f32];
    let mut samples = vec![PAPER; columns * rows];
    // A line is at least as wide as a dot, or it would vanish.
    let thinnest = 0.5 * SAMPLES as f32 * step[0].max(step[1]);
    for shape in &scene.shapes {
        let (corners, reach, color) = match shape {
            Shape::Line { points, width, color } => (points.clone(), (width / 2.0).max(thinnest), color),
            Shape::Polygon { points, color } => (points.clone(), 0.0, color),
            Shape::Circle { center, radius, color } => (vec![*center], radius.max(thinnest), color),
            Shape::Text { .. } => continue,
        };
        let range = |axis: usize| {
            let values = corners.iter().map(|p| p[axis]);
            let low = values.clone().fold(f32::INFINITY, f32::min) - reach;
            let high = values.fold(f32::NEG_INFINITY, f32::max) + reach;
            (low, high)
        };
        let ((x0, x1), (y0, y1)) = (range(0), range(1));
        let column = |x: f32| ((x - left) / step[0]).clamp(0.0, columns as f32) as usize;
        let row = |y: f32| ((top - y) / step[1]).clamp(0.0, rows as f32) as usize;
        for j in row(y1)..(row(y0) + 1).min(rows) {
            for i in column(x0)..(column(x1) + 1).min(columns) {
                let at = [left + (i as f32 + 0.5) * step[0], top - (j as f32 + 0.5) * step[1]];
                if covers(shape, at, reach) {
                    samples[j * columns + i] = *color;
                }
            }
        }
    }
    let dot = |x: usize, y: usize| {
        let mut sum = [0u32; 3];
        for j in 0..SAMPLES {
            for i in 0..SAMPLES {
                let sample = samples[(y * SAMPLES + j) * columns + x * SAMPLES + i];
                for (sum, value) in sum.iter_mut().zip(sample) {
                    *sum += u32::from(value);
                }
            }
        }
        sum.map(|s| (s / (SAMPLES * SAMPLES) as u32) as u8)
    };
    (0..height).flat_map(|y| (0..width).map(move |x| (x, y))).map(|(x, y)| dot(x, y)).collect()
}

fn covers(shape: &Shape, at: [f32; 2], reach: f32) -> bool {
    match shape {
        Shape::Line { points, .. } => points.windows(2).any(|pair| distance(at, pair[0], pair[1]) <= reach),
        Shape::Circle { center, .. } => (at[0] - center[0]).hypot(at[1] - center[1]) <= reach,
        Shape::Polygon { points, .. } => {
            let mut inside = false;
            for (i, a) in points.iter().enumerate() {
                let b = points[(i + 1) % points.len()];
                if (a[1] > at[1]) != (b[1] > at[1])
                    && at[0] < a[0] + (at[1] - a[1]) / (b[1] - a[1]) * (b[0] - a[0])
                {
                    inside = !inside;
                }
            }
            inside
        }
        Shape::Text { .. } => false,
    }
}

/// From a point to a segment.
fn distance(p: [f32; 2], a: [f32; 2], b: [f32; 2]) -> f32 {
    let (dx, dy) = (b[0] - a[0], b[1] - a[1]);
    let length = dx * dx + dy * dy;
    let along = if length > 0.0 { ((p[0] - a[0]) * dx + (p[1] - a[1]) * dy) / length } else { 0.0 };
    let along = along.clamp(0.0, 1.0);
    (p[0] - a[0] - along * dx).hypot(p[1] - a[1] - along * dy)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scene() -> Scene {
        Scene {
            bounds: [0.0, 0.0, 8.0, 8.0],
            shapes: vec![
                Shape::Polygon {
                    points: vec![[0.0, 0.0], [4.0, 0.0], [4.0, 4.0], [0.0, 4.0]],
                    color: [0, 0, 0],
                },
                Shape::Text { center: [6.0, 6.0], text: "ok".to_owned(), color: [0, 0, 255] },
            ],
        }
    }

    #[test]
    fn braille_is_dark_where_the_shape_is() {
        let lines = picture(&scene(), [0.0, 0.0, 8.0, 8.0], (8, 4), false);
        assert_eq!(lines.len(), 4);
        assert_eq!(lines[3].chars().take(4).collect::<String>(), "⣿⣿⣿⣿");
        assert_eq!(lines[3].chars().skip(4).collect::<String>(), "⠀⠀⠀⠀");
        assert!(lines.iter().any(|line| line.contains("ok")), "{lines:?}");
    }

    #[test]
    fn half_blocks_carry_both_colours() {
        let lines = picture(&scene(), [0.0, 0.0, 8.0, 8.0], (8, 4), true);
        assert!(lines[3].starts_with("\x1b[38;2;0;0;0m\x1b[48;2;0;0;0m    "), "{:?}", lines[3]);
        assert!(lines.iter().all(|line| line.ends_with("\x1b[0m")));
    }
}
