//! The command line: arguments, presets, progress, drawing.
//!
//! Standard output holds results, standard error everything else; with `--json`, standard output is exactly one JSON
//! document. Exit codes: 0 done; 1 a run that failed (diverged, a failed check, a full disk); 2 bad usage or bad input; 130
//! interrupted.

mod agent;
mod args;
mod draw;
mod eval;
mod heat;
mod interrupt;
mod list;
mod play;
mod plot;
mod progress;
mod recommend;
mod report;
mod settings;
mod solve;
mod suggest;
mod terminal;
mod train;
mod verify;

use args::{Cli, Command};
use clap::{CommandFactory, Parser};
use report::Failure;
use std::process::ExitCode;

pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version go to standard output, which may be closed early.
            let _ = error.print();
            return ExitCode::from(error.exit_code() as u8);
        }
    };
    let result = match cli.command {
        Command::Train(args) => train::run(args),
        Command::Eval(args) => eval::run(args),
        Command::Solve(args) => solve::run(args),
        Command::Recommend(args) => recommend::run(args),
        Command::Verify(args) => verify::run(args),
        Command::Plot(args) => plot::run(args),
        Command::Play(args) => play::run(args),
        Command::List(args) => list::run(args),
        Command::Completions { shell } => completions(shell),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            report::error(&failure);
            ExitCode::from(failure.exit_code())
        }
    }
}

fn completions(shell: clap_complete::Shell) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "rederive", &mut script);
    report::stdout(&String::from_utf8_lossy(&script))
}
