//! `rederive verify`: the registered checks of matching equations.

use super::args::VerifyArgs;
use super::interrupt;
use super::report::{self, Failure, duration};
use super::suggest::did_you_mean;
use console::Style;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use rederive_tests::{Check, Outcome};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
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

    let widths = Widths {
        id: checks.iter().map(|c| c.id.len()).max().unwrap_or(0).max("equation".len()),
        property: checks.iter().map(|c| c.property.len()).max().unwrap_or(0).max("property".len()),
    };
    let bar = bar(checks.len() as u64);
    let print = |text: &str| if args.json { Ok(()) } else { bar.suspend(|| report::stdout(text)) };
    print(&widths.head())?;

    let threads = args.threads.map_or_else(cores, usize::from).min(checks.len());
    let start = Instant::now();
    let next = AtomicUsize::new(0);
    let mut outcomes: Vec<Outcome> = Vec::with_capacity(checks.len());
    std::thread::scope(|scope| {
        let (sender, receiver) = mpsc::channel();
        for _ in 0..threads {
            let (sender, next, checks) = (sender.clone(), &next, &checks);
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
        for (i, outcome) in receiver {
            early.insert(i, outcome);
            bar.inc(1);
            while let Some(outcome) = early.remove(&outcomes.len()) {
                print(&widths.row(&outcome))?;
                outcomes.push(outcome);
            }
            if let Some(waiting) = checks.get(outcomes.len()) {
                bar.set_message(waiting.name());
            }
        }
        // After an interruption there are gaps.
        outcomes.extend(early.into_values());
        Ok::<(), Failure>(())
    })?;
    bar.finish_and_clear();

    let failed: Vec<&Outcome> = outcomes.iter().filter(|o| !o.passed).collect();
    if args.json {
        report::json(&outcomes)?;
    } else {
        for outcome in &failed {
            report::stdout(&counterexample(outcome, &args))?;
        }
    }
    let seconds = duration(start.elapsed().as_secs_f64());
    let ran = format!("{} in {seconds}", counted(outcomes.len(), "check"));
    if outcomes.len() < checks.len() {
        return Err(Failure::Interrupted(format!("{ran}, {} left out", checks.len() - outcomes.len())));
    }
    if failed.is_empty() {
        let passed = Style::new().for_stderr().green().bold();
        report::note(format_args!("{} {ran}", passed.apply_to("all passed:")));
        Ok(())
    } else {
        Err(Failure::Run(format!("{} failed of {ran}", counted(failed.len(), "check"))))
    }
}

fn counted(n: usize, thing: &str) -> String {
    format!("{n} {thing}{}", if n == 1 { "" } else { "s" })
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

struct Widths {
    id: usize,
    property: usize,
}

impl Widths {
    fn head(&self) -> String {
        let (id, property) = (self.id, self.property);
        let line = format!(
            "{:<id$}  {:<property$}  {:>6}  {:>13}  {:>9}  {:>7}  verdict",
            "equation", "property", "cases", "largest error", "tolerance", "seconds"
        );
        format!("{}\n", Style::new().bold().apply_to(line))
    }

    fn row(&self, outcome: &Outcome) -> String {
        let (id, property) = (self.id, self.property);
        let verdict = if outcome.passed {
            Style::new().green().apply_to("ok")
        } else {
            Style::new().red().bold().apply_to("FAILED")
        };
        format!(
            "{}  {:<property$}  {:>6}  {:>13}  {:>9}  {:>7.2}  {verdict}\n",
            Style::new().cyan().apply_to(format!("{:<id$}", outcome.id)),
            outcome.property,
            outcome.cases,
            scientific(outcome.max_error, 2),
            scientific(outcome.tolerance, 0),
            outcome.seconds,
        )
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
