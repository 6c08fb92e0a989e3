//! `rederive verify`: the registered checks of matching equations.

use super::args::VerifyArgs;
use super::interrupt;
use super::report::{self, Failure, counted, duration};
use super::suggest::did_you_mean;
use console::Style;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use rederive_tests::{Check, Outcome};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

pub fn run(args: VerifyArgs) -> Result<(), Failure> {
    let stop = interrupt::flag()?;
    let pattern = args.pattern.as_deref().unwrap_or("");
    let all = rederive_tests::registry();
    let checks: Vec<&Check> = all.iter().filter(|check| matches(pattern, &check.name())).collect();
    if checks.is_empty() {
        let names = || all.iter().map(|c| c.id).chain(all.iter().map(|c| c.property));
        let near = did_you_mean(pattern, names());
        return Err(Failure::Input(format!(
            "no check matches `{pattern}`{near} (`rederive list equations` shows all)"
        )));
    }

    check_all(&checks, &args, stop)
}

/// Runs the checks on several threads, prints their table or document, and fails if one of them fails.
fn check_all(checks: &[&Check], args: &VerifyArgs, stop: &AtomicBool) -> Result<(), Failure> {
    let layout = Layout::new(checks, report::columns().unwrap_or(usize::MAX));
    let bar = bar(checks.len() as u64);
    let print = |text: &str| if args.json { Ok(()) } else { bar.suspend(|| report::stdout(text)) };
    print(&layout.head())?;

    let threads = args.threads.map_or_else(cores, usize::from).min(checks.len());
    let start = Instant::now();
    let next = AtomicUsize::new(0);
    let mut outcomes: Vec<Outcome> = Vec::with_capacity(checks.len());
    std::thread::scope(|scope| {
        let (sender, receiver) = mpsc::channel();
        for _ in 0..threads {
            let (sender, next, checks) = (sender.clone(), &next, checks);
            scope.spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    let i = next.fetch_add(1, Ordering::Relaxed);
                    let Some(check) = checks.get(i) else { break };
                    if sender.send((i, check.run(args.cases, args.seed))).is_err() {
                        break;
                    }
                }
            });
        }
        drop(sender);
        // Rows come out in the order of the ledger, whatever the threads do.
        let mut early = BTreeMap::new();
        loop {
            match receiver.recv_timeout(Duration::from_millis(100)) {
                Ok((i, outcome)) => {
                    early.insert(i, outcome);
                    bar.inc(1);
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) if stop.load(Ordering::Relaxed) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            while let Some(outcome) = early.remove(&outcomes.len()) {
                print(&layout.row(&outcome, outcomes.last().map(|o| o.id)))?;
                outcomes.push(outcome);
            }
            if let Some(waiting) = checks.get(outcomes.len()) {
                bar.set_message(waiting.name());
            }
            if stop.load(Ordering::Relaxed) {
                // A check can't be stopped half-way, and nobody waits for it.
                bar.finish_and_clear();
                outcomes.extend(early.into_values());
                let left = checks.len() - outcomes.len();
                let failure = Failure::Interrupted(format!(
                    "{} done, {left} left out",
                    counted(outcomes.len(), "check")
                ));
                if args.json {
                    report::json(&outcomes)?;
                }
                report::error(&failure);
                std::process::exit(failure.exit_code().into());
            }
        }
        Ok::<(), Failure>(())
    })?;
    bar.finish_and_clear();

    let failed: Vec<&Outcome> = outcomes.iter().filter(|o| !o.passed).collect();
    if args.json {
        report::json(&outcomes)?;
    } else {
        for outcome in &failed {
            report::stdout(&counterexample(outcome, args))?;
        }
    }
    let ran = format!("{} in {}", counted(outcomes.len(), "check"), duration(start.elapsed().as_secs_f64()));
    if failed.is_empty() {
        let passed = Style::new().for_stderr().green().bold();
        report::note(format_args!("{} {ran}", passed.apply_to("all passed:")));
        Ok(())
    } else {
        Err(Failure::Run(format!("{} failed of {ran}", counted(failed.len(), "check"))))
    }
}
pub fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

fn bar(checks: u64) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(checks), ProgressDrawTarget::stderr());
    if let Ok(style) =
        ProgressStyle::with_template("{bar:24.cyan/dim} {pos}/{len} · {elapsed} · {wide_msg:.dim}")
    {
        bar.set_style(style.progress_chars("━╸─"));
    }
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}

/// Whether a pattern is part of a check's name; `*` stands for anything.
fn matches(pattern: &str, name: &str) -> bool {
    let mut rest = name;
    pattern.split('*').all(|part| match rest.find(part) {
        Some(at) => {
            rest = &rest[at + part.len()..];
            true
        }
        None => false,
    })
}

/// The layout of the table: one line per check with everything on it, or, where a terminal is too narrow for that, with the
/// equation on a line above its checks.
struct Layout {
    id: usize,
    property: usize,
    narrow: bool,
}

/// The columns after the property: cases, largest error, tolerance, seconds and verdict.
const NUMBERS: usize = 8 + 15 + 11 + 9 + 9;

impl Layout {
    fn new(checks: &[&Check], columns: usize) -> Self {
        let longest = |text: fn(&Check) -> usize, head: &str| {
            checks.iter().map(|c| text(c)).fold(head.len(), usize::max)
        };
        let (id, property) = (longest(|c| c.id.len(), "equation"), longest(|c| c.property.len(), "property"));
        Layout { id, property, narrow: id + 2 + property + NUMBERS > columns }
    }

    fn head(&self) -> String {
        let (id, property) = (self.id, self.property);
        let line = if self.narrow {
            format!(
                "  {:<property$} {:>6} {:>9} {:>7} {:>7} verdict",
                "property", "cases", "max error", "allowed", "seconds"
            )
        } else {
            format!(
                "{:<id$}  {:<property$}  {:>6}  {:>13}  {:>9}  {:>7}  verdict",
                "equation", "property", "cases", "largest error", "tolerance", "seconds"
            )
        };
        format!("{}\n", Style::new().bold().apply_to(line))
    }

    /// The line of a check after one of the equation `last`.
    fn row(&self, outcome: &Outcome, last: Option<&str>) -> String {
        let Outcome { id, property, cases, seconds, .. } = outcome;
        let width = self.property;
        let verdict = if outcome.passed {
            Style::new().green().apply_to("ok")
        } else {
            Style::new().red().bold().apply_to("FAILED")
        };
        let (error, tolerance) = (scientific(outcome.max_error, 2), scientific(outcome.tolerance, 0));
        let cyan = Style::new().cyan();
        if self.narrow {
            let head = if last == Some(id) { String::new() } else { format!("{}\n", cyan.apply_to(id)) };
            format!(
                "{head}  {property:<width$} {cases:>6} {error:>9} {tolerance:>7} {seconds:>7.2} {verdict}\n"
            )
        } else {
            let id = cyan.apply_to(format!("{id:<0$}", self.id));
            format!(
                "{id}  {property:<width$}  {cases:>6}  {error:>13}  {tolerance:>9}  {seconds:>7.2}  {verdict}\n"
            )
        }
    }
}

/// `3.14e-12`, and `0` for zero.
fn scientific(x: f64, digits: usize) -> String {
    if x == 0.0 || !x.is_finite() { format!("{x}") } else { format!("{x:.digits$e}") }
}

fn counterexample(outcome: &Outcome, args: &VerifyArgs) -> String {
    let name = format!("{}::{}", outcome.id, outcome.property);
    let reason = outcome.failure.as_deref().unwrap_or("no reason given");
    let indented: String = reason.lines().map(|line| format!("    {line}\n")).collect();
    let again = format!("rederive verify {name} --cases {} --seed {}", args.cases, args.seed);
    format!(
        "\n{}\n{indented}    again: {again}\n",
        Style::new().red().bold().apply_to(format!("{name} FAILED"))
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_check_fails_the_command_and_shows_its_smallest_counterexample() {
        let good = rederive_tests::fixed("a.b", "closed", 1e-9, |_| Ok(1e-12));
        let bad =
            rederive_tests::fixed("a.b", "shrunk", 1e-9, |_| Err("differs for the input [1, 2]".to_owned()));
        let args = VerifyArgs { pattern: None, cases: 4, seed: 3, threads: Some(2), json: false };
        let failure = check_all(&[&good, &bad], &args, &AtomicBool::new(false)).expect_err("one fails");
        assert_eq!(failure.exit_code(), 1);
        assert!(failure.to_string().starts_with("1 check failed of 2 checks in "), "{failure}");
        assert!(check_all(&[&good], &args, &AtomicBool::new(false)).is_ok());

        let outcome = bad.run(4, 3);
        let text = counterexample(&outcome, &args);
        assert!(
            text.contains("a.b::shrunk FAILED") && text.contains("    differs for the input [1, 2]"),
            "{text}"
        );
        assert!(text.contains("rederive verify a.b::shrunk --cases 4 --seed 3"), "{text}");
        let layout = |columns| Layout::new(&[&good, &bad], columns);
        assert!(layout(usize::MAX).row(&outcome, None).ends_with("FAILED\n"));
        let lines = layout(40).row(&outcome, None);
        assert!(
            lines.starts_with("a.b\n  shrunk") && !layout(40).row(&outcome, Some("a.b")).contains("a.b"),
            "{lines}"
        );
    }

    #[test]
    fn patterns_match_parts_of_names() {
        for (pattern, name, expected) in [
            ("", "gae.recursion::definition", true),
            ("gae", "gae.recursion::definition", true),
            ("recursion::def", "gae.recursion::definition", true),
            ("ppo.*::gradient", "ppo.clip::gradient", true),
            ("ppo.*::gradient", "gae.recursion::gradient", false),
            ("gradient*ppo", "ppo.clip::gradient", false),
        ] {
            assert_eq!(matches(pattern, name), expected, "{pattern} in {name}");
        }
    }
}
