use crate::atomic::Durable;
use crate::curve::draw_curve;
use crate::event::{Event, Started, Update};
use crate::folder::Logs;
use crate::{Checkpoint, Diverged, EpisodeLog, EpisodeStats, FormatError, Learner, Report};
use crate::{RunError, RunFolder, RunSpec, Summary};
use rederive_env::VecEnv;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

/// How a run ended, where it did not fail.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// How it went.
    pub summary: Summary,
    /// Whether it was asked to stop before its last step.
    pub interrupted: bool,
}

/// How often the logs are handed to the operating system, so that somebody who watches the files sees them grow.
const FLUSH_SECONDS: f64 = 1.0;

/// A younger run has less to lose in a power cut than it costs to synchronise its files: tens of milliseconds.
const SYNC_SECONDS: f64 = 5.0;

/// Trains `learner` on `env` as `spec` says, and tells `sink` of everything that happens.
///
/// With a `folder` the run leaves its logs and checkpoints there. A folder that was [opened](RunFolder::open) goes on from
/// its checkpoint, `spec.steps` may then be larger than it was; one that was [created](RunFolder::create), and no folder,
/// start with a reset of `env` under `spec.seed`. As soon as `stop` is true the iteration is finished, the checkpoint saved,
/// and the run returns.
///
/// The result depends on `spec` alone: neither on the clock nor on interruptions.
///
/// # Errors
/// - [`Config`](RunError::Config) if `spec` is out of range;
/// - [`Diverged`](RunError::Diverged) if the learner says so, or a return or something in the checkpoint is not finite; the
///   checkpoint before that stays;
/// - [`Format`](RunError::Format) if the folder can't be written, or its checkpoint or logs don't fit.
///
/// # Panics
/// If `learner` or `env` is not the one that `spec` names.
pub fn train(
    learner: &mut dyn Learner,
    env: &mut dyn VecEnv,
    spec: &RunSpec,
    folder: Option<&RunFolder>,
    stop: &AtomicBool,
    sink: &mut dyn FnMut(&Event<'_>),
) -> Result<Outcome, RunError> {
    spec.validate()?;
    assert_eq!(learner.algo(), spec.algo, "the learner's algorithm against the specification's");
    assert_eq!(env.id(), spec.env, "the environment's ID against the specification's");
    let run = Run::begin(learner, env, spec, folder)?;
    run.go(learner, env, stop, sink)
}

struct Run<'a> {
    spec: &'a RunSpec,
    folder: Option<&'a RunFolder>,
    logs: Option<Logs>,
    episodes: EpisodeLog,
    progress: Progress,
    total_steps: u64,
    /// When this process began, and what the run had already done then.
    start: Instant,
    seconds_before: f64,
    steps_before: u64,
    /// The update whose state the folder's checkpoint has.
    saved: Option<u64>,
}

impl<'a> Run<'a> {
    fn begin(
        learner: &mut dyn Learner,
        env: &mut dyn VecEnv,
        spec: &'a RunSpec,
        folder: Option<&'a RunFolder>,
    ) -> Result<Self, RunError> {
        let per_iteration = learner.steps_per_iteration().max(1);
        let mut run = Run {
            spec,
            folder,
            logs: None,
            episodes: EpisodeLog::new(env.num_envs()),
            progress: Progress::default(),
            total_steps: (spec.steps / per_iteration).max(1) * per_iteration,
            start: Instant::now(),
            seconds_before: 0.0,
            steps_before: 0,
            saved: None,
        };
        match folder {
            Some(folder) if folder.existing() => run.resume(learner, env, folder)?,
            _ => env.reset(spec.seed),
        }
        if let Some(folder) = folder.filter(|f| !f.existing()) {
            run.logs = Some(Logs::create(folder.path(), learner.metrics())?);
        }
        Ok(run)
    }

    fn resume(
        &mut self,
        learner: &mut dyn Learner,
        env: &mut dyn VecEnv,
        folder: &RunFolder,
    ) -> Result<(), FormatError> {
        let checkpoint = folder.read_checkpoint(self.spec)?;
        let path = folder.checkpoint_path();
        let misfit = |problem: String| FormatError::new(&path, problem);
        self.progress = checkpoint.get("run.progress").map_err(misfit)?;
        self.episodes = checkpoint.get("run.episodes").map_err(misfit)?;
        if self.episodes.num_envs() != env.num_envs() {
            let problem =
                format!("has {} environments, expected {}", self.episodes.num_envs(), env.num_envs());
            return Err(FormatError::at(&path, "state run.episodes", problem));
        }
        let env_state =
            checkpoint.state.get("run.env").ok_or_else(|| misfit("state run.env is missing".to_owned()))?;
        env.load(env_state).map_err(|e| FormatError::at(&path, "state run.env", e))?;
        learner.load(&checkpoint).map_err(misfit)?;

        let Progress { update, steps, .. } = self.progress;
        let position = (update, steps, self.episodes.count());
        let (logs, seconds) = Logs::resume(folder.path(), learner.metrics(), position)?;
        folder.remove_summary()?;
        folder.write_config(self.spec)?;
        self.logs = Some(logs);
        self.seconds_before = seconds;
        self.steps_before = steps;
        self.saved = Some(update);
        Ok(())
    }

    fn go(
        mut self,
        learner: &mut dyn Learner,
        env: &mut dyn VecEnv,
        stop: &AtomicBool,
        sink: &mut dyn FnMut(&Event<'_>),
    ) -> Result<Outcome, RunError> {
        sink(&Event::Started(Started {
            algo: &self.spec.algo,
            env: &self.spec.env,
            seed: self.spec.seed,
            steps: self.progress.steps,
            total_steps: self.total_steps,
            threshold: self.spec.threshold,
            metrics: learner.metrics(),
            run_dir: self.folder.map(RunFolder::path),
        }));
        let end = self.iterate(learner, env, stop, sink);
        if let Err(RunError::Diverged(diverged)) = &end {
            // The rows up to here are what one wants to look at.
            if let Some(logs) = &mut self.logs {
                logs.flush()?;
            }
            self.draw()?;
            sink(&Event::Diverged(diverged));
        }
        let interrupted = end?;
        let summary = self.summary(self.seconds());
        self.draw()?;
        if let Some(folder) = self.folder.filter(|_| !interrupted) {
            folder.write_summary(&summary)?;
        }
        sink(&if interrupted { Event::Interrupted(&summary) } else { Event::Finished(&summary) });
        Ok(Outcome { summary, interrupted })
    }

    /// Takes the steps; whether it was interrupted.
    fn iterate(
        &mut self,
        learner: &mut dyn Learner,
        env: &mut dyn VecEnv,
        stop: &AtomicBool,
        sink: &mut dyn FnMut(&Event<'_>),
    ) -> Result<bool, RunError> {
        // A state that can't be saved, or a folder without room, shows now and not after hours.
        self.save(learner, env, sink, When::Between)?;
        let metrics = learner.metrics();
        let every = self.folder.map(|f| f.checkpoint_every).unwrap_or_default();
        let mut report = Report::default();
        let mut last_save = (self.progress.update, self.seconds_before);
        let mut last_flush = self.seconds_before;
        while self.progress.steps < self.total_steps {
            if stop.load(Ordering::Relaxed) {
                self.save(learner, env, sink, When::Between)?;
                return Ok(true);
            }
            let progress = self.progress.steps as f64 / self.total_steps as f64;
            learner.iterate(env, progress, &mut self.episodes, &mut report)?;
            self.progress.update += 1;
            self.progress.steps += report.steps;

            for episode in self.episodes.drain() {
                if !episode.return_.is_finite() {
                    return Err(Diverged { update: self.progress.update, term: "return".to_owned() }.into());
                }
                self.progress.push(&episode, self.spec.threshold);
                if let Some(logs) = &mut self.logs {
                    logs.episode(self.progress.episodes, &episode)?;
                }
                sink(&Event::EpisodeEnd(episode));
            }

            let seconds_here = self.start.elapsed().as_secs_f64();
            let seconds = self.seconds_before + seconds_here;
            let update = Update {
                update: self.progress.update,
                steps: self.progress.steps,
                total_steps: self.total_steps,
                episodes: self.progress.episodes,
                return_mean: self.progress.return_mean(),
                length_mean: self.progress.length_mean(),
                metrics,
                values: &report.values,
                wall_seconds: seconds,
                steps_per_second: (self.progress.steps - self.steps_before) as f64 / seconds_here.max(1e-9),
            };
            if let Some(logs) = &mut self.logs {
                logs.update(&update)?;
                if seconds - last_flush >= FLUSH_SECONDS {
                    logs.flush()?;
                    last_flush = seconds;
                }
            }
            sink(&Event::Update(update));

            if every.updates.is_some_and(|u| self.progress.update - last_save.0 >= u)
                || seconds - last_save.1 >= every.seconds
            {
                self.save(learner, env, sink, When::Between)?;
                last_save = (self.progress.update, seconds);
            }
        }
        self.save(learner, env, sink, When::End)?;
        Ok(false)
    }

    /// Brings the folder's checkpoint up to date, and the logs at least as far.
    fn save(
        &mut self,
        learner: &dyn Learner,
        env: &dyn VecEnv,
        sink: &mut dyn FnMut(&Event<'_>),
        when: When,
    ) -> Result<(), RunError> {
        let seconds = self.seconds();
        let (Some(folder), Some(logs)) = (self.folder, &mut self.logs) else { return Ok(()) };
        let Progress { update, steps, .. } = self.progress;
        let durable = if seconds >= SYNC_SECONDS { Durable::Yes } else { Durable::No };
        // A run that is over needs its checkpoint, but no log to be resumed.
        match (durable, when) {
            (Durable::Yes, When::Between) => logs.sync()?,
            _ => logs.flush()?,
        }
        if self.saved == Some(update) {
            return Ok(());
        }
        let mut checkpoint = Checkpoint::default();
        learner.save(&mut checkpoint);
        checkpoint.state.insert("run.env".to_owned(), env.save());
        checkpoint.put("run.episodes", &self.episodes);
        checkpoint.put("run.progress", &self.progress);
        if let Some(term) = checkpoint.not_finite() {
            return Err(Diverged { update, term }.into());
        }
        folder.write_checkpoint(self.spec, &checkpoint, durable)?;
        self.saved = Some(update);
        sink(&Event::CheckpointSaved { path: &folder.checkpoint_path(), update, steps });
        Ok(())
    }

    fn draw(&self) -> Result<(), FormatError> {
        self.folder.map_or(Ok(()), |folder| draw_curve(folder.path(), self.spec))
    }

    fn seconds(&self) -> f64 {
        // A resumed run that has nothing left to do has taken what it took.
        let here =
            if self.progress.steps > self.steps_before { self.start.elapsed().as_secs_f64() } else { 0.0 };
        self.seconds_before + here
    }

    fn summary(&self, wall_seconds: f64) -> Summary {
        let Progress { steps, episodes, first_step_at_threshold, .. } = self.progress;
        Summary {
            algo: self.spec.algo.clone(),
            env: self.spec.env.clone(),
            seed: self.spec.seed,
            steps,
            wall_seconds,
            steps_per_second: if wall_seconds > 0.0 { steps as f64 / wall_seconds } else { 0.0 },
            episodes,
            final_return_mean: self.progress.return_mean(),
            best_return_mean: self.progress.best.or(self.progress.return_mean()),
            first_step_at_threshold,
            run_dir: self.folder.map(|f| f.path().to_owned()),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum When {
    Between,
    End,
}

/// How many episodes the means cover.
const WINDOW: usize = 100;

/// How far a run has come.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Progress {
    update: u64,
    steps: u64,
    episodes: u64,
    /// Returns and lengths of the last episodes, and their sums.
    window: VecDeque<(f64, u64)>,
    return_sum: f64,
    length_sum: u64,
    best: Option<f64>,
    first_step_at_threshold: Option<u64>,
}

impl Progress {
    #[inline]
    fn push(&mut self, episode: &EpisodeStats, threshold: Option<f64>) {
        self.episodes += 1;
        if self.window.len() == WINDOW {
            let (return_, length) = self.window.pop_front().expect("the window is full");
            self.return_sum -= return_;
            self.length_sum -= length;
        }
        self.window.push_back((episode.return_, episode.length));
        self.return_sum += episode.return_;
        self.length_sum += episode.length;
        if self.episodes.is_multiple_of(WINDOW as u64) {
            // So that the rounding of subtractions does not add up.
            self.return_sum = self.window.iter().map(|(return_, _)| return_).sum();
        }
        if self.window.len() == WINDOW {
            let mean = self.return_sum / WINDOW as f64;
            self.best = Some(self.best.map_or(mean, |best| best.max(mean)));
            if self.first_step_at_threshold.is_none() && threshold.is_some_and(|t| mean >= t) {
                self.first_step_at_threshold = Some(episode.step);
            }
        }
    }

    fn return_mean(&self) -> Option<f64> {
        (!self.window.is_empty()).then(|| self.return_sum / self.window.len() as f64)
    }

    fn length_mean(&self) -> Option<f64> {
        (!self.window.is_empty()).then(|| self.length_sum as f64 / self.window.len() as f64)
    }
}
