//! `rederive train`.

use super::agent::Agent;
use super::args::TrainArgs;
use super::interrupt;
use super::progress::{Board, thousands};
use super::report::{self, Failure, counted, duration, grouped};
use super::settings::Settings;
use super::verify::cores;
use console::Style;
use rederive::train::{Event, Outcome, RunError, RunFolder, RunSpec, Summary, files, spread, stats, train};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

/// Everything that a run needs, ready to go.
struct Prepared {
    agent: Agent,
    folder: RunFolder,
    spec: RunSpec,
}

/// A run that is over.
struct Ended {
    spec: RunSpec,
    folder: PathBuf,
    result: Result<Outcome, Failure>,
}

pub fn run(args: TrainArgs) -> Result<(), Failure> {
    let stop = interrupt::flag()?;
    if let Some(folder) = &args.resume {
        return resume(&args, folder, stop);
    }
    let settings = Settings::resolve(&args)?;
    let make = |spec: &RunSpec| Agent::make(spec, |e| settings.input_error(e));
    if args.print_config {
        // What is printed can be run.
        make(&settings.spec(settings.seed))?;
        return if args.json {
            report::json(&settings.to_json())
        } else {
            report::stdout(&settings.to_toml())
        };
    }
    let name = format!("{}-{}", settings.algo.name, file_name(&settings.env));
    let runs = Path::new("runs");
    let Some(count) = args.seeds else {
        let spec = settings.spec(settings.seed);
        let agent = make(&spec)?;
        let name = format!("{name}-seed{}", settings.seed);
        let path = args.out.clone().unwrap_or_else(|| RunFolder::fresh(runs, &name));
        let folder = RunFolder::create(&path, &spec).map_err(|e| failure(e, false))?;
        return one(Prepared { agent, folder, spec }, &args, stop);
    };

    let last = settings.seed.checked_add(count - 1).filter(|&last| last <= i64::MAX as u64);
    let Some(last) = last else {
        return Err(Failure::Input(format!("--seeds {count}: the last seed must be below 2^63")));
    };
    let seeds: Vec<u64> = (settings.seed..=last).collect();
    let path = args.out.clone().unwrap_or_else(|| RunFolder::fresh(runs, &format!("{name}-{count}seeds")));
    // What is wrong with all runs is said once, before anything is written.
    make(&settings.spec(settings.seed))?;
    let prepare = |seed: u64| {
        let spec = settings.spec(seed);
        let agent = make(&spec)?;
        let folder =
            RunFolder::create(&path.join(format!("seed{seed}")), &spec).map_err(|e| failure(e, false))?;
        Ok(Prepared { agent, folder, spec })
    };
    several(&seeds, prepare, &path, &args, stop)
}

/// Goes on with the run in a folder.
fn resume(args: &TrainArgs, path: &Path, stop: &AtomicBool) -> Result<(), Failure> {
    for (flag, given) in [
        ("--preset", args.preset.is_some()),
        ("--seed", args.seed.is_some()),
        ("--set", !args.set.is_empty()),
        ("--config", args.config.is_some()),
        ("--seeds", args.seeds.is_some()),
        ("--out", args.out.is_some()),
        ("--print-config", args.print_config),
    ] {
        if given {
            let rule = "a resumed run stays where and what it is; only --steps may change";
            return Err(Failure::Input(format!("{flag} with --resume: {rule}")));
        }
    }
    let (agent, folder, mut spec) = Agent::open(path)?;
    for (kind, argument, is) in [("algorithm", &args.algo, &spec.algo), ("environment", &args.env, &spec.env)]
    {
        if let Some(argument) = argument.as_ref().filter(|a| !same(kind, a, is)) {
            return Err(Failure::Input(format!("{}: the {kind} is {is}, not {argument}", path.display())));
        }
    }
    spec.steps = args.steps.unwrap_or(spec.steps);
    one(Prepared { agent, folder, spec }, args, stop)
}

/// Whether two names are the same; an environment may have an alias.
fn same(kind: &str, a: &str, b: &str) -> bool {
    let id = |name: &str| rederive::env::make_vec(name, 1).map(|env| env.id().to_owned()).ok();
    a == b || (kind == "environment" && id(a).is_some() && id(a) == id(b))
}

fn one(prepared: Prepared, args: &TrainArgs, stop: &AtomicBool) -> Result<(), Failure> {
    limit_pool(args.threads.map(usize::from))?;
    let board = Board::new(1);
    let ended = go(prepared, &board, stop);
    match ended.result {
        Ok(Outcome { summary, interrupted }) => {
            if args.json {
                report::json(&summary)?;
            } else if !interrupted {
                report::stdout(&conclusion(&summary, ended.spec.threshold))?;
            }
            if interrupted { Err(saved(&ended.spec, summary.steps, &ended.folder)) } else { Ok(()) }
        }
        Err(failure) => {
            if args.json && matches!(failure, Failure::Run(_)) {
                report::json(&failed(&ended.spec, &ended.folder, &failure))?;
            }
            Err(failure)
        }
    }
}

fn several(
    seeds: &[u64],
    prepare: impl Fn(u64) -> Result<Prepared, Failure> + Sync,
    path: &Path,
    args: &TrainArgs,
    stop: &AtomicBool,
) -> Result<(), Failure> {
    let threads = args.threads.map_or_else(cores, usize::from);
    let workers = threads.min(seeds.len());
    limit_pool(Some((threads / workers).max(1)))?;
    let board = Board::new(seeds.len());
    board.say(format_args!("{}, {workers} at a time -> {}", counted(seeds.len(), "run"), path.display()));
    let input_failed = AtomicBool::new(false);
    let ends = spread(seeds, workers, |_, seed| {
        if stop.load(Ordering::Relaxed) || input_failed.load(Ordering::Relaxed) {
            return Ok::<Option<Ended>, Failure>(None);
        }
        let prepared = prepare(seed).inspect_err(|_| input_failed.store(true, Ordering::Relaxed))?;
        let ended = go(prepared, &board, stop);
        match &ended.result {
            Ok(outcome) if !outcome.interrupted => board.say(line(&outcome.summary)),
            Ok(_) => {}
            Err(failure) => board.say(format_args!("seed {seed}: {failure}")),
        }
        Ok(Some(ended))
    });
    let mut runs = Vec::new();
    for end in ends {
        runs.extend(end?);
    }

    if args.json {
        let documents: Vec<Value> = runs
            .iter()
            .map(|run| match &run.result {
                Ok(outcome) => json!(outcome.summary),
                Err(failure) => failed(&run.spec, &run.folder, failure),
            })
            .collect();
        report::json(&documents)?;
    } else {
        report::stdout(&overview(&runs, path))?;
    }
    let unfinished = runs.iter().filter(|run| run.result.as_ref().is_ok_and(|o| o.interrupted)).count();
    let broken = runs.iter().filter(|run| run.result.is_err()).count();
    if broken > 0 {
        Err(Failure::Run(format!("{broken} of {} failed", counted(seeds.len(), "run"))))
    } else if stop.load(Ordering::Relaxed) && (unfinished > 0 || runs.len() < seeds.len()) {
        let begun = format!("{} saved, {} not begun", counted(unfinished, "run"), seeds.len() - runs.len());
        let example = runs.iter().find(|run| run.result.as_ref().is_ok_and(|o| o.interrupted));
        let example = example.map_or_else(String::new, |run| {
            format!("; go on with each, as in `rederive train --resume {}`", run.folder.display())
        });
        Err(Failure::Interrupted(begun + &example))
    } else {
        Ok(())
    }
}

/// Runs to the end, an interruption or a failure.
fn go(prepared: Prepared, board: &Board, stop: &AtomicBool) -> Ended {
    let Prepared { mut agent, folder, spec } = prepared;
    let mut progress = board.run();
    let mut started = false;
    let result = train(&mut *agent.learner, &mut *agent.env, &spec, Some(&folder), stop, &mut |event| {
        started |= matches!(event, Event::Started(_));
        progress.event(event);
    });
    progress.clear();
    let result = result.map_err(|error| match (failure(error, started), folder.checkpoint_path()) {
        (Failure::Run(message), checkpoint) if checkpoint.exists() => {
            Failure::Run(format!("{message}; the last good checkpoint is {}", checkpoint.display()))
        }
        (failure, _) => failure,
    });
    Ended { spec, folder: folder.path().to_owned(), result }
}

/// A folder or checkpoint that is wrong from the start is bad input; what happens later is a run that failed.
fn failure(error: RunError, started: bool) -> Failure {
    match error {
        RunError::Config(error) => error.into(),
        RunError::Diverged(error) => error.into(),
        RunError::Format(error) if started => Failure::Run(error.to_string()),
        RunError::Format(error) => error.into(),
    }
}

/// How many threads one run may use.
fn limit_pool(threads: Option<usize>) -> Result<(), Failure> {
    let Some(threads) = threads else { return Ok(()) };
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build_global();
    pool.map_err(|e| Failure::Run(format!("can't start {threads} threads: {e}")))
}

fn saved(spec: &RunSpec, steps: u64, folder: &Path) -> Failure {
    let (steps, total) = (grouped(steps), grouped(spec.steps));
    let folder = folder.display();
    Failure::Interrupted(format!(
        "saved at step {steps} of {total}; go on with `rederive train --resume {folder}`"
    ))
}

fn failed(spec: &RunSpec, folder: &Path, failure: &Failure) -> Value {
    json!({ "algo": spec.algo, "env": spec.env, "seed": spec.seed, "run_dir": folder, "error": failure.to_string() })
}

fn number(x: Option<f64>) -> String {
    x.map_or_else(|| "-".to_owned(), |x| format!("{x:.1}"))
}

/// What a person wants to know at the end of a run.
fn conclusion(summary: &Summary, threshold: Option<f64>) -> String {
    let bold = Style::new().bold();
    let folder = summary.run_dir.as_deref().unwrap_or(Path::new("."));
    let mut text = format!(
        "{} steps in {} ({} steps/s), {} episodes\n",
        grouped(summary.steps),
        duration(summary.wall_seconds),
        thousands(summary.steps_per_second),
        grouped(summary.episodes),
    );
    let last = summary.episodes.min(100);
    text += &match summary.final_return_mean {
        None => "no episode ended\n".to_owned(),
        Some(return_) => format!(
            "return {} over the last {last} episodes, best {}\n",
            bold.apply_to(format!("{return_:.1}")),
            number(summary.best_return_mean)
        ),
    };
    text += &match (threshold, summary.first_step_at_threshold) {
        (Some(threshold), Some(step)) => {
            let solved = Style::new().green().bold().apply_to("solved:");
            format!("{solved} 100 episodes averaged {threshold} at step {}\n", grouped(step))
        }
        (Some(threshold), None) => format!("not solved: 100 episodes have to average {threshold}\n"),
        (None, _) => String::new(),
    };
    let show = Style::new().cyan();
    text += &format!("curve  {}\n", show.apply_to(folder.join(files::CURVE).display()));
    text += &format!("next   {}\n", show.apply_to(format!("rederive eval {}", folder.display())));
    text
}

/// A finished run among several.
fn line(summary: &Summary) -> String {
    format!(
        "seed {:<5} return {} (best {}) after {} steps in {}",
        summary.seed,
        number(summary.final_return_mean),
        number(summary.best_return_mean),
        grouped(summary.steps),
        duration(summary.wall_seconds)
    )
}

/// A table of several runs, and their mean.
fn overview(runs: &[Ended], path: &Path) -> String {
    let bold = Style::new().bold();
    let threshold = runs.first().and_then(|run| run.spec.threshold);
    let solved = threshold.map_or_else(String::new, |t| format!("step at {t}"));
    let head = format!("{:<8} {:>9} {:>9} {solved:>14} {:>9}  folder", "seed", "return", "best", "steps/s");
    let mut text = format!("{}\n", bold.apply_to(head));
    let mut returns = Vec::new();
    for run in runs {
        let folder = run.folder.display();
        match &run.result {
            Ok(Outcome { summary, interrupted }) => {
                if !interrupted {
                    returns.extend(summary.final_return_mean);
                }
                let first = summary.first_step_at_threshold.map_or_else(String::new, grouped);
                text += &format!(
                    "{:<8} {:>9} {:>9} {first:>14} {:>9}  {folder}{}\n",
                    summary.seed,
                    number(summary.final_return_mean),
                    number(summary.best_return_mean),
                    thousands(summary.steps_per_second),
                    if *interrupted { " (interrupted)" } else { "" },
                );
            }
            Err(failure) => text += &format!("{:<8} {failure}\n", run.spec.seed),
        }
    }
    if let Some(interval) = stats::student_t(&returns, 0.95) {
        let (mean, half) = (stats::mean(&returns), 0.5 * (interval.high - interval.low));
        text += &format!(
            "mean return {} (95% interval over {} seeds)\n",
            bold.apply_to(format!("{mean:.1} ± {half:.1}")),
            returns.len()
        );
    }
    let next = format!("rederive plot {}", path.display());
    text + &format!("next   {}\n", Style::new().cyan().apply_to(next))
}

/// An environment's ID as a part of a folder's name.
fn file_name(id: &str) -> String {
    id.chars().map(|c| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '_' }).collect()
}
