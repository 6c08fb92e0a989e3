//! Finite processes that are made up: as large as wanted, from a seed, to measure solvers on.
//!
//! | source | what it is |
//! |---|---|
//! | `random:SxAxK?seed=1` | [`random`]: S states, A actions, K successors drawn from all states |
//! | `cycle:SxAxK?period=10&escape=0.001&seed=1` | [`cycle`]: states that take turns, so that values settle slowly |
//! | `lake:RxC?holes=0.2&seed=1` | [`lake`]: a slippery frozen lake of R rows and C columns with a way through |
//! | `hill:PxV` | [`hill`]: MountainCar on P positions times V velocities |
//!
//! Probabilities of the first two are multiples of 2^-24, which `f32` holds exactly: a process in single precision is the
//! very one in double precision, and every row sums to 1 without rounding.

mod hill;
mod lake;
mod sparse;

pub use hill::{hill, hill_grid};
pub use lake::{lake, lake_map};
pub use sparse::{cycle, random};

use crate::{FiniteModel, Grid, Mdp};
use rederive_math::Real;
use std::fmt;

/// A source of the module's table, read from its text.
#[derive(Clone, Debug, PartialEq)]
pub enum Generator {
    /// [`random`].
    Random {
        /// States, actions, successors.
        shape: [u32; 3],
        /// The seed.
        seed: u64,
    },
    /// [`cycle`].
    Cycle {
        /// States, actions, successors.
        shape: [u32; 3],
        /// After how many steps a state's turn comes again.
        period: u32,
        /// The probability of missing a turn.
        escape: f64,
        /// The seed.
        seed: u64,
    },
    /// [`lake`].
    Lake {
        /// Rows and columns.
        shape: [u32; 2],
        /// The share of cells that are holes.
        holes: f64,
        /// The seed.
        seed: u64,
    },
    /// [`hill`].
    Hill {
        /// Positions and velocities.
        shape: [u32; 2],
    },
}

/// A source that begins like one of the generators', and is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GeneratorError {
    /// What was asked for.
    pub source: String,
    /// What is wrong with it.
    pub problem: String,
}

impl fmt::Display for GeneratorError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.source, self.problem)
    }
}

impl std::error::Error for GeneratorError {}

/// The most entries that 32 bits number.
const MAX_ENTRIES: u64 = u32::MAX as u64;

impl Generator {
    /// Reads a source such as `random:1000x4x4?seed=7`; `None` if it names no generator.
    pub fn parse(source: &str) -> Option<Result<Self, GeneratorError>> {
        let (name, rest) = source.split_once(':')?;
        if !["random", "cycle", "lake", "hill"].contains(&name) {
            return None;
        }
        Some(Self::read(name, rest).map_err(|problem| GeneratorError { source: source.to_owned(), problem }))
    }

    fn read(name: &str, rest: &str) -> Result<Self, String> {
        let (shape, options) = rest.split_once('?').unwrap_or((rest, ""));
        let mut options = Options::new(name, options)?;
        let generator = match name {
            "random" | "cycle" => {
                let shape = numbers(shape, "SxAxK (states, actions, successors), such as 1000x4x4")?;
                let [states, actions, successors] = shape;
                let entries = u64::from(states) * u64::from(actions) * u64::from(successors);
                if shape.contains(&0) || entries > MAX_ENTRIES {
                    return Err(format!(
                        "{states} x {actions} x {successors}: each must be at least 1, and the product at most {MAX_ENTRIES}"
                    ));
                }
                if successors > sparse::MAX_SUCCESSORS {
                    return Err(format!(
                        "{successors} successors: must be at most {}",
                        sparse::MAX_SUCCESSORS
                    ));
                }
                let seed = options.whole("seed", 1, 0..=u64::MAX)?;
                if name == "random" {
                    Generator::Random { shape, seed }
                } else {
                    let most = u64::from(states);
                    let period = options.whole("period", 10.min(most), 1..=most)? as u32;
                    let escape =
                        options.number("escape", 1e-3, "in [0, 0.5]", |x| (0.0..=0.5).contains(&x))?;
                    Generator::Cycle { shape, period, escape, seed }
                }
            }
            "lake" => {
                let shape = numbers(shape, "RxC (rows, columns), such as 300x300")?;
                let allowed = "in [0, 0.9]";
                if shape.iter().any(|n| !(2..=2000).contains(n)) {
                    return Err(format!("{} x {}: each must be in 2..=2000", shape[0], shape[1]));
                }
                Generator::Lake {
                    shape,
                    holes: options.number("holes", 0.2, allowed, |x| (0.0..=0.9).contains(&x))?,
                    seed: options.whole("seed", 1, 0..=u64::MAX)?,
                }
            }
            _ => {
                let shape = numbers(shape, "PxV (positions, velocities), such as 200x200")?;
                if shape.iter().any(|n| !(2..=2000).contains(n)) {
                    return Err(format!("{} x {}: each must be in 2..=2000", shape[0], shape[1]));
                }
                Generator::Hill { shape }
            }
        };
        options.finish()?;
        Ok(generator)
    }

    /// Makes the process, the same at any number of threads.
    pub fn make<P: Real>(&self, threads: usize) -> Mdp<P> {
        match *self {
            Generator::Random { shape, seed } => random(shape, seed, threads),
            Generator::Cycle { shape, period, escape, seed } => cycle(shape, period, escape, seed, threads),
            Generator::Lake { shape, holes, seed } => Mdp::from_table(lake(shape, holes, seed).table()),
            Generator::Hill { shape } => hill(shape),
        }
    }

    /// How its states lie on a board, if they do.
    pub fn grid(&self) -> Option<Grid> {
        match *self {
            Generator::Lake { shape, holes, seed } => lake(shape, holes, seed).grid(),
            Generator::Hill { shape } => Some(hill_grid(shape)),
            _ => None,
        }
    }

    /// The state in which an episode starts, where there is one.
    pub fn start(&self) -> Option<u32> {
        match self {
            Generator::Lake { .. } => Some(0),
            Generator::Hill { shape } => Some(hill::start(*shape)),
            _ => None,
        }
    }
}

fn numbers<const N: usize>(text: &str, form: &str) -> Result<[u32; N], String> {
    let numbers: Option<Vec<u32>> = text.split('x').map(|n| n.replace('_', "").parse().ok()).collect();
    numbers.and_then(|numbers| numbers.try_into().ok()).ok_or_else(|| format!("`{text}` must be {form}"))
}

/// What stands after the question mark.
struct Options<'a> {
    name: &'a str,
    given: Vec<(&'a str, &'a str)>,
    known: Vec<&'static str>,
}

impl<'a> Options<'a> {
    fn new(name: &'a str, text: &'a str) -> Result<Self, String> {
        let parts = text.split('&').filter(|part| !part.is_empty());
        let given = parts.map(|part| part.split_once('=').unwrap_or((part, ""))).collect();
        Ok(Options { name, given, known: Vec::new() })
    }

    fn take(&mut self, name: &'static str) -> Option<&'a str> {
        self.known.push(name);
        let last = self.given.iter().rposition(|(given, _)| *given == name)?;
        let value = self.given[last].1;
        self.given.retain(|(given, _)| *given != name);
        Some(value)
    }

    fn whole(
        &mut self,
        name: &'static str,
        default: u64,
        range: std::ops::RangeInclusive<u64>,
    ) -> Result<u64, String> {
        let Some(text) = self.take(name) else { return Ok(default) };
        let value = text.parse().ok().filter(|n| range.contains(n));
        let (low, high) = (range.start(), range.end());
        value.ok_or_else(|| format!("{name} = {text}: must be a whole number in {low}..={high}"))
    }

    fn number(
        &mut self,
        name: &'static str,
        default: f64,
        range: &str,
        allowed: impl Fn(f64) -> bool,
    ) -> Result<f64, String> {
        let Some(text) = self.take(name) else { return Ok(default) };
        let value = text.parse().ok().filter(|&x| allowed(x));
        value.ok_or_else(|| format!("{name} = {text}: must be {range}"))
    }

    fn finish(self) -> Result<(), String> {
        match self.given.first() {
            None => Ok(()),
            Some((option, _)) if self.known.is_empty() => {
                Err(format!("`{}` has no option `{option}`; there are none", self.name))
            }
            Some((option, _)) => {
                Err(format!("`{}` has no option `{option}`; there are {}", self.name, self.known.join(", ")))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Dynamics, grid::TileKind, mountain_car::MountainCar};

    fn make(source: &str, threads: usize) -> Mdp<f64> {
        Generator::parse(source).expect(source).unwrap_or_else(|error| panic!("{error}")).make(threads)
    }

    #[test]
    fn threads_and_precision_change_nothing_and_the_seed_changes_all() {
        for source in ["random:9001x3x4", "cycle:9001x3x4?period=7&escape=0.01"] {
            let one = make(source, 1);
            for threads in [2, 3, 16] {
                assert!(make(source, threads) == one, "{source} on {threads} threads");
            }
            let single: Mdp<f32> = Generator::parse(source).unwrap().unwrap().make(2);
            assert!(single.prob().iter().zip(one.prob()).all(|(&a, &b)| f64::from(a) == b), "{source}");
            assert!((single.defect(), one.defect()) == (0.0, 0.0), "{source}: rows sum to 1 exactly");
            let other = make(&format!("{source}{}seed=2", if source.contains('?') { '&' } else { '?' }), 1);
            let same = one.next().iter().zip(other.next()).filter(|(a, b)| a == b).count();
            assert!(same < one.next().len() / 100 + one.next().len() / 400, "{source}: {same} equal");
        }
        for source in [
            "random:1x1x1",
            "random:2x1x300",
            "cycle:5x2x1?period=5",
            "cycle:3x1x2?period=3&escape=0.5",
            "random:3_000x2x1",
        ] {
            let mdp = make(source, 2);
            assert!(mdp.prob().iter().all(|&p| p > 0.0 && p <= 1.0) && mdp.defect() == 0.0, "{source}");
        }
    }

    #[test]
    fn random_numbers_have_their_distributions() {
        let mdp = make("random:5000x4x5?seed=3", 2);
        let (rows, entries) = (mdp.num_pairs() as f64, mdp.prob().len() as f64);
        let mean = |values: &mut dyn Iterator<Item = f64>, n: f64| values.sum::<f64>() / n;
        // A flat Dirichlet distribution of K parts: the mean square of a part is 2 / (K (K + 1)), and all parts are alike.
        let square = mean(&mut mdp.prob().iter().map(|p| p * p), entries);
        assert!((square - 2.0 / 30.0).abs() < 1e-3, "{square}");
        for part in 0..5 {
            let own = mean(&mut mdp.prob().iter().skip(part).step_by(5).copied(), rows);
            assert!((own - 0.2).abs() < 5e-3, "part {part}: {own}");
        }
        let (reward, next) = (
            mean(&mut mdp.reward().iter().copied(), rows),
            mean(&mut mdp.next().iter().map(|&s| f64::from(s)), entries),
        );
        assert!(
            (reward - 0.5).abs() < 0.01 && mdp.reward().iter().all(|r| (0.0..1.0).contains(r)),
            "{reward}"
        );
        assert!((next / 5000.0 - 0.5).abs() < 0.01, "{next}");
        assert!(!mdp.ends());
    }

    /// The functions of a state's class that turn by an angle per class are eigenvectors of every policy's transitions.
    #[test]
    fn the_eigenvalues_of_a_cycle_are_those_that_its_documentation_says() {
        for (source, period, escape) in
            [("cycle:1003x3x5?period=8&escape=0.125", 8, 0.125), ("cycle:90x2x2?period=9&escape=0", 9, 0.0)]
        {
            let mdp = make(source, 2);
            for k in 0..period {
                let angle = |class: usize| 2.0 * std::f64::consts::PI * (k * class) as f64 / period as f64;
                let wave = |s: usize| [angle(s % period).cos(), angle(s % period).sin()];
                let turned = [escape + (1.0 - escape) * angle(1).cos(), (1.0 - escape) * angle(1).sin()];
                for s in 0..mdp.num_states() {
                    let [re, im] = wave(s);
                    let expected = [turned[0] * re - turned[1] * im, turned[0] * im + turned[1] * re];
                    for pair in mdp.pairs(s) {
                        let mut mean = [0.0; 2];
                        for entry in mdp.entries(pair) {
                            let wave = wave(mdp.next()[entry] as usize);
                            mean = [0, 1].map(|i| mean[i] + mdp.prob()[entry] * wave[i]);
                        }
                        let off = (mean[0] - expected[0]).abs().max((mean[1] - expected[1]).abs());
                        assert!(off < 1e-12, "{source}: wave {k}, state {s}: {mean:?} is not {expected:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn a_lake_has_a_way_through() {
        for (holes, seed) in [(0.0, 1), (0.2, 2), (0.9, 3)] {
            let map = lake_map([30, 50], holes, seed);
            let rows: Vec<&[u8]> = map.split('/').map(str::as_bytes).collect();
            assert!(rows.len() == 30 && rows.iter().all(|row| row.len() == 50));
            assert_eq!((rows[0][0], rows[29][49]), (b'S', b'G'));
            let share = map.matches('H').count() as f64 / 1500.0;
            assert!((share - holes).abs() < 0.08 && (holes == 0.0 || share > 0.0), "{holes}: {share}");
            let (mut seen, mut todo) = (vec![false; 1500], vec![0]);
            while let Some(s) = todo.pop() {
                if !std::mem::replace(&mut seen[s], true) {
                    for way in [(0, -1), (1, 0), (0, 1), (-1, 0)] {
                        let next = crate::frozen_lake::step_on_board(s, way, 30, 50);
                        if rows[next / 50][next % 50] != b'H' {
                            todo.push(next);
                        }
                    }
                }
            }
            assert!(seen[1499], "{map}");
        }
        assert_ne!(lake_map([30, 50], 0.2, 1), lake_map([30, 50], 0.2, 2));
        let source = Generator::parse("lake:30x50?seed=4").unwrap().unwrap();
        assert_eq!((source.make::<f64>(1).num_states(), source.start()), (1500, Some(0)));
        assert_eq!(source.grid().map(|grid| (grid.rows, grid.columns)), Some((30, 50)));
    }

    /// Interpolation reproduces what is linear, such as the position and the velocity of the next point.
    #[test]
    fn the_lattice_moves_on_average_as_the_car_does() {
        let (positions, velocities) = (37, 29);
        let source = Generator::parse("hill:37x29").unwrap().unwrap();
        let (mdp, grid) = (source.make::<f64>(1), source.grid().unwrap());
        let point = |s: u32| {
            let (i, j) = (s as usize % positions, s as usize / positions);
            [
                -1.2 + 1.8 * i as f64 / (positions - 1) as f64,
                -0.07 + 0.14 * j as f64 / (velocities - 1) as f64,
            ]
        };
        let mut ended = 0;
        for tile in &grid.boards[0].tiles {
            for (action, pair) in mdp.pairs(tile.state as usize).enumerate() {
                let entries = mdp.entries(pair);
                if tile.kind == TileKind::End {
                    assert!(entries.is_empty() && mdp.reward()[pair] == 0.0, "{tile:?}");
                    continue;
                }
                assert!((mdp.reward()[pair] + 1.0).abs() < 1e-12, "{tile:?}");
                let (next, _, terminated) = MountainCar::transition(point(tile.state), action as u32);
                if terminated {
                    assert!(entries.is_empty(), "{tile:?}");
                    ended += 1;
                    continue;
                }
                let mut mean = [0.0; 2];
                for entry in entries {
                    let at = point(mdp.next()[entry]);
                    mean = [0, 1].map(|i| mean[i] + mdp.prob()[entry] * at[i]);
                }
                assert!(
                    (mean[0] - next[0]).abs() < 1e-12 && (mean[1] - next[1]).abs() < 1e-12,
                    "{tile:?}: {mean:?} is not {next:?}"
                );
            }
        }
        assert!(ended > 10, "{ended}");
        let [x, v] = point(source.start().unwrap());
        assert!((x + 0.5).abs() < 0.03 && v.abs() < 0.003, "{x}, {v}");
        // The top left tile is the far left at full speed to the right.
        assert_eq!(point(grid.boards[0].tiles[0].state), [-1.2, 0.07]);
    }

    #[test]
    fn sources_that_make_no_sense_say_why() {
        for (source, message) in [
            ("random:", "random:: `` must be SxAxK (states, actions, successors), such as 1000x4x4"),
            ("random:10x2", "`10x2` must be SxAxK"),
            ("random:10x2x-1", "`10x2x-1` must be SxAxK"),
            ("random:0x2x1", "0 x 2 x 1: each must be at least 1, and the product at most 4294967295"),
            ("random:100000x100000x2", "100000 x 100000 x 2: each must be at least 1"),
            ("random:10x1x70000", "70000 successors: must be at most 65536"),
            ("random:10x1x2?seed=-1", "seed = -1: must be a whole number in 0..=18446744073709551615"),
            ("random:10x1x2?period=3", "`random` has no option `period`; there are seed"),
            ("cycle:10x1x2?period=11", "period = 11: must be a whole number in 1..=10"),
            ("cycle:10x1x2?escape=nan", "escape = nan: must be in [0, 0.5]"),
            ("cycle:10x1x2?x", "`cycle` has no option `x`; there are seed, period, escape"),
            ("lake:1x9", "1 x 9: each must be in 2..=2000"),
            ("lake:9x9?holes=1", "holes = 1: must be in [0, 0.9]"),
            ("hill:9", "`9` must be PxV (positions, velocities), such as 200x200"),
            ("hill:9x9?seed=1", "`hill` has no option `seed`; there are none"),
        ] {
            let error = Generator::parse(source).expect(source).expect_err(source).to_string();
            assert!(error.starts_with(source) && error.contains(message), "{error}");
        }
        assert!(Generator::parse("FrozenLake-v1").is_none() && Generator::parse("zork:3x3").is_none());
    }
}
