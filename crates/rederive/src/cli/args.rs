//! The arguments and their help.

use clap::builder::{PossibleValue, Styles, TypedValueParser, styling::AnsiColor};
use clap::{Args, Parser, Subcommand, ValueHint};
use rederive::algorithms::ALGORITHMS;
use std::ffi::OsStr;
use std::path::PathBuf;

const STYLES: Styles = Styles::styled()
    .header(AnsiColor::Green.on_default().bold())
    .usage(AnsiColor::Green.on_default().bold())
    .literal(AnsiColor::Cyan.on_default().bold())
    .placeholder(AnsiColor::Cyan.on_default());

/// Reinforcement learning, re-derived: train agents, watch them, verify the formulas
#[derive(Debug, Parser)]
#[command(name = "rederive", version, styles = STYLES, max_term_width = 110, after_help = "\
Examples:
  rederive train ppo CartPole-v1              solve CartPole
  rederive eval runs/ppo-CartPole-v1-seed1    run the agent 100 times
  rederive solve FrozenLake-v1                the best policy, with a proven bound
  rederive verify gae                         check the formulas of GAE
  rederive play connect4                      play against a tree search
  rederive list                               what there is to train, and on what

`rederive COMMAND --help` says more.
Exit codes: 0 done, 1 a run or check failed, 2 bad usage or bad input,
130 interrupted. NO_COLOR=1 turns colours off.")]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Train an agent
    Train(TrainArgs),
    /// Run a trained agent, and draw it
    Eval(EvalArgs),
    /// Solve a finite process exactly, with a proven bound on the error
    Solve(SolveArgs),
    /// Learn from ratings which films a user would like
    Recommend(RecommendArgs),
    /// Check formulas against independent computations
    Verify(VerifyArgs),
    /// Plot learning curves, with a confidence band over seeds
    Plot(PlotArgs),
    /// Play a game against Monte Carlo tree search
    Play(PlayArgs),
    /// List algorithms, environments and equations
    List(ListArgs),
    /// Print a shell's completion script
    #[command(after_help = "\
Examples:
  rederive completions bash > ~/.local/share/bash-completion/completions/rederive
  rederive completions zsh  > ~/.zfunc/_rederive
  rederive completions fish > ~/.config/fish/completions/rederive.fish")]
    Completions {
        /// Which shell
        shell: clap_complete::Shell,
    },
}

#[derive(Debug, Default, Args)]
#[command(after_help = "\
Where a value comes from, the later the stronger: the algorithm's defaults, the
preset, the file of --config, --set, the other flags. A run folder's config.toml
holds every value, so that --config RUN_DIR/config.toml repeats the run. Ctrl-C
saves a checkpoint, from which --resume goes on, bit for bit.

Examples:
  rederive train ppo CartPole-v1
  rederive train ppo Pendulum-v1 --seeds 5 --out runs/pendulum
  rederive train ppo CartPole-v1 --preset cleanrl --threads 1
  rederive train ppo CartPole-v1 --set gamma=0.9 --set target_kl=none
  rederive train ppo CartPole-v1 --print-config > mine.toml
  rederive train --config mine.toml
  rederive train --resume runs/ppo-CartPole-v1-seed1
  rederive train --resume runs/ppo-CartPole-v1-seed1 --steps 1M")]
pub struct TrainArgs {
    /// The algorithm (may come from --config or --resume)
    #[arg(value_parser = Named(algo_names))]
    pub algo: Option<String>,
    /// The environment (may come from --config or --resume)
    #[arg(value_parser = Named(env_names), hide_possible_values = true)]
    pub env: Option<String>,
    /// The set of values to start from [default: tuned]
    #[arg(long, value_name = "NAME", value_parser = Named(preset_names))]
    pub preset: Option<String>,
    /// The seed of everything random [default: 1]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(..=MAX_SEED))]
    pub seed: Option<u64>,
    /// How many runs, with the seeds from --seed on, spread over the threads
    #[arg(long, value_name = "K", value_parser = clap::value_parser!(u64).range(1..=10_000))]
    pub seeds: Option<u64>,
    /// How many environment steps, such as 100000, 100k or 1.5M
    #[arg(long, value_name = "N", value_parser = steps)]
    pub steps: Option<u64>,
    /// One field of the configuration; `none` for an optional field without a value
    #[arg(long, value_name = "FIELD=VALUE", value_parser = assignment)]
    pub set: Vec<(String, String)>,
    /// A configuration file
    #[arg(long, value_name = "FILE.toml", value_hint = ValueHint::FilePath)]
    pub config: Option<PathBuf>,
    /// The run folder [default: runs/ALGO-ENV-seedN, with a number added if that exists]
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub out: Option<PathBuf>,
    /// Go on from the checkpoint of a run folder
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub resume: Option<PathBuf>,
    /// How many threads; results do not depend on it [default: one per core]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub threads: Option<u16>,
    /// Print one JSON document (with --seeds, a list) on standard output
    #[arg(long)]
    pub json: bool,
    /// Print the configuration with every value in it, and stop
    #[arg(long)]
    pub print_config: bool,
}

#[derive(Debug, Args)]
#[command(
    override_usage = "rederive eval [OPTIONS] <RUN_DIR>",
    after_help = "\
The agent takes its most likely action (the mean, where actions are continuous).
--random takes uniform actions instead: the control that an agent has to beat.

Examples:
  rederive eval runs/ppo-CartPole-v1-seed1
  rederive eval runs/ppo-CartPole-v1-seed1 --random
  rederive eval runs/ppo-CartPole-v1-seed1 --render
  rederive eval runs/ppo-CartPole-v1-seed1 --render cartpole.svg --episodes 1"
)]
pub struct EvalArgs {
    /// The run folder
    #[arg(value_name = "RUN_DIR", value_hint = ValueHint::DirPath)]
    pub run: Option<PathBuf>,
    /// How many episodes [default: 100, or 1 with --render]
    #[arg(long, value_name = "N")]
    pub episodes: Option<u64>,
    /// The seed of the environment
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(..=MAX_SEED))]
    pub seed: u64,
    /// Draw the episodes in the terminal, or as an animation in a file that ends in .svg. On an interactive terminal
    /// the drawing moves; elsewhere up to 24 frames are printed one after another
    #[arg(long, value_name = "terminal|FILE.svg", num_args = 0..=1, default_missing_value = "terminal",
          value_hint = ValueHint::FilePath)]
    pub render: Option<String>,
    /// Take uniformly random actions instead of the agent's
    #[arg(long)]
    pub random: bool,
    /// Print one JSON document on standard output
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "\
SOURCE is one of
  an environment with finitely many states, with its options;
  FILE.json, in the layout of Gymnasium's P: {\"state\": {\"action\": [[probability,
    next state, reward, terminated], ...]}};
  FILE.npz, with the arrays first_pair (or num_actions), first_entry, prob, next,
    reward and, where outcomes end the episode, terminated;
  random:SxAxK, cycle:SxAxK, lake:RxC or hill:PxV: a process that is made up, with
    S states, A actions and K successors, R rows and C columns, or MountainCar on P
    positions and V velocities; options such as ?seed=2 follow.
The time limit of an environment is no part of its process, except as the default
horizon of --method finite.

Examples:
  rederive solve FrozenLake-v1
  rederive solve 'FrozenLake-v1?map=8x8' --gamma 0.999 --out lake.svg
  rederive solve GridWorld --gamma 0.9 --method pi
  rederive solve Taxi-v3 --json --tol 1e-9
  rederive solve FrozenLake-v1 --method finite --horizon 50
  rederive solve CliffWalking-v1 --method soft --temperature 0.5
  rederive solve cycle:100000x4x8 --gamma 0.9999 --method ipi
  rederive solve Taxi-v3 --export taxi.npz
  rederive solve mdp.npz --out solution.json")]
pub struct SolveArgs {
    /// An environment, a file, or a process that is made up
    #[arg(value_name = "SOURCE", value_parser = Named(env_names), hide_possible_values = true,
          value_hint = ValueHint::AnyPath)]
    pub source: String,
    /// How
    #[arg(long, value_name = "NAME", default_value = "auto")]
    pub method: Method,
    /// The discount, from 0 to 1; 1 only if every policy ends the episode, or with --method finite [default: 0.99, or 1
    /// with --method finite]
    #[arg(long, value_name = "G", allow_negative_numbers = true)]
    pub gamma: Option<f64>,
    /// How far from the truth any value may be, at most [default: 1e-6]
    #[arg(long, value_name = "E", allow_negative_numbers = true)]
    pub tol: Option<f64>,
    /// With --method finite, the number of decisions [default: the environment's time limit]
    #[arg(long, value_name = "H")]
    pub horizon: Option<u64>,
    /// With --method soft, the reward per nat of the policy's entropy [default: 0.1]
    #[arg(long, value_name = "X", allow_negative_numbers = true)]
    pub temperature: Option<f64>,
    /// How many threads; results do not depend on it [default: one per core]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub threads: Option<u16>,
    /// With --method rtdp, the seed of its trials [default: 1]
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
    /// Print one JSON document on standard output
    #[arg(long)]
    pub json: bool,
    /// Also write the solution as JSON (FILE.json), or values and policy as a picture (FILE.svg)
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub out: Option<PathBuf>,
    /// Also write the process itself, as SOURCE reads it (FILE.json or FILE.npz)
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub export: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Method {
    /// ipi where episodes end or the discount is above 0.999, mpi elsewhere
    Auto,
    /// Value iteration, all states at once
    Vi,
    /// Value iteration in place (Gauss-Seidel)
    Gs,
    /// Policy iteration
    Pi,
    /// Modified policy iteration: a few sweeps between improvements
    Mpi,
    /// Inexact policy iteration: evaluation by GMRES, for a discount close to 1
    Ipi,
    /// Prioritised sweeping
    Ps,
    /// Real-time dynamic programming, for the start states alone (where there are none, all states alike)
    Rtdp,
    /// Soft policy iteration: maximum entropy, with --temperature
    Soft,
    /// Backwards from a finite horizon, with --horizon
    Finite,
}

#[derive(Debug, Args)]
#[command(after_help = "\
RATINGS.csv has a header and one rating per line. The columns user, film and
rating have to be there. Columns that begin with user_ or film_ hold numbers that
describe the user or the film; without them, names are all that is known.

  user,film,rating,user_young,user_old,film_drama,film_space
  Ada,Stars,5,1,0,0,1
  Ben,Stars,2,0,1,0,1

Examples:
  rederive recommend ratings.csv --user Ada
  rederive recommend --generate --out generated.csv
  rederive recommend --generate --seed 7 --json")]
#[command(group = clap::ArgGroup::new("source").required(true).args(["ratings", "generate"]))]
pub struct RecommendArgs {
    /// The ratings
    #[arg(value_name = "RATINGS.csv", value_hint = ValueHint::FilePath)]
    pub ratings: Option<PathBuf>,
    /// Generate ratings: 80 films, 200 users with tastes by age and interests
    #[arg(long)]
    pub generate: bool,
    /// For whom [default: the first user]
    #[arg(long, value_name = "NAME")]
    pub user: Option<String>,
    /// How many films
    #[arg(long, value_name = "N", default_value_t = 5)]
    pub top: usize,
    /// The seed of the generated ratings and of what is held out
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(..=MAX_SEED))]
    pub seed: u64,
    /// The share of a rating's error that one step takes away
    #[arg(long, value_name = "A", default_value_t = 0.02)]
    pub alpha: f64,
    /// Passes over the ratings
    #[arg(long, value_name = "N", default_value_t = 50)]
    pub epochs: usize,
    /// The share of the ratings that is tested on
    #[arg(long, value_name = "SHARE", default_value_t = 0.2)]
    pub held_out: f64,
    /// Write the ratings here
    #[arg(long, value_name = "FILE.csv", value_hint = ValueHint::FilePath)]
    pub out: Option<PathBuf>,
    /// Print one JSON document on standard output
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "\
A check compares two independent computations on random cases. Its largest error
is scaled so that one tolerance fits all cases. Where a check fails, the smallest
case that still fails is shown, and the exit code is 1.

Examples:
  rederive verify
  rederive verify gae.recursion
  rederive verify 'ppo.*::gradient' --cases 5000
  rederive verify gae --seed 7 --json")]
pub struct VerifyArgs {
    /// Part of an equation's ID, of a property, or of both as in gae.recursion::definition; `*` stands for anything
    pub pattern: Option<String>,
    /// How many random cases per check
    #[arg(long, value_name = "N", default_value_t = rederive_tests::DEFAULT_CASES,
          value_parser = clap::value_parser!(u32).range(1..))]
    pub cases: u32,
    /// The seed of the random cases
    #[arg(long, value_name = "N", default_value_t = rederive_tests::DEFAULT_SEED)]
    pub seed: u64,
    /// How many threads [default: one per core]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub threads: Option<u16>,
    /// Print one JSON document on standard output
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "\
The runs of an algorithm on an environment share a curve: their mean over the
seeds, with a 95% confidence band. A folder of runs stands for the runs in it.

Examples:
  rederive plot runs/pendulum
  rederive plot runs/a runs/b runs/c --out three.svg")]
pub struct PlotArgs {
    /// Run folders, or folders of run folders
    #[arg(value_name = "RUN_DIR", required = true, value_hint = ValueHint::DirPath)]
    pub runs: Vec<PathBuf>,
    /// Where the plot goes
    #[arg(long, value_name = "FILE.svg", default_value = "curves.svg", value_hint = ValueHint::FilePath)]
    pub out: PathBuf,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  rederive list
  rederive list envs
  rederive list equations --json")]
pub struct ListArgs {
    /// What to list [default: algorithms and environments]
    pub what: Option<What>,
    /// Print one JSON document on standard output
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "\
After each of its moves the search shows how it spent its playouts: a bar, a share
and the mean outcome Q of every move, from -1 (lost) to 1 (won). Moves are read
from standard input: a column (Connect Four) or a cell, row by row (Tic-tac-toe).
With the same seed and --playouts, it answers the same moves in the same way.

Examples:
  rederive play connect4
  rederive play connect4 --seconds 2 --first computer
  rederive play tictactoe --playouts 10k
  rederive play connect4 --against random
  rederive play connect4 --moves 4435 --json")]
pub struct PlayArgs {
    /// Which game
    #[arg(value_parser = Named(game_names))]
    pub game: String,
    /// How many playouts per move, such as 10000, 50k or 2M [default: 100k]
    #[arg(long, value_name = "N", value_parser = playouts, conflicts_with = "seconds")]
    pub playouts: Option<u64>,
    /// How long the search thinks per move; the result then depends on the machine
    #[arg(long, value_name = "S", value_parser = seconds)]
    pub seconds: Option<f64>,
    /// The seed of the search, and of a random opponent
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(..=MAX_SEED))]
    pub seed: u64,
    /// Who makes the first move of the game
    #[arg(long, value_enum, default_value = "me")]
    pub first: First,
    /// Watch the search play instead
    #[arg(long, value_enum)]
    pub against: Option<Opponent>,
    /// The moves made so far, such as 4435
    #[arg(long, value_name = "MOVES")]
    pub moves: Option<String>,
    /// Search the position of --moves once and print one JSON document on standard output
    #[arg(long, conflicts_with = "against")]
    pub json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, clap::ValueEnum)]
pub enum First {
    /// You, or whoever plays against the search
    Me,
    /// The search
    Computer,
}

#[derive(Clone, Copy, Debug, PartialEq, clap::ValueEnum)]
pub enum Opponent {
    /// Uniformly random moves
    Random,
    /// The same search
    Computer,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub enum What {
    /// The algorithms and their presets
    Algos,
    /// The environments
    Envs,
    /// The equations and the properties that are checked of each
    Equations,
}

/// TOML's integers are signed, and a run's seed is written to its config.toml.
const MAX_SEED: u64 = i64::MAX as u64;

/// A name that completions and help know the values of, and that is looked up later, with the same message wherever it came
/// from.
#[derive(Clone)]
struct Named(fn() -> Vec<&'static str>);

impl TypedValueParser for Named {
    type Value = String;

    fn parse_ref(
        &self,
        command: &clap::Command,
        arg: Option<&clap::Arg>,
        value: &OsStr,
    ) -> Result<String, clap::Error> {
        clap::builder::StringValueParser::new().parse_ref(command, arg, value)
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        Some(Box::new((self.0)().into_iter().map(PossibleValue::new)))
    }
}

fn algo_names() -> Vec<&'static str> {
    ALGORITHMS.iter().map(|a| a.name).collect()
}

fn game_names() -> Vec<&'static str> {
    super::play::GAMES.to_vec()
}

fn env_names() -> Vec<&'static str> {
    rederive::env::IDS.iter().map(|e| e.id).collect()
}

fn preset_names() -> Vec<&'static str> {
    let mut names = Vec::new();
    for (name, _) in ALGORITHMS.iter().flat_map(|a| a.presets) {
        if !names.contains(name) {
            names.push(*name);
        }
    }
    names
}

fn assignment(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((field, value)) if !field.trim().is_empty() && !value.trim().is_empty() => {
            Ok((field.trim().to_owned(), value.trim().to_owned()))
        }
        _ => Err("expected FIELD=VALUE, such as gamma=0.99".to_owned()),
    }
}

/// A positive number of steps: digits with `_`, a decimal or an exponent, and `k` or `M`.
pub fn steps(text: &str) -> Result<u64, String> {
    let problem = || "expected a positive whole number of steps, such as 100000, 100k or 1.5M".to_owned();
    let plain = text.replace('_', "");
    let (number, scale) = match plain.char_indices().last() {
        Some((i, 'k' | 'K')) => (&plain[..i], 1e3),
        Some((i, 'm' | 'M')) => (&plain[..i], 1e6),
        _ => (plain.as_str(), 1.0),
    };
    let exact = number.parse::<f64>().map_err(|_| problem())? * scale;
    let whole = exact.round();
    // Above 2^53 a whole number is no longer exact, and no run is that long. 2.3M may miss a whole number by a rounding error.
    let fits = (1.0..=2f64.powi(53)).contains(&whole) && (exact - whole).abs() <= 1e-12 * whole;
    if fits { Ok(whole as u64) } else { Err(problem()) }
}

/// A number of playouts, written like a number of steps; visits are 32-bit numbers.
fn playouts(text: &str) -> Result<u64, String> {
    const MOST: u64 = 1_000_000_000;
    match steps(text) {
        Ok(n) if n <= MOST => Ok(n),
        _ => Err("expected a whole number from 1 to 1000M, such as 10000, 50k or 2M".to_owned()),
    }
}

/// A number of seconds, up to a day.
fn seconds(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(seconds) if seconds > 0.0 && seconds <= 86_400.0 => Ok(seconds),
        _ => Err("expected a number of seconds greater than 0, at most 86400".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn arguments_are_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn step_counts_are_read() {
        for (text, steps_) in [
            ("7", 7),
            ("100_000", 100_000),
            ("100k", 100_000),
            ("1.5M", 1_500_000),
            ("2.3M", 2_300_000),
            ("1e6", 1_000_000),
        ] {
            assert_eq!(steps(text), Ok(steps_), "{text}");
        }
        for text in ["0", "-1", "", "k", "many", "0.5", "nan", "inf", "1e30"] {
            assert!(steps(text).is_err(), "{text}");
        }
    }
}
