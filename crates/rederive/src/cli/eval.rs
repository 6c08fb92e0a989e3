//! `rederive eval`.

use super::agent::Agent;
use super::args::EvalArgs;
use super::draw::{Film, Filmed};
use super::report::{self, Failure, counted};
use super::{interrupt, terminal};
use console::{Style, Term};
use rederive::env::{Space, SyncVec, make, make_vec, spec};
use rederive::train::{Evaluation, Evaluator, FormatError, RunError, RunSpec};
use std::path::{Path, PathBuf};

/// Where the drawing goes.
#[derive(Debug, PartialEq)]
enum Render {
    Terminal,
    Svg(PathBuf),
}

/// A policy may walk in circles for ever where nothing ends an episode, and nobody watches that for long.
const MAX_FILMED_STEPS: u64 = 1000;

pub fn run(args: EvalArgs) -> Result<(), Failure> {
    let (path, render) = sort_out(args.run.clone(), args.render.as_deref())?;
    let episodes = args.episodes.unwrap_or(if render.is_some() { 1 } else { 100 });
    if episodes == 0 {
        return Err(Failure::Input("episodes = 0: must be at least 1".to_owned()));
    }
    let (mut agent, folder, run) = Agent::open(&path)?;
    if !args.random {
        folder.restore(&run, &mut *agent.learner)?;
    }
    let mut evaluator = Evaluator { episodes, seed: args.seed, ..Evaluator::default() };
    let evaluation = match &render {
        None => {
            agent.env =
                make_vec(&run.env, evaluator.num_envs()).map_err(|e| Failure::Input(e.to_string()))?;
            play(&evaluator, &mut agent, args.random)?
        }
        Some(render) => {
            evaluator.max_episode_steps = MAX_FILMED_STEPS;
            let (filmed, film) = Filmed::new(make(&run.env).map_err(|e| Failure::Input(e.to_string()))?);
            agent.env = Box::new(SyncVec::new(run.env.clone(), vec![filmed]));
            if !film.has_scene() {
                return Err(Failure::Input(format!("{} has no drawing", run.env)));
            }
            let evaluation = play(&evaluator, &mut agent, args.random)?;
            let title = if args.random { format!("{}, random actions", run.env) } else { run.env.clone() };
            project(&film.develop(&title, rate(agent.env.observation_space(), &run.env)), render, args.json)?;
            evaluation
        }
    };
    if evaluation.cut > 0 {
        let limit = evaluator.max_episode_steps;
        report::note(format_args!(
            "{} of {episodes} episodes were cut off after {limit} steps",
            evaluation.cut
        ));
    }
    if args.json {
        report::json(&evaluation)
    } else {
        report::stdout(&sentence(&evaluation, &run, args.random))
    }
}

fn play(evaluator: &Evaluator, agent: &mut Agent, random: bool) -> Result<Evaluation, Failure> {
    let evaluation = if random {
        evaluator.random(&mut *agent.env)
    } else {
        evaluator.greedy(&mut *agent.learner, &mut *agent.env)
    };
    evaluation.map_err(|error| match error {
        RunError::Config(error) => error.into(),
        RunError::Diverged(error) => error.into(),
        RunError::Format(error) => error.into(),
    })
}

/// Tells the folder from the drawing: `--render runs/x` means the folder `runs/x`, drawn in the terminal.
fn sort_out(run: Option<PathBuf>, render: Option<&str>) -> Result<(PathBuf, Option<Render>), Failure> {
    let drawing = |text: &str| match text {
        "terminal" => Some(Render::Terminal),
        file if Path::new(file).extension().is_some_and(|e| e.eq_ignore_ascii_case("svg")) => {
            Some(Render::Svg(PathBuf::from(file)))
        }
        _ => None,
    };
    match (run, render) {
        (Some(run), None) => Ok((run, None)),
        (Some(run), Some(text)) => match drawing(text) {
            Some(render) => Ok((run, Some(render))),
            None => Err(Failure::Input(format!(
                "--render {text}: expected `terminal` or a file that ends in .svg"
            ))),
        },
        (None, Some(text)) if drawing(text).is_none() => Ok((PathBuf::from(text), Some(Render::Terminal))),
        (None, _) => {
            let example = "rederive eval runs/ppo-CartPole-v1-seed1";
            Err(Failure::Input(format!("a run folder is missing, as in `{example}`")))
        }
    }
}

/// Frames per second at which an environment looks natural: its own clock where it has one.
fn rate(observation: &Space, id: &str) -> f64 {
    match (observation, spec(id).map(|spec| spec.id)) {
        (_, Some("CartPole-v1")) => 50.0,
        (_, Some("Pendulum-v1")) => 20.0,
        (_, Some("Acrobot-v1")) => 15.0,
        (Space::Box { .. }, _) => 30.0,
        _ => 4.0,
    }
}

fn project(film: &Film, render: &Render, json: bool) -> Result<(), Failure> {
    match render {
        Render::Terminal => {
            // With --json, standard output belongs to the document.
            let term = if json { Term::stderr() } else { Term::stdout() };
            terminal::show(film, &term, interrupt::flag()?)
        }
        Render::Svg(path) => {
            std::fs::write(path, film.to_svg()).map_err(|e| FormatError::io(path, "can't be written", &e))?;
            report::note(format_args!("{} frames drawn to {}", film.frames.len(), path.display()));
            Ok(())
        }
    }
}

fn sentence(evaluation: &Evaluation, run: &RunSpec, random: bool) -> String {
    let Evaluation { episodes, return_mean, return_std, length_mean, .. } = evaluation;
    let who = if random { "random actions" } else { &run.algo };
    let mean = Style::new().bold().apply_to(format!("{return_mean:.2}"));
    let spread = if *episodes == 1 { String::new() } else { format!(" ± {return_std:.2}") };
    format!(
        "{who} on {}: return {mean}{spread}, length {length_mean:.1}, over {}\n",
        run.env,
        counted(*episodes as usize, "episode")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_after_render_is_the_run() {
        let run = || Some(PathBuf::from("runs/x"));
        assert_eq!(sort_out(run(), None).ok(), Some(("runs/x".into(), None)));
        assert_eq!(sort_out(run(), Some("terminal")).ok(), Some(("runs/x".into(), Some(Render::Terminal))));
        assert_eq!(
            sort_out(run(), Some("a.svg")).ok(),
            Some(("runs/x".into(), Some(Render::Svg("a.svg".into()))))
        );
        assert_eq!(sort_out(None, Some("runs/x")).ok(), Some(("runs/x".into(), Some(Render::Terminal))));
        assert!(sort_out(run(), Some("a.gif")).is_err());
        assert!(sort_out(None, Some("terminal")).is_err());
        assert!(sort_out(None, None).is_err());
    }
}
