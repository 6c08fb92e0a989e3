//! Help, lists and completions.

use crate::{keys, rederive};
use std::path::Path;

#[test]
fn help_has_examples_that_fit_a_terminal() {
    let here = Path::new(".");
    for args in [
        &["--help"][..],
        &["train", "--help"],
        &["eval", "-h"],
        &["solve", "--help"],
        &["verify", "--help"],
        &["plot", "--help"],
        &["play", "--help"],
        &["list", "--help"],
    ] {
        let done = rederive(here, args).success();
        assert!(done.out.contains("Usage: rederive") && done.out.contains("Examples:"), "{}", done.out);
        let examples = done.out.split("Examples:").nth(1).unwrap();
        assert!(examples.lines().all(|line| line.chars().count() <= 84), "{examples}");
    }
    let version = rederive(here, &["--version"]).success().out;
    assert_eq!(version, format!("rederive {}\n", env!("CARGO_PKG_VERSION")));
    let nothing = rederive::<&str>(here, &[]);
    assert_eq!((nothing.code, nothing.out.as_str()), (2, ""));
    assert!(nothing.err.contains("Usage: rederive"), "{}", nothing.err);
}

#[test]
fn lists_name_everything() {
    let here = Path::new(".");
    let all = rederive(here, &["list"]).success().out;
    assert!(all.contains("ppo") && all.contains("presets: tuned, cleanrl"), "{all}");
    for env in rederive::env::IDS {
        assert!(all.contains(env.id) && all.contains(env.description), "{all}");
    }
    let equations = rederive(here, &["list", "equations"]).success().out;
    assert!(equations.contains("gae.recursion"), "{equations}");
    let algos = rederive(here, &["list", "algos", "--json"]).success().json();
    assert_eq!(keys(&algos[0]), ["actions", "description", "fields", "name", "presets"]);
    let envs = rederive(here, &["list", "envs", "--json"]).success().json();
    assert_eq!(envs.as_array().unwrap().len(), rederive::env::IDS.len());
    assert_eq!(envs[0]["id"], "CartPole-v1");
    assert_eq!(envs[0]["reward_threshold"], 475.0);
    let equations = rederive(here, &["list", "equations", "--json"]).success().json();
    assert!(equations.as_array().unwrap().iter().any(|row| row["id"] == "gae.recursion"), "{equations}");
    assert_eq!(keys(&rederive(here, &["list", "--json"]).success().json()), ["algos", "envs"]);
}

#[test]
fn completions_know_commands_flags_and_names() {
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let script = rederive(Path::new("."), &["completions", shell]).success().out;
        // Not every shell's script knows the values of an argument.
        let values =
            &["cleanrl", "equations"][..if matches!(shell, "bash" | "zsh" | "fish") { 2 } else { 0 }];
        for word in ["verify", "print-config", "temperature"].iter().chain(values) {
            assert!(script.contains(word), "{shell}: {word}");
        }
    }
    assert_eq!(rederive(Path::new("."), &["completions", "tcsh"]).code, 2);
}
