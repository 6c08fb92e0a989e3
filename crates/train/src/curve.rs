use crate::atomic::{Durable, write_atomically};
use crate::chart::{Curve, Panel, draw};
use crate::folder::files;
use crate::log::{EpisodeRows, MetricsRow};
use crate::{FormatError, RunSpec};
use std::path::Path;

/// Points to which the line of the episodes is thinned out: more than can be told apart.
const COLUMNS: u64 = 600;

/// Draws `curve.svg` from the logs of a run folder: the episodes' returns light, their moving mean, the threshold.
pub(crate) fn draw_curve(folder: &Path, spec: &RunSpec) -> Result<(), FormatError> {
    let rows = MetricsRow::read_all(&folder.join(files::METRICS_CSV))?;
    let steps = rows.last().map_or(0, |row| row.steps);
    let mut episodes = Thinned::new(steps.div_ceil(COLUMNS).max(1));
    EpisodeRows::read_all(&folder.join(files::EPISODES), |step, return_| episodes.push(step, return_))?;
    let line: Vec<(f64, f64)> =
        rows.iter().filter_map(|row| Some((row.steps as f64, row.return_mean?))).collect();
    let panel = Panel {
        title: format!("{} on {}, seed {}", spec.algo, spec.env, spec.seed),
        y_label: "return",
        // Up to the round number that was asked for, where the last iteration ends just before it.
        steps: if steps + steps / 50 >= spec.steps { spec.steps.max(steps) } else { steps },
        threshold: spec.threshold,
        raw: episodes.finish(),
        curves: vec![Curve {
            label: "mean of 100 episodes".to_owned(),
            line: thin(&line),
            ..Default::default()
        }],
    };
    let path = folder.join(files::CURVE);
    let svg = draw(&[panel]).map_err(|problem| FormatError::new(&path, problem))?;
    write_atomically(&path, Durable::No, |out| out.write_all(svg.as_bytes()))
}

/// At most about [`COLUMNS`] of the points, with the last one.
pub(crate) fn thin(line: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let every = line.len().div_ceil(COLUMNS as usize).max(1);
    let last = line.len().saturating_sub(1);
    line.iter().enumerate().filter(|(i, _)| i % every == 0 || *i == last).map(|(_, p)| *p).collect()
}

/// The lowest and the highest return in each column of the picture, in the order in which they came.
struct Thinned {
    width: u64,
    column: u64,
    low: (u64, f64),
    high: (u64, f64),
    points: Vec<(f64, f64)>,
}

impl Thinned {
    fn new(width: u64) -> Self {
        let (low, high) = ((0, f64::INFINITY), (0, f64::NEG_INFINITY));
        Thinned { width, column: 0, low, high, points: Vec::new() }
    }

    fn push(&mut self, step: u64, return_: f64) {
        if step / self.width != self.column {
            self.close();
            self.column = step / self.width;
        }
        if return_ < self.low.1 {
            self.low = (step, return_);
        }
        if return_ > self.high.1 {
            self.high = (step, return_);
        }
    }

    fn close(&mut self) {
        let (mut first, mut second) = (self.low, self.high);
        if first.0 > second.0 {
            (first, second) = (second, first);
        }
        if first.1.is_finite() {
            self.points.push((first.0 as f64, first.1));
            if first != second {
                self.points.push((second.0 as f64, second.1));
            }
        }
        (self.low, self.high) = ((0, f64::INFINITY), (0, f64::NEG_INFINITY));
    }

    fn finish(mut self) -> Vec<(f64, f64)> {
        self.close();
        self.points
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thinning_keeps_the_extremes_in_order() {
        let mut thinned = Thinned::new(10);
        for (step, return_) in [(1, 5.0), (4, 9.0), (5, 1.0), (12, 3.0), (31, 2.0), (32, 2.0)] {
            thinned.push(step, return_);
        }
        assert_eq!(thinned.finish(), [(4.0, 9.0), (5.0, 1.0), (12.0, 3.0), (31.0, 2.0)]);
        let line: Vec<(f64, f64)> = (0..10_000).map(|i| (i as f64, 0.0)).collect();
        let thinned = thin(&line);
        assert!(thinned.len() <= COLUMNS as usize + 1);
        assert_eq!((thinned[0].0, thinned.last().unwrap().0), (0.0, 9999.0));
        assert!(thin(&[]).is_empty());
    }
}
