use crate::atomic::{Durable, write_atomically};
use crate::chart::{Curve, Panel, draw};
use crate::folder::files;
use crate::log::MetricsRow;
use crate::{FormatError, RunFolder, RunSpec, stats};
use std::fs;
use std::path::{Path, PathBuf};

/// A curve of a plot: the runs of one algorithm on one environment.
#[derive(Clone, Debug, PartialEq)]
pub struct PlottedCurve {
    /// The algorithm's name.
    pub algo: String,
    /// The environment's ID.
    pub env: String,
    /// The folders of its runs, one per seed.
    pub runs: Vec<PathBuf>,
    /// Where the curve ends: the last step that all of its runs have reached.
    pub steps: u64,
    /// The mean over its runs there.
    pub return_mean: f64,
}

/// Points of a curve.
const GRID: usize = 300;

/// How sure the bands are.
const CONFIDENCE: f64 = 0.95;

/// Draws the learning curves of several runs into one SVG file: one panel per environment, one curve per algorithm, the mean
/// over the seeds with its 95% confidence band (Student's t).
///
/// A folder is that of a run, or one that holds such folders (the seeds of one command). At each step of a common grid, a
/// run counts with the mean return of its last 100 episodes then; a curve begins where all of its runs have finished an
/// episode, and ends where the first of them ends.
///
/// # Errors
/// If a folder is not a run's, one of its files is malformed (with the line), no episode has ended in any of a curve's runs, or
/// `out` can't be written.
pub fn plot_runs(folders: &[PathBuf], out: &Path) -> Result<Vec<PlottedCurve>, FormatError> {
    let mut groups: Vec<Group> = Vec::new();
    for folder in folders {
        for path in run_folders(folder)? {
            let (_, spec) = RunFolder::open(&path)?;
            let log = path.join(files::METRICS_CSV);
            let rows = MetricsRow::read_all(&log)?;
            let line: Vec<(u64, f64)> =
                rows.iter().filter_map(|row| Some((row.steps, row.return_mean?))).collect();
            if line.is_empty() {
                return Err(FormatError::new(
                    &log,
                    "no episode has ended in this run: there is nothing to draw",
                ));
            }
            match groups.iter_mut().find(|g| g.spec.algo == spec.algo && g.spec.env == spec.env) {
                Some(group) if group.paths.contains(&path) => {}
                Some(group) => {
                    group.paths.push(path);
                    group.lines.push(line);
                }
                None => groups.push(Group { spec, paths: vec![path], lines: vec![line] }),
            }
        }
    }
    if groups.is_empty() {
        return Err(FormatError::new(out, "there are no runs to draw"));
    }

    let mut algos: Vec<&str> = Vec::new();
    let mut panels: Vec<(&str, Panel)> = Vec::new();
    let mut plotted = Vec::new();
    for group in &groups {
        let color = algos.iter().position(|a| *a == group.spec.algo).unwrap_or_else(|| {
            algos.push(&group.spec.algo);
            algos.len() - 1
        });
        let index = panels.iter().position(|(env, _)| *env == group.spec.env).unwrap_or_else(|| {
            let title = group.spec.env.clone();
            let y_label = "return (mean of 100 episodes)";
            panels.push((&group.spec.env, Panel { title, y_label, ..Default::default() }));
            panels.len() - 1
        });
        let panel = &mut panels[index].1;
        let curve = group.curve(color)?;
        let &(steps, return_mean) = curve.line.last().expect("a curve has points");
        panel.steps = panel.steps.max(steps as u64);
        panel.threshold = panel.threshold.or(group.spec.threshold);
        panel.curves.push(curve);
        plotted.push(PlottedCurve {
            algo: group.spec.algo.clone(),
            env: group.spec.env.clone(),
            runs: group.paths.clone(),
            steps: steps as u64,
            return_mean,
        });
    }
    let panels: Vec<Panel> = panels.into_iter().map(|(_, panel)| panel).collect();
    let svg = draw(&panels).map_err(|problem| FormatError::new(out, problem))?;
    write_atomically(out, Durable::No, |file| file.write_all(svg.as_bytes()))?;
    Ok(plotted)
}

/// The runs of one algorithm on one environment.
struct Group {
    spec: RunSpec,
    paths: Vec<PathBuf>,
    /// Per run: (steps, mean return).
    lines: Vec<Vec<(u64, f64)>>,
}

impl Group {
    fn curve(&self, color: usize) -> Result<Curve, FormatError> {
        let first = self.lines.iter().map(|line| line[0].0).max().expect("a group has a run");
        let last = self.lines.iter().map(|line| line[line.len() - 1].0).min().expect("a group has a run");
        if first > last {
            let problem = "its runs have no step in common: one ends before another finishes an episode";
            return Err(FormatError::new(&self.paths[0], problem));
        }
        let n = self.lines.len();
        let label = match n {
            1 => format!("{}, seed {}", self.spec.algo, self.spec.seed),
            _ => format!("{}, {n} seeds", self.spec.algo),
        };
        let mut curve = Curve { label, color, ..Default::default() };
        let mut at = vec![0; n];
        let mut values = vec![0.0; n];
        let points = if first == last { 1 } else { GRID };
        for i in 0..points {
            let step = last
                - ((last - first) as u128 * (points - 1 - i) as u128 / (points - 1).max(1) as u128) as u64;
            for ((line, at), value) in self.lines.iter().zip(&mut at).zip(&mut values) {
                // The row that was the newest at that step.
                while *at + 1 < line.len() && line[*at + 1].0 <= step {
                    *at += 1;
                }
                *value = line[*at].1;
            }
            curve.line.push((step as f64, stats::mean(&values)));
            if let Some(band) = stats::student_t(&values, CONFIDENCE) {
                curve.band.push((step as f64, band.low, band.high));
            }
        }
        Ok(curve)
    }
}

/// The run folder itself, or the run folders in it, by name.
fn run_folders(folder: &Path) -> Result<Vec<PathBuf>, FormatError> {
    if !folder.is_dir() {
        return Err(FormatError::new(folder, "is not a folder"));
    }
    if folder.join(files::CONFIG).exists() {
        return Ok(vec![folder.to_owned()]);
    }
    let unreadable = |e| FormatError::io(folder, "can't be read", &e);
    let mut inside = Vec::new();
    for entry in fs::read_dir(folder).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        if path.join(files::CONFIG).exists() {
            inside.push(path);
        }
    }
    if inside.is_empty() {
        let problem =
            format!("is not the folder of a run: it has no {}, and no folder in it has", files::CONFIG);
        return Err(FormatError::new(folder, problem));
    }
    // seed-2 before seed-10.
    inside.sort_by_key(|path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        (name.len(), name)
    });
    Ok(inside)
}
