//! Bad input is refused with exit code 2, a message that says what is wrong and where, nothing on standard output, and nothing
//! left behind.

use crate::{Done, rederive, shell, tiny};
use std::fs;
use std::path::Path;
use tempfile::tempdir;

/// Runs the command, which has to refuse its input with a message that contains all `parts`.
fn refused(dir: &Path, args: &[&str], parts: &[&str]) -> Done {
    let done = rederive(dir, args);
    assert_eq!(done.code, 2, "{args:?}: {}{}", done.out, done.err);
    assert_eq!(done.out, "", "{args:?}");
    for part in parts {
        assert!(done.err.contains(part), "{args:?}: {part:?} is not in {:?}", done.err);
    }
    done
}

#[test]
fn unknown_names_suggest_the_nearest() {
    let dir = tempdir().unwrap();
    let at = dir.path();
    for (args, parts) in [
        (&["train", "pop", "CartPole-v1"][..], &["unknown algorithm `pop`; did you mean `ppo`?"][..]),
        (
            &["train", "ppo", "Cartpole-v0"],
            &["unknown environment `Cartpole-v0`; did you mean `CartPole-v1`?"],
        ),
        (
            &["train", "dqn", "Pendulum-v1"],
            &[
                "dqn takes discrete actions, which Pendulum-v1 does not have (these have: CartPole-v1, ",
                "what fits Pendulum-v1: ppo, ",
            ],
        ),
        (
            &["train", "ppo", "FrozenLake-v1?slipery=false"],
            &["no option `slipery`; did you mean `slippery`?"],
        ),
        (
            &["train", "ppo", "CartPole-v1", "--preset", "tune"],
            &["unknown preset `tune`; did you mean `tuned`?"],
        ),
        (
            &["train", "ppo", "CartPole-v1", "--set", "gama=0.9"],
            &["--set", "unknown field `gama`; did you mean `gamma`?"],
        ),
        (&["train", "ppo", "CartPole-v1", "--set", "learning_rate=0.1"], &["did you mean `lr`?"]),
        (
            &["train", "ppo", "CartPole-v1", "--set", "qqqq=1"],
            &["unknown field `qqqq` (--print-config shows all)"],
        ),
        (&["train", "ppo", "CartPole-v1", "--setp", "1"], &["--set"]),
        (&["verify", "gae.recursoin"], &["no check matches `gae.recursoin`; did you mean `gae.recursion`?"]),
        (&["lst"], &["list"]),
    ] {
        refused(at, args, parts);
    }
    assert_eq!(fs::read_dir(at).unwrap().count(), 0, "nothing is left behind");
}

#[test]
fn values_out_of_range_name_field_value_range_and_origin() {
    let dir = tempdir().unwrap();
    let at = dir.path();
    let set = |assignment: &str, parts: &[&str]| {
        refused(at, &["train", "ppo", "CartPole-v1", "--set", assignment], parts);
        // A configuration that is printed can be run.
        refused(at, &["train", "ppo", "CartPole-v1", "--set", assignment, "--print-config"], parts);
    };
    set("gamma=1.5", &["gamma = 1.5: must be in [0, 1] (--set)"]);
    set("gamma=nan", &["gamma = NaN: must be in [0, 1] (--set)"]);
    set("gamma=high", &["gamma = \"high\": must be a number (--set)"]);
    set("num_envs=0", &["num_envs = 0: must be in 1..=65536 (--set)"]);
    set("num_envs=-3", &["num_envs = -3: must be", "(--set)"]);
    set("num_envs=1000000000000", &["num_envs = 1000000000000: must be in 1..=65536 (--set)"]);
    set("num_steps=2.5", &["num_steps = 2.5: must be a whole number"]);
    set("clip_value=7", &["clip_value = 7: must be true or false"]);
    set("objective=clop", &["objective = \"clop\": must be \"clip\" or \"penalty\" (--set)"]);
    set("objective=penalty", &["target_kl = none: must be set when objective = \"penalty\""]);
    set("steps=0", &["steps = 0: must be a whole number, at least 1 (--set)"]);
    set("seed=-1", &["seed = -1: must be a whole number, not negative (--set)"]);
    set("threshold=true", &["threshold = true: must be a finite number (--set)"]);
    for (args, parts) in [
        (&["--steps", "0"][..], &["--steps", "positive whole number"][..]),
        (&["--steps", "soon"], &["--steps", "100k"]),
        (&["--seeds", "0"], &["--seeds"]),
        (&["--seed", "18446744073709551615"], &["--seed"]),
        (&["--seed", "9223372036854775807", "--seeds", "2"], &["--seeds 2", "below 2^63"]),
        (&["--threads", "0"], &["--threads"]),
        (&["--set", "gamma"], &["FIELD=VALUE"]),
        (&["--set", "env=Acrobot-v1"], &["the env is an argument"]),
    ] {
        refused(at, &[&["train", "ppo", "CartPole-v1"], args].concat(), parts);
    }
    for (algo, assignment, part) in [
        ("dqn", "replay=10", "must be in 1..=10, the size of the replay"),
        ("dqn", "target_period=0", "target_period = 0: must be at least 1 (--set)"),
        ("trpo", "cg_damping=-1", "cg_damping = -1: must be at least 0 (--set)"),
        ("a2c", "num_steps=0", "num_steps = 0: must be in 1..="),
    ] {
        refused(at, &["train", algo, "CartPole-v1", "--set", assignment], &[part]);
    }
    refused(at, &["train", "ppo", "FrozenLake-v1?slippery=maybe"], &["option `slippery` is `maybe`"]);
    refused(at, &["verify", "--cases", "0"], &["--cases"]);
    refused(at, &["train"], &["an algorithm is missing"]);
    refused(at, &["train", "ppo"], &["an environment is missing"]);
    assert_eq!(fs::read_dir(at).unwrap().count(), 0, "nothing is left behind");
}

#[test]
fn configuration_files_are_refused_with_line_and_column() {
    let dir = tempdir().unwrap();
    let at = dir.path();
    for (text, parts) in [
        ("steps = 100\ngamma 0.9\n", &["run.toml, line 2, column 7: ", "2 | gamma 0.9\n", "      ^"][..]),
        ("steps = \"é\" x\n", &["run.toml, line 1, column 13: "]),
        ("[config]\ngamma = 0.9\ngamma = 0.8\n", &["run.toml, line 3, column 1: ", "duplicate key"]),
        ("gamma = 0.9\n[config]\ngamma = 0.8\n", &["run.toml, line 3, column 1: `gamma` is given twice"]),
        ("\n  gama = 0.9\n", &["run.toml, line 2, column 3: unknown field `gama`; did you mean `gamma`?"]),
        (
            "[config]\nlambda = 0.9\n",
            &["run.toml, line 2, column 1: unknown field `lambda`; did you mean `gae_lambda`?"],
        ),
        ("[config]\n\ngamma = 3\n", &["gamma = 3: must be in [0, 1] (run.toml, line 3, column 1)"]),
        ("hidden = [8, \"x\"]\n", &["hidden = [8, \"x\"]: must be", "(run.toml, line 1, column 1)"]),
        ("steps = 1.5\n", &["steps = 1.5: must be a whole number, at least 1 (run.toml, line 1, column 1)"]),
        ("config = 3\n", &["config = 3: must be a table", "(run.toml, line 1, column 1)"]),
        ("env = 3\n", &["env = 3: must be a string (run.toml, line 1, column 1)"]),
        (
            "preset = \"best\"\n",
            &["run.toml, line 1, column 1: unknown preset `best` (ppo has: tuned, cleanrl)"],
        ),
        ("algo = \"dqn\"\n", &["run.toml, line 1, column 1 is for dqn"]),
    ] {
        fs::write(at.join("run.toml"), text).unwrap();
        refused(at, &["train", "ppo", "CartPole-v1", "--config", "run.toml"], parts);
    }
    fs::write(at.join("run.toml"), "algo = \"ppo\"\nenv = \"CartPole\"\n").unwrap();
    let near = "run.toml, line 2, column 1: unknown environment `CartPole`; did you mean `CartPole-v1`?";
    refused(at, &["train", "--config", "run.toml"], &[near]);
    refused(at, &["train", "ppo", "CartPole-v1", "--config", "none.toml"], &["none.toml", "No such file"]);
    refused(at, &["train", "ppo", "CartPole-v1", "--config", "."], &[".: can't be read: "]);
}

#[test]
fn what_can_not_be_resumed_is_refused() {
    let dir = tempdir().unwrap();
    let at = dir.path();
    tiny(at, &["--out", "run"]).success();
    let checkpoint = at.join("run/checkpoint.safetensors");
    let (good, config) =
        (fs::read(&checkpoint).unwrap(), fs::read_to_string(at.join("run/config.toml")).unwrap());
    let resume = |parts: &[&str]| refused(at, &["train", "--resume", "run"], parts);

    refused(at, &["train", "--resume", "nowhere"], &["nowhere: is not a folder"]);
    fs::create_dir(at.join("empty")).unwrap();
    refused(
        at,
        &["train", "--resume", "empty"],
        &["empty: is not the folder of a run: it has no config.toml"],
    );
    refused(at, &["train", "dqn", "CartPole-v1", "--resume", "run"], &["run: the algorithm is ppo, not dqn"]);
    refused(
        at,
        &["train", "ppo", "Acrobot-v1", "--resume", "run"],
        &["run: the environment is CartPole-v1, not Acrobot-v1"],
    );
    refused(at, &["train", "--resume", "run", "--set", "gamma=0.9"], &["--set with --resume"]);
    refused(at, &["train", "--resume", "run", "--config", "x.toml"], &["--config"]);
    refused(at, &["eval", "nowhere"], &["nowhere: is not a folder"]);

    let cut = &good[..good.len() - 5];
    fs::write(&checkpoint, cut).unwrap();
    resume(&["run/checkpoint.safetensors, byte", "cut short"]);
    refused(at, &["eval", "run"], &["run/checkpoint.safetensors, byte", "cut short"]);

    // The header is JSON, so that a digit or a name of the same length can be exchanged.
    let with = |from: &str, to: &str| {
        let at = good.windows(from.len()).position(|w| w == from.as_bytes()).expect(from);
        let mut bytes = good.clone();
        bytes[at..at + to.len()].copy_from_slice(to.as_bytes());
        fs::write(&checkpoint, bytes).unwrap();
    };
    with("\"version\":\"1\"", "\"version\":\"7\"");
    resume(&["run/checkpoint.safetensors, header: format version 7"]);
    with("\"algo\":\"ppo\"", "\"algo\":\"dqn\"");
    resume(&["run/checkpoint.safetensors, header: the algorithm is dqn, but the run has ppo"]);
    fs::write(&checkpoint, "not a checkpoint").unwrap();
    resume(&["run/checkpoint.safetensors"]);
    fs::remove_file(&checkpoint).unwrap();
    resume(&["run/checkpoint.safetensors: can't be read"]);

    fs::write(&checkpoint, &good).unwrap();
    let write = |text: String| fs::write(at.join("run/config.toml"), text).unwrap();
    write(config.replace("hidden = [8]", "hidden = [9]"));
    resume(&["run/checkpoint.safetensors", "another seed or configuration than run/config.toml says"]);
    write(config.replace("gamma = ", "gamma = 7"));
    resume(&["run/config.toml: gamma = 7"]);
    write(config.replace("steps = 256", "steps = = 256"));
    resume(&["run/config.toml, line 4, column 9: "]);
    write(config.replace("algo = \"ppo\"", "algo = \"dqm\""));
    resume(&["unknown algorithm `dqm`"]);
    write(config);
    rederive(at, &["train", "--resume", "run"]).success();
}

#[test]
fn folders_that_can_not_be_written_are_refused() {
    let dir = tempdir().unwrap();
    let at = dir.path();
    fs::write(at.join("file"), "").unwrap();
    let train = |out: &str, parts: &[&str]| {
        refused(at, &["train", "ppo", "CartPole-v1", "--out", out], parts);
        refused(at, &["train", "ppo", "CartPole-v1", "--seeds", "2", "--out", out], parts);
    };
    train("file/run", &["file/run", "can't be created"]);
    train("/dev/null/run", &["/dev/null/run", "can't be created"]);
    tiny(at, &["--out", "run"]).success();
    let taken = &["run: already holds a run"];
    refused(at, &["train", "ppo", "CartPole-v1", "--out", "run"], taken);
    refused(at, &["plot", "run", "--out", "file/curves.svg"], &["file/curves.svg"]);
    refused(at, &["eval", "run", "--render", "file/film.svg"], &["file/film.svg: can't be written"]);
}

#[test]
#[cfg(unix)]
fn a_disk_that_is_full_ends_the_run_and_keeps_the_checkpoint() {
    let dir = tempdir().unwrap();
    let at = dir.path();
    // No file may grow beyond 64 KiB: what a full disk looks like to the program, without filling one.
    let limited = "trap '' XFSZ; ulimit -f 64; exec \"$R\"";
    let arguments = "train ppo CartPole-v1 --steps 100k --set num_envs=1 --set num_steps=8 --set minibatch=8 \
                     --set hidden=[4] --set num_epochs=1 --out run";
    let done = shell(at, &format!("{limited} {arguments}"));
    assert_eq!((done.code, done.out.as_str()), (1, ""), "{}", done.err);
    assert!(done.err.contains("error: run/") && done.err.contains("can't be written"), "{}", done.err);
    assert!(done.err.contains("the last good checkpoint is run/checkpoint.safetensors"), "{}", done.err);
    rederive(at, &["eval", "run", "--episodes", "1"]).success();

    let done = shell(at, "trap '' XFSZ; ulimit -f 0; exec \"$R\" train ppo CartPole-v1 --out none");
    assert_eq!((done.code, done.out.as_str()), (2, ""), "{}", done.err);
    assert!(done.err.contains("none/config.toml") && done.err.contains("can't be written"), "{}", done.err);
}

#[test]
fn evaluations_of_nothing_are_refused() {
    let dir = tempdir().unwrap();
    let at = dir.path();
    tiny(at, &["--out", "run"]).success();
    refused(at, &["eval", "run", "--episodes", "0"], &["episodes = 0: must be at least 1"]);
    refused(at, &["eval", "run", "--episodes", "0", "--render"], &["episodes = 0: must be at least 1"]);
    refused(at, &["eval"], &["a run folder is missing"]);
    refused(at, &["eval", "run", "--render", "film.gif"], &["--render film.gif", "terminal", ".svg"]);
    refused(at, &["plot"], &["RUN_DIR"]);
    refused(at, &["plot", "nowhere"], &["nowhere"]);
}
