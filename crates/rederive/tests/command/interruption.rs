//! Ctrl-C, and readers that go away.
#![cfg(unix)]

use crate::{Done, command, rederive, shell, tiny};
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Command, Stdio};
use tempfile::tempdir;

/// A run of a second.
const LONG: [&str; 7] = ["train", "ppo", "CartPole-v1", "--preset", "cleanrl", "--steps", "200k"];

/// Starts the command, sends SIGINT as soon as a line of standard error contains `sign`, and waits for the end.
fn interrupted(dir: &Path, args: &[&str], sign: &str) -> Done {
    let mut child = command(dir).args(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut err = BufReader::new(child.stderr.take().unwrap());
    let mut seen = String::new();
    while !seen.lines().any(|line| line.contains(sign)) {
        assert!(err.read_line(&mut seen).unwrap() > 0, "{seen}");
    }
    let killed = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(killed.success());
    err.read_to_string(&mut seen).unwrap();
    let mut done: Done = child.wait_with_output().unwrap().into();
    done.err = seen;
    done
}

#[test]
fn an_interrupted_run_is_saved_and_goes_on_bit_for_bit() {
    let dir = tempdir().unwrap();
    let at = dir.path();
    let done = interrupted(at, &[&LONG[..], &["--out", "cut", "--json"]].concat(), " 10% ·");
    assert_eq!(done.code, 130, "{}", done.err);
    assert!(done.err.contains("interrupted: saved at step "), "{}", done.err);
    assert!(done.err.contains("of 200 000; go on with `rederive train --resume cut`"), "{}", done.err);
    let steps = done.json()["steps"].as_u64().unwrap();
    assert!((20_000..200_000).contains(&steps), "{steps}");
    assert!(!at.join("cut/summary.json").exists(), "it is not over");

    let resumed = rederive(at, &["train", "--resume", "cut", "--json"]).success();
    assert!(resumed.err.contains("resumed at step "), "{}", resumed.err);
    let whole = rederive(at, &[&LONG[..], &["--out", "whole", "--json"]].concat()).success();
    for key in ["steps", "episodes", "final_return_mean", "best_return_mean"] {
        assert_eq!(resumed.json()[key], whole.json()[key], "{key}");
    }
    let file = |folder: &str, name: &str| fs::read(at.join(folder).join(name)).unwrap();
    for name in ["checkpoint.safetensors", "episodes.csv", "config.toml"] {
        assert_eq!(file("cut", name), file("whole", name), "{name}");
    }
}

#[test]
fn several_interrupted_runs_are_all_saved() {
    let dir = tempdir().unwrap();
    let at = dir.path();
    let args = [&LONG[..], &["--seeds", "3", "--threads", "2", "--out", "runs"]].concat();
    let done = interrupted(at, &args, "seed 2     10% ·");
    assert_eq!(done.code, 130, "{}", done.err);
    assert!(done.err.contains("2 runs saved, 1 not begun; go on with each"), "{}", done.err);
    assert!(done.out.contains("(interrupted)"), "{}", done.out);
    rederive(at, &["eval", "runs/seed2", "--episodes", "1"]).success();
}

#[test]
fn an_interrupted_verification_ends_at_once() {
    let dir = tempdir().unwrap();
    // There is nothing on standard error to wait for, so it may get the signal before or during the checks.
    let mut child = command(dir.path())
        .args(["verify", "--cases", "1000000"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut head = String::new();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    out.read_line(&mut head).unwrap();
    assert!(head.starts_with("equation"), "{head}");
    Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    let done: Done = child.wait_with_output().unwrap().into();
    assert_eq!(done.code, 130, "{}", done.err);
    assert!(done.err.contains("interrupted: ") && done.err.contains(" left out"), "{}", done.err);
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let dir = tempdir().unwrap();
    let at = dir.path();
    // The reader is gone before the command writes.
    let closed = |args: &str| format!("(sleep 0.1; \"$R\" {args}; echo $? > code) | true; cat code");
    for args in
        ["list envs", "list --json", "completions bash", "train ppo CartPole-v1 --print-config", "--help"]
    {
        let done = shell(at, &closed(args));
        assert_eq!((done.out.trim(), done.err.as_str()), ("0", ""), "{args}");
    }
    // The verdict of the checks and the run on the disk do not depend on who listens.
    let done = shell(at, &closed("verify gae.recursion --cases 2"));
    assert_eq!(done.out.trim(), "0", "{}", done.err);
    let done = shell(
        at,
        "(sleep 0.1; \"$R\" train ppo CartPole-v1 --steps 256 --out run 2>&1; echo $? > code) | true; cat code",
    );
    assert_eq!((done.out.trim(), done.err.as_str()), ("0", ""));
    assert!(at.join("run/summary.json").is_file());
}

#[test]
fn standard_output_that_can_not_be_written_is_an_error() {
    let dir = tempdir().unwrap();
    tiny(dir.path(), &["--out", "run"]).success();
    if Path::new("/dev/full").exists() {
        let done = shell(dir.path(), "\"$R\" list > /dev/full");
        assert_eq!(done.code, 1);
        assert!(done.err.contains("standard output: No space left"), "{}", done.err);
    }
}
