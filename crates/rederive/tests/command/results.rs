//! What the commands print: one JSON document with --json, and results for people without.

use crate::{keys, rederive, tiny};
use serde_json::{Value, json};
use std::fs;
use tempfile::tempdir;

const TRAIN_KEYS: [&str; 11] = [
    "algo",
    "best_return_mean",
    "env",
    "episodes",
    "final_return_mean",
    "first_step_at_threshold",
    "run_dir",
    "seed",
    "steps",
    "steps_per_second",
    "wall_seconds",
];

#[test]
fn training_prints_one_document() {
    let dir = tempdir().unwrap();
    let done = tiny(dir.path(), &["--json", "--seed", "4", "--out", "run"]).success();
    let document = done.json();
    assert_eq!(keys(&document), TRAIN_KEYS);
    assert_eq!(document["algo"], "ppo");
    assert_eq!(document["env"], "CartPole-v1");
    assert_eq!((&document["seed"], &document["steps"]), (&json!(4), &json!(256)));
    assert_eq!(document["run_dir"], "run");
    assert_eq!(document["first_step_at_threshold"], Value::Null);
    assert!(document["final_return_mean"].as_f64().unwrap() > 5.0);
    assert!(
        document["best_return_mean"].as_f64().unwrap() >= document["final_return_mean"].as_f64().unwrap()
    );
    assert!(
        document["steps_per_second"].as_f64().unwrap() > 0.0
            && document["wall_seconds"].as_f64().unwrap() > 0.0
    );
    let summary: Value =
        serde_json::from_slice(&fs::read(dir.path().join("run/summary.json")).unwrap()).unwrap();
    assert_eq!(summary, document);
    // The progress is on standard error, with a first line before the first step.
    assert!(done.err.starts_with("ppo on CartPole-v1, seed 4, 256 steps -> run\n"), "{}", done.err);
    assert!(
        done.err.contains("steps/s") && done.err.contains("KL") && done.err.contains("clipped"),
        "{}",
        done.err
    );
}

#[test]
fn training_tells_a_person_how_it_went() {
    let dir = tempdir().unwrap();
    let done = tiny(dir.path(), &[]).success();
    assert!(done.out.contains("256 steps in"), "{}", done.out);
    assert!(done.out.contains("not solved: 100 episodes have to average 475"), "{}", done.out);
    assert!(done.out.contains("rederive eval runs/ppo-CartPole-v1-seed1"), "{}", done.out);
    assert!(!done.out.contains('\x1b') && !done.err.contains('\x1b'), "no colours without a terminal");
}

#[test]
fn several_seeds_are_several_runs_whatever_the_threads() {
    let dir = tempdir().unwrap();
    let at = dir.path();
    let two = tiny(at, &["--seeds", "3", "--seed", "5", "--threads", "2", "--json", "--out", "two"])
        .success()
        .json();
    let one = tiny(at, &["--seeds", "3", "--seed", "5", "--threads", "1", "--json", "--out", "one"])
        .success()
        .json();
    let alone = tiny(at, &["--seed", "6", "--json", "--out", "alone"]).success().json();
    let seeds: Vec<u64> = two.as_array().unwrap().iter().map(|run| run["seed"].as_u64().unwrap()).collect();
    assert_eq!(seeds, [5, 6, 7]);
    for i in 0..3 {
        assert_eq!(keys(&two[i]), TRAIN_KEYS);
        assert_eq!(two[i]["final_return_mean"], one[i]["final_return_mean"]);
        assert_eq!(two[i]["run_dir"], format!("two/seed{}", 5 + i));
    }
    assert_eq!(two[1]["final_return_mean"], alone["final_return_mean"]);
    let file = |folder: &str| fs::read(at.join(folder).join("checkpoint.safetensors")).unwrap();
    assert_eq!(file("two/seed6"), file("alone"));
    assert_eq!(file("two/seed6"), file("one/seed6"));

    let document = tiny(at, &["--seeds", "1", "--json"]).success().json();
    assert_eq!(document.as_array().map(Vec::len), Some(1), "with --seeds it is a list");
    let people = tiny(at, &["--seeds", "2", "--out", "people"]).success();
    assert!(people.out.contains("95% interval over 2 seeds"), "{}", people.out);
    assert!(people.out.contains("people/seed2"), "{}", people.out);
}

#[test]
fn an_evaluation_repeats_and_differs_from_random_actions() {
    let dir = tempdir().unwrap();
    let at = dir.path();
    tiny(at, &["--out", "run"]).success();
    let eval = |more: &[&str]| {
        rederive(at, &[&["eval", "run", "--json", "--episodes", "7"], more].concat()).success().json()
    };
    let document = eval(&[]);
    assert_eq!(keys(&document), ["episodes", "length_mean", "return_mean", "return_std"]);
    assert_eq!(document["episodes"], 7);
    assert_eq!(document["return_mean"], document["length_mean"], "CartPole pays 1 per step");
    assert_eq!(document, eval(&[]), "the same seed gives the same episodes");
    assert_ne!(document, eval(&["--seed", "2"]));
    assert_ne!(document, eval(&["--random"]));
    let people = rederive(at, &["eval", "run", "--episodes", "3"]).success();
    assert!(
        people.out.starts_with("ppo on CartPole-v1: return ") && people.out.contains("over 3 episodes"),
        "{}",
        people.out
    );
    let people = rederive(at, &["eval", "run", "--random"]).success();
    assert!(people.out.starts_with("random actions on CartPole-v1"), "{}", people.out);
    assert!(people.out.contains("over 100 episodes"), "{}", people.out);
}

#[test]
fn a_verification_lists_its_checks() {
    let dir = tempdir().unwrap();
    let at = dir.path();
    let done = rederive(at, &["verify", "gae.recursion", "--cases", "8", "--json"]).success();
    let document = done.json();
    let rows = document.as_array().unwrap();
    assert!(!rows.is_empty());
    for row in rows {
        assert_eq!(keys(row), ["cases", "id", "max_error", "passed", "property", "seconds", "tolerance"]);
        assert!(row["id"].as_str().unwrap().starts_with("gae.recursion"), "{row}");
        assert!(row["cases"].as_u64().unwrap() <= 8, "{row}");
        assert_eq!(row["passed"], true);
    }
    let people = rederive(at, &["verify", "gae.recursion", "--cases", "8"]).success();
    let lines: Vec<&str> = people.out.lines().collect();
    assert_eq!(lines.len(), rows.len() + 1, "{}", people.out);
    for word in ["equation", "property", "cases", "largest error", "seconds", "verdict"] {
        assert!(lines[0].contains(word), "{}", lines[0]);
    }
    assert!(lines[1..].iter().all(|line| line.ends_with("ok")), "{}", people.out);
    assert!(people.err.contains("all passed: "), "{}", people.err);
    // Another seed draws other cases.
    let other =
        rederive(at, &["verify", "gae.recursion", "--cases", "8", "--json", "--seed", "9"]).success().json();
    let errors = |document: &Value| {
        document.as_array().unwrap().iter().map(|r| r["max_error"].clone()).collect::<Vec<_>>()
    };
    assert_ne!(errors(&document), errors(&other));
    let star = rederive(at, &["verify", "gae*::definition", "--cases", "1", "--json"]).success().json();
    assert!(star.as_array().unwrap().iter().all(|row| row["property"] == "definition"), "{star}");
}

#[test]
fn a_resumed_run_is_the_run_that_was_not_interrupted() {
    let dir = tempdir().unwrap();
    let at = dir.path();
    // With constant schedules the first half of a long run is a short run.
    let constant = ["--set", "lr_schedule=constant", "--set", "clip_schedule=constant"];
    tiny(at, &[&constant[..], &["--out", "short"]].concat()).success();
    tiny(at, &[&constant[..], &["--out", "long", "--steps", "512"]].concat()).success();
    let done = rederive(at, &["train", "--resume", "short", "--steps", "512", "--json"]).success();
    assert_eq!(done.json()["steps"], 512);
    assert!(done.err.contains("resumed at step 256"), "{}", done.err);
    let file = |folder: &str, name: &str| fs::read(at.join(folder).join(name)).unwrap();
    for name in ["checkpoint.safetensors", "episodes.csv", "config.toml"] {
        assert_eq!(file("short", name), file("long", name), "{name}");
    }
    // A run that is over stays as it is.
    rederive(at, &["train", "ppo", "CartPole-v1", "--resume", "short"]).success();
    assert_eq!(file("short", "checkpoint.safetensors"), file("long", "checkpoint.safetensors"));
}

#[test]
fn curves_are_drawn() {
    let dir = tempdir().unwrap();
    let at = dir.path();
    tiny(at, &["--seeds", "2", "--out", "runs"]).success();
    let done = rederive(at, &["plot", "runs", "--out", "both.svg"]).success();
    assert!(done.out.contains("ppo on CartPole-v1: 2 seeds"), "{}", done.out);
    let svg = fs::read_to_string(at.join("both.svg")).unwrap();
    assert!(svg.starts_with("<svg") && svg.contains("CartPole-v1"), "{svg}");
    rederive(at, &["plot", "runs/seed1"]).success();
    assert!(at.join("curves.svg").is_file());
}
