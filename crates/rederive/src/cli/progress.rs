//! The progress of training on standard error: a bar that moves on a terminal, now and then a line elsewhere.

use super::report::{duration, grouped, note};
use console::Style;
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use rederive::train::{Event, Started, Update};
use std::time::{Duration, Instant};

/// The bars of all runs.
pub struct Board {
    bars: MultiProgress,
    /// One run has two lines; several have one line each.
    single: bool,
    moving: bool,
}

impl Board {
    pub fn new(runs: usize) -> Self {
        let target = ProgressDrawTarget::stderr();
        let moving = !target.is_hidden();
        Board { bars: MultiProgress::with_draw_target(target), single: runs == 1, moving }
    }

    /// Prints a line above the bars.
    pub fn say(&self, line: impl std::fmt::Display) {
        if self.moving { self.bars.suspend(|| note(line)) } else { note(line) }
    }

    /// The progress of one run.
    pub fn run(&self) -> Progress<'_> {
        Progress { board: self, bar: None, drawn: Instant::now(), tenth: 0, seed: 0 }
    }
}

/// The progress of one run.
pub struct Progress<'a> {
    board: &'a Board,
    bar: Option<ProgressBar>,
    /// When the bar was last brought up to date.
    drawn: Instant,
    /// Tenths of the run that have been reported where nothing moves.
    tenth: u64,
    seed: u64,
}

/// Bars are brought up to date this often: faster can't be read.
const REFRESH: Duration = Duration::from_millis(100);

impl Progress<'_> {
    pub fn event(&mut self, event: &Event<'_>) {
        match event {
            Event::Started(started) => self.start(started),
            Event::Update(update) => self.update(update),
            Event::Interrupted(_) | Event::Diverged(_) | Event::Finished(_) => self.clear(),
            _ => {}
        }
    }

    /// Takes the bar away.
    pub fn clear(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
            self.board.bars.remove(&bar);
        }
    }

    fn start(&mut self, started: &Started<'_>) {
        self.seed = started.seed;
        let bold = Style::new().for_stderr().bold();
        let mut line = format!(
            "{} on {}, seed {}, {} steps",
            bold.apply_to(started.algo),
            bold.apply_to(started.env),
            started.seed,
            grouped(started.total_steps)
        );
        if started.steps > 0 {
            line += &format!(", resumed at step {}", grouped(started.steps));
        }
        if let Some(folder) = started.run_dir {
            line += &format!(" -> {}", folder.display());
        }
        if self.board.single || !self.board.moving {
            self.board.say(line);
        }
        self.tenth = 10 * started.steps / started.total_steps.max(1);
        if self.board.moving {
            let bar = self.board.bars.add(ProgressBar::new(started.total_steps));
            bar.set_style(style(self.board.single));
            bar.set_prefix(format!("seed {}", started.seed));
            bar.set_message(if self.board.single { "\n " } else { "" });
            bar.set_position(started.steps);
            bar.tick();
            self.bar = Some(bar);
        }
    }

    fn update(&mut self, update: &Update<'_>) {
        let last = update.steps >= update.total_steps;
        match &self.bar {
            Some(bar) => {
                if self.drawn.elapsed() < REFRESH && !last {
                    return;
                }
                self.drawn = Instant::now();
                bar.set_position(update.steps);
                let left = format!("{} left", duration(update.seconds_left()));
                bar.set_message(if self.board.single {
                    let (steps, total) = (grouped(update.steps), grouped(update.total_steps));
                    format!("{steps} / {total} steps · {left}\n  {}", figures(update))
                } else {
                    format!("{} · {left}", figures(update))
                });
            }
            None => {
                let tenth = 10 * update.steps / update.total_steps.max(1);
                if tenth > self.tenth {
                    self.tenth = tenth;
                    let seed =
                        if self.board.single { String::new() } else { format!("seed {:<4} ", self.seed) };
                    let left = duration(update.seconds_left());
                    let left = if last { String::new() } else { format!(" · {left} left") };
                    note(format_args!(
                        "{seed}{:>3.0}% · {}{left}",
                        100.0 * update.progress(),
                        figures(update)
                    ));
                }
            }
        }
    }
}

fn style(single: bool) -> ProgressStyle {
    let template = if single {
        "{bar:22.cyan/dim} {percent:>3}% · {msg}"
    } else {
        "{prefix:8} {bar:12.cyan/dim} {percent:>3}% · {wide_msg}"
    };
    ProgressStyle::with_template(template)
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .progress_chars("━╸─")
}

/// `132k steps/s · return 487.2 · KL 0.0041 · clipped 12%`, with what the algorithm reports of it.
fn figures(update: &Update<'_>) -> String {
    let mut parts = vec![format!("{} steps/s", thousands(update.steps_per_second))];
    parts.extend(update.return_mean.map(|return_| format!("return {return_:.1}")));
    parts.extend(update.get("approx_kl").map(|kl| format!("KL {kl:.4}")));
    parts.extend(update.get("clip_fraction").map(|share| format!("clipped {:.0}%", 100.0 * share)));
    parts.join(" · ")
}

/// `950`, `132k`, `1.3M`.
pub fn thousands(x: f64) -> String {
    match x {
        x if x < 1e3 => format!("{x:.0}"),
        x if x < 1e4 => format!("{:.1}k", x / 1e3),
        x if x < 1e6 => format!("{:.0}k", x / 1e3),
        x => format!("{:.1}M", x / 1e6),
    }
}
