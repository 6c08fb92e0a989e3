//! Where values come from, and that a printed or saved configuration repeats a run.

use crate::{TINY, keys, rederive, tiny};
use serde_json::{Value, json};
use std::fs;
use tempfile::tempdir;

fn printed(dir: &std::path::Path, args: &[&str]) -> Value {
    rederive(dir, &[args, &["--print-config", "--json"]].concat()).success().json()
}

#[test]
fn the_later_source_is_the_stronger() {
    let dir = tempdir().unwrap();
    let at = dir.path();
    fs::write(at.join("run.toml"), "seed = 5\nsteps = 1000\n[config]\ngamma = 0.7\nnum_steps = 64\n")
        .unwrap();
    let base = ["train", "ppo", "CartPole-v1"];
    let tuned = printed(at, &base);
    let cleanrl = printed(at, &[&base[..], &["--preset", "cleanrl"]].concat());
    assert_eq!((&tuned["preset"], &cleanrl["preset"]), (&json!("tuned"), &json!("cleanrl")));
    assert_eq!((&tuned["steps"], &cleanrl["steps"]), (&json!(100_000), &json!(500_000)));
    assert_eq!(cleanrl["config"]["num_envs"], 4);
    assert_eq!(cleanrl["config"]["target_kl"], Value::Null);
    assert_eq!(tuned["threshold"], 475.0);
    assert_eq!(tuned["seed"], 1);

    let file = [&base[..], &["--preset", "cleanrl", "--config", "run.toml"]].concat();
    let with_file = printed(at, &file);
    assert_eq!(with_file["config"]["gamma"], 0.7);
    assert_eq!(with_file["config"]["num_envs"], 4, "the preset stays where the file says nothing");
    assert_eq!((&with_file["seed"], &with_file["steps"]), (&json!(5), &json!(1000)));

    let set = [&file[..], &["--set", "gamma=0.8", "--set", "steps=2k", "--set", "seed=6"]].concat();
    let with_set = printed(at, &set);
    assert_eq!(with_set["config"]["gamma"], 0.8);
    assert_eq!(with_set["config"]["num_steps"], 64);
    assert_eq!((&with_set["seed"], &with_set["steps"]), (&json!(6), &json!(2000)));

    let flags = printed(at, &[&set[..], &["--steps", "3k", "--seed", "7"]].concat());
    assert_eq!((&flags["seed"], &flags["steps"]), (&json!(7), &json!(3000)));
}

#[test]
fn an_optional_value_can_be_taken_away_again() {
    let dir = tempdir().unwrap();
    let base = ["train", "ppo", "CartPole-v1", "--set", "target_kl=0.02"];
    assert_eq!(printed(dir.path(), &base)["config"]["target_kl"], 0.02);
    let none = [&base[..], &["--set", "target_kl=none"]].concat();
    assert_eq!(printed(dir.path(), &none)["config"]["target_kl"], Value::Null);
}

#[test]
fn every_preset_fits_every_environment() {
    let dir = tempdir().unwrap();
    for env in rederive::env::IDS {
        for algo in rederive::algorithms::ALGORITHMS {
            // Tables want observations that can be counted: not every algorithm takes every environment.
            let made = rederive::env::make_vec(env.id, 1).unwrap();
            if algo.make(&toml::Table::new(), made.as_ref(), 1).is_err_and(|error| error.field == "env") {
                assert_ne!(algo.name, "ppo");
                continue;
            }
            for (preset, _) in algo.presets {
                let document = printed(dir.path(), &["train", algo.name, env.id, "--preset", preset]);
                assert_eq!(document["env"], env.id);
                let mut fields = (algo.fields)().to_vec();
                fields.sort_unstable();
                assert_eq!(keys(&document["config"]), fields);
            }
        }
    }
}

#[test]
fn a_printed_configuration_prints_itself() {
    let dir = tempdir().unwrap();
    let at = dir.path();
    let first =
        [&TINY[..], &["--seed", "3", "--preset", "cleanrl", "--set", "target_kl=0.5", "--print-config"]]
            .concat();
    let first = rederive(at, &first).success().out;
    assert!(first.contains("seed = 3\n") && first.contains("target_kl = 0.5\n"), "{first}");
    fs::write(at.join("run.toml"), &first).unwrap();
    let again = rederive(at, &["train", "--config", "run.toml", "--preset", "cleanrl", "--print-config"])
        .success()
        .out;
    assert_eq!(first, again);
    // The preset below a complete file is of no consequence.
    let tuned = rederive(at, &["train", "--config", "run.toml", "--print-config"]).success().out;
    assert_eq!(first.replace("preset cleanrl", "preset tuned"), tuned);
}

#[test]
fn the_configuration_of_a_run_repeats_it_bit_for_bit() {
    let dir = tempdir().unwrap();
    let at = dir.path();
    tiny(at, &["--out", "a", "--seed", "9", "--set", "target_kl=0.3"]).success();
    rederive(at, &["train", "--config", "a/config.toml", "--out", "b"]).success();
    tiny(at, &["--out", "c", "--seed", "10", "--set", "target_kl=0.3"]).success();
    let file = |run: &str, name: &str| fs::read(at.join(run).join(name)).unwrap();
    for name in ["config.toml", "checkpoint.safetensors", "episodes.csv"] {
        assert_eq!(file("a", name), file("b", name), "{name}");
    }
    assert_ne!(file("a", "checkpoint.safetensors"), file("c", "checkpoint.safetensors"));
}

#[test]
fn a_run_goes_where_it_is_told_and_never_over_another_one() {
    let dir = tempdir().unwrap();
    let at = dir.path();
    for folder in ["runs/ppo-CartPole-v1-seed1", "runs/ppo-CartPole-v1-seed1-2"] {
        let document = tiny(at, &["--json"]).success().json();
        assert_eq!(document["run_dir"], folder);
    }
    let lake =
        ["train", "ppo", "FrozenLake-v1?slippery=false", "--steps", "8", "--set", "num_steps=1", "--json"];
    assert_eq!(
        rederive(at, &lake).success().json()["run_dir"],
        "runs/ppo-FrozenLake-v1_slippery_false-seed1"
    );
    for name in [
        "config.toml",
        "metrics.csv",
        "metrics.jsonl",
        "episodes.csv",
        "events.out.tfevents.rederive",
        "curve.svg",
        "checkpoint.safetensors",
        "summary.json",
    ] {
        assert!(at.join("runs/ppo-CartPole-v1-seed1").join(name).is_file(), "{name}");
    }
}
