use crate::atomic::{Durable, write_atomically};
use crate::checkpoint::CheckpointId;
use crate::log::{EpisodeRows, MetricsRows, TensorBoard, now};
use crate::{Checkpoint, EpisodeStats, FormatError, Learner, Metric, RunError, RunSpec, Summary, Update};
use std::fs;
use std::path::{Path, PathBuf};

/// The names of the files in a run folder.
pub mod files {
    /// What the run is: [`RunSpec`](crate::RunSpec).
    pub const CONFIG: &str = "config.toml";
    /// One row per iteration.
    pub const METRICS_CSV: &str = "metrics.csv";
    /// The same rows as JSON, one object per line.
    pub const METRICS_JSONL: &str = "metrics.jsonl";
    /// One row per finished episode: its number, the step at which it ended, its return and its length.
    pub const EPISODES: &str = "episodes.csv";
    /// The metrics for TensorBoard.
    pub const TENSORBOARD: &str = "events.out.tfevents.rederive";
    /// The learning curve.
    pub const CURVE: &str = "curve.svg";
    /// Everything that the run needs to go on.
    pub const CHECKPOINT: &str = "checkpoint.safetensors";
    /// How the run went, once it is finished.
    pub const SUMMARY: &str = "summary.json";
}

/// How often a run saves its checkpoint; it always does at its start and its end.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CheckpointEvery {
    /// After so many updates, if any.
    pub updates: Option<u64>,
    /// After so many seconds.
    pub seconds: f64,
}

impl Default for CheckpointEvery {
    fn default() -> Self {
        CheckpointEvery { updates: None, seconds: 10.0 }
    }
}

/// The folder of a run: its configuration, its logs, its checkpoint, its curve and its summary (see [`files`]).
///
/// Files that are replaced are replaced as a whole; logs only grow. When a run is resumed, the logs are cut back to the
/// checkpoint, so that an interrupted and resumed run leaves the same rows and the same checkpoint as an uninterrupted one.
#[derive(Debug)]
pub struct RunFolder {
    path: PathBuf,
    existing: bool,
    /// How often the run saves its checkpoint.
    pub checkpoint_every: CheckpointEvery,
}

impl RunFolder {
    /// Makes a folder for a new run (and the folders above it) and writes its `config.toml`.
    ///
    /// # Errors
    /// If `spec` is out of range, the folder already holds a run, or it can't be written.
    pub fn create(path: &Path, spec: &RunSpec) -> Result<Self, RunError> {
        spec.validate()?;
        for name in [files::CONFIG, files::CHECKPOINT] {
            if path.join(name).symlink_metadata().is_ok() {
                let problem = "already holds a run: resume it, or choose another folder";
                return Err(FormatError::new(path, problem).into());
            }
        }
        fs::create_dir_all(path).map_err(|e| FormatError::io(path, "can't be created", &e))?;
        write_config(path, spec)?;
        Ok(RunFolder { path: path.to_owned(), existing: false, checkpoint_every: CheckpointEvery::default() })
    }

    /// Opens the folder of an existing run, to go on with it or to look at it, and reads its `config.toml`.
    ///
    /// # Errors
    /// If the folder or its `config.toml` is missing or malformed (with line and column).
    pub fn open(path: &Path) -> Result<(Self, RunSpec), FormatError> {
        if !path.is_dir() {
            return Err(FormatError::new(path, "is not a folder"));
        }
        let config = path.join(files::CONFIG);
        if !config.exists() {
            let problem = format!("is not the folder of a run: it has no {}", files::CONFIG);
            return Err(FormatError::new(path, problem));
        }
        let text = fs::read_to_string(&config).map_err(|e| FormatError::io(&config, "can't be read", &e))?;
        let spec: RunSpec = toml::from_str(&text).map_err(|e| toml_error(&config, &text, &e))?;
        spec.validate().map_err(|e| FormatError::new(&config, e))?;
        let folder =
            RunFolder { path: path.to_owned(), existing: true, checkpoint_every: CheckpointEvery::default() };
        Ok((folder, spec))
    }

    /// `root/name`, or `root/name-2`, `root/name-3`, ... : the first that does not exist.
    pub fn fresh(root: &Path, name: &str) -> PathBuf {
        let first = root.join(name);
        if first.symlink_metadata().is_err() {
            return first;
        }
        let numbered = (2u64..).map(|i| root.join(format!("{name}-{i}")));
        numbered.into_iter().find(|p| p.symlink_metadata().is_err()).expect("not every number is taken")
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Reads the checkpoint and checks that it belongs to the run that `spec` describes.
    ///
    /// # Errors
    /// If it is missing, malformed, or of another algorithm, environment or configuration.
    pub fn read_checkpoint(&self, spec: &RunSpec) -> Result<Checkpoint, FormatError> {
        let path = self.checkpoint_path();
        let (checkpoint, id) = Checkpoint::read(&path)?;
        let expected = checkpoint_id(spec);
        let other = |what: &str, is: &str, expected: &str| {
            Err(FormatError::at(&path, "header", format_args!("{what} is {is}, but the run has {expected}")))
        };
        if id.algo != expected.algo {
            return other("the algorithm", &id.algo, &expected.algo);
        }
        if id.env != expected.env {
            return other("the environment", &id.env, &expected.env);
        }
        if id.fingerprint != expected.fingerprint {
            let problem = format!(
                "belongs to a run with another seed or configuration than {} says",
                self.path.join(files::CONFIG).display()
            );
            return Err(FormatError::at(&path, "header", problem));
        }
        Ok(checkpoint)
    }

    /// Puts the checkpoint's parameters into `learner`: what an evaluation needs.
    ///
    /// # Errors
    /// As [`read_checkpoint`](Self::read_checkpoint), or if it does not fit the learner.
    pub fn restore(&self, spec: &RunSpec, learner: &mut dyn Learner) -> Result<(), FormatError> {
        let checkpoint = self.read_checkpoint(spec)?;
        learner.load(&checkpoint).map_err(|problem| FormatError::new(&self.checkpoint_path(), problem))
    }

    /// The checkpoint's file.
    pub fn checkpoint_path(&self) -> PathBuf {
        self.path.join(files::CHECKPOINT)
    }

    /// Whether the folder was there before: then the run goes on from its checkpoint.
    pub(crate) fn existing(&self) -> bool {
        self.existing
    }

    pub(crate) fn write_config(&self, spec: &RunSpec) -> Result<(), FormatError> {
        write_config(&self.path, spec)
    }

    pub(crate) fn write_checkpoint(
        &self,
        spec: &RunSpec,
        checkpoint: &Checkpoint,
        durable: Durable,
    ) -> Result<(), FormatError> {
        checkpoint.write_with(&self.checkpoint_path(), &checkpoint_id(spec), durable)
    }

    pub(crate) fn write_summary(&self, summary: &Summary) -> Result<(), FormatError> {
        write_atomically(&self.path.join(files::SUMMARY), Durable::No, |out| {
            serde_json::to_writer_pretty(&mut *out, summary)?;
            out.write_all(b"\n")
        })
    }

    /// Removes a summary that is about to be out of date.
    pub(crate) fn remove_summary(&self) -> Result<(), FormatError> {
        let path = self.path.join(files::SUMMARY);
        match fs::remove_file(&path) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                Err(FormatError::io(&path, "can't be removed", &e))
            }
            _ => Ok(()),
        }
    }
}

/// The logs of a folder, open for writing.
#[derive(Debug)]
pub(crate) struct Logs {
    metrics: MetricsRows,
    episodes: EpisodeRows,
    board: TensorBoard,
    /// Unix time minus the run's wall time, so that one clock serves both.
    unix_start: f64,
}

impl Logs {
    pub(crate) fn create(folder: &Path, metrics: &[Metric]) -> Result<Self, FormatError> {
        let at = |name: &str| folder.join(name);
        Ok(Logs {
            metrics: MetricsRows::create(&at(files::METRICS_CSV), &at(files::METRICS_JSONL), metrics)?,
            episodes: EpisodeRows::create(&at(files::EPISODES))?,
            board: TensorBoard::create(&at(files::TENSORBOARD), metrics)?,
            unix_start: now(),
        })
    }

    /// The logs cut back to a checkpoint, and the seconds that the run had taken by then.
    pub(crate) fn resume(
        folder: &Path,
        metrics: &[Metric],
        (update, steps, episodes): (u64, u64, u64),
    ) -> Result<(Self, f64), FormatError> {
        let at = |name: &str| folder.join(name);
        let (csv, jsonl) = (at(files::METRICS_CSV), at(files::METRICS_JSONL));
        let (metrics_rows, seconds) = MetricsRows::resume(&csv, &jsonl, metrics, update)?;
        let logs = Logs {
            metrics: metrics_rows,
            episodes: EpisodeRows::resume(&at(files::EPISODES), episodes)?,
            board: TensorBoard::resume(&at(files::TENSORBOARD), metrics, steps)?,
            unix_start: now() - seconds,
        };
        Ok((logs, seconds))
    }

    #[inline]
    pub(crate) fn episode(&mut self, number: u64, episode: &EpisodeStats) -> Result<(), FormatError> {
        self.episodes.write(number, episode)
    }

    pub(crate) fn update(&mut self, update: &Update<'_>) -> Result<(), FormatError> {
        self.metrics.write(update)?;
        self.board.write(update, self.unix_start + update.wall_seconds)
    }

    pub(crate) fn flush(&mut self) -> Result<(), FormatError> {
        self.metrics.flush()?;
        self.episodes.flush()?;
        self.board.flush()
    }

    pub(crate) fn sync(&mut self) -> Result<(), FormatError> {
        self.metrics.sync()?;
        self.episodes.sync()?;
        self.board.sync()
    }
}

fn checkpoint_id(spec: &RunSpec) -> CheckpointId {
    CheckpointId { algo: spec.algo.clone(), env: spec.env.clone(), fingerprint: spec.fingerprint() }
}

fn write_config(folder: &Path, spec: &RunSpec) -> Result<(), FormatError> {
    let path = folder.join(files::CONFIG);
    let text = toml::to_string(spec).map_err(|e| FormatError::new(&path, e))?;
    write_atomically(&path, Durable::No, |out| out.write_all(text.as_bytes()))
}

/// A TOML error as path, line and column, and the problem.
pub(crate) fn toml_error(path: &Path, text: &str, error: &toml::de::Error) -> FormatError {
    let problem = error.message().trim_end();
    match error.span() {
        Some(span) => {
            let before = &text[..span.start.min(text.len())];
            let line = before.matches('\n').count() + 1;
            let column = before.rsplit('\n').next().unwrap_or("").chars().count() + 1;
            FormatError::at(path, format_args!("line {line}, column {column}"), problem)
        }
        None => FormatError::new(path, problem),
    }
}
