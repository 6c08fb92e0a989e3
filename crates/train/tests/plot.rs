//! Plots of several runs.

mod fake;

use fake::{FakeEnv, FakeLearner, spec};
use rederive_train::{FormatError, PlottedCurve, RunFolder, RunSpec, files, plot_runs, train};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

fn run_in(path: &Path, spec: &RunSpec) {
    let folder = RunFolder::create(path, spec).unwrap();
    let (mut learner, mut env) = (FakeLearner::new(spec.seed, 3), FakeEnv::new(3));
    train(&mut learner, &mut env, spec, Some(&folder), &AtomicBool::new(false), &mut |_| {}).unwrap();
}

/// A run folder with this configuration and these (steps, mean return).
fn write_run(path: &Path, algo: &str, env: &str, seed: u64, rows: &[(u64, Option<f64>)]) {
    fs::create_dir_all(path).unwrap();
    let threshold = if env == "Fake-v0" { "threshold = 2.5\n" } else { "" };
    let config = format!("algo = '{algo}'\nenv = '{env}'\nseed = {seed}\nsteps = 100\n{threshold}[config]\n");
    fs::write(path.join(files::CONFIG), config).unwrap();
    let mut csv = "update,steps,episodes,return_mean,length_mean,wall_seconds,steps_per_second\n".to_owned();
    for (i, (steps, mean)) in rows.iter().enumerate() {
        let mean = mean.map_or(String::new(), |m| m.to_string());
        csv += &format!("{},{steps},{i},{mean},{mean},0.1,100\n", i + 1);
    }
    fs::write(path.join(files::METRICS_CSV), csv).unwrap();
}

fn error(folders: &[PathBuf], out: &Path) -> FormatError {
    plot_runs(folders, out).unwrap_err()
}

#[test]
fn curves_are_grouped_and_aligned() {
    let root = tempfile::tempdir().unwrap();
    let at = |name: &str| root.path().join(name);
    // Three seeds in one folder, on different steps; the last to begin and the first to end decide.
    write_run(
        &at("many/seed-1"),
        "ppo",
        "Fake-v0",
        1,
        &[(10, None), (20, Some(1.0)), (40, Some(2.0)), (60, Some(4.0))],
    );
    write_run(&at("many/seed-2"), "ppo", "Fake-v0", 2, &[(5, Some(0.0)), (35, Some(3.0)), (50, Some(6.0))]);
    write_run(&at("many/seed-10"), "ppo", "Fake-v0", 10, &[(30, Some(2.0)), (70, Some(9.0))]);
    write_run(&at("other"), "dqn", "Fake-v0", 1, &[(100, Some(-1.0))]);
    write_run(&at("elsewhere"), "ppo", "Other-v0", 1, &[(50, Some(-100.0)), (90, Some(-50.0))]);
    let out = at("plot.svg");
    let curve = |algo: &str, env: &str, runs: &[&str], steps, return_mean| PlottedCurve {
        algo: algo.to_owned(),
        env: env.to_owned(),
        runs: runs.iter().map(|r| at(r)).collect(),
        steps,
        return_mean,
    };
    // A folder that is named twice counts once.
    let folders = [at("many"), at("other"), at("elsewhere"), at("many/seed-2")];
    let curves = plot_runs(&folders, &out).unwrap();
    assert_eq!(
        curves,
        [
            curve("ppo", "Fake-v0", &["many/seed-1", "many/seed-2", "many/seed-10"], 50, 10.0 / 3.0),
            curve("dqn", "Fake-v0", &["other"], 100, -1.0),
            curve("ppo", "Other-v0", &["elsewhere"], 90, -50.0),
        ]
    );
    let svg = fs::read_to_string(&out).unwrap();
    for text in
        ["Fake-v0", "Other-v0", "ppo, 3 seeds", "ppo, seed 1", "dqn, seed 1", "threshold 2.5", "polygon"]
    {
        assert!(svg.contains(text), "{text} in\n{svg}");
    }
    assert!(!svg.contains("NaN"));
}

#[test]
fn real_runs_can_be_drawn() {
    let root = tempfile::tempdir().unwrap();
    for seed in 0..3 {
        run_in(&root.path().join(format!("seed-{seed}")), &spec(seed, 900));
    }
    let out = root.path().join("plot.svg");
    let curves = plot_runs(&[root.path().to_owned()], &out).unwrap();
    assert_eq!((curves.len(), curves[0].runs.len(), curves[0].steps), (1, 3, 900));
    let first = fs::read(&out).unwrap();
    plot_runs(&[root.path().to_owned()], &out).unwrap();
    assert_eq!(fs::read(&out).unwrap(), first);
}

#[test]
fn what_is_not_a_run_is_refused() {
    let root = tempfile::tempdir().unwrap();
    let at = |name: &str| root.path().join(name);
    let out = at("plot.svg");
    assert!(error(&[], &out).problem.contains("no runs to draw"));
    let missing = error(&[at("none")], &out);
    assert_eq!((missing.path, missing.problem.as_str()), (at("none"), "is not a folder"));
    fs::create_dir_all(at("empty/inner")).unwrap();
    assert!(error(&[at("empty")], &out).problem.contains("is not the folder of a run"));

    let log = at("run").join(files::METRICS_CSV);
    write_run(&at("run"), "ppo", "Fake-v0", 1, &[(10, None)]);
    let silent = error(&[at("run")], &out);
    assert_eq!(silent.path, log);
    assert!(silent.problem.contains("no episode has ended"));

    write_run(&at("run"), "ppo", "Fake-v0", 1, &[(10, None), (20, Some(1.0)), (30, Some(2.0))]);
    let good = fs::read_to_string(&log).unwrap();
    for (from, to, line, problem) in [
        ("update,steps", "steps,update", 1, "is not the header of a metrics log"),
        ("\n2,20", "\n2,x", 3, "steps = \"x\" is not a number of steps"),
        ("\n3,30", "\n3,20", 4, "steps = 20 does not come after the row before it"),
        ("20,1,1,", "20,1,one,", 3, "return_mean = \"one\" is not a number"),
        ("20,1,1,", "20,1,inf,", 3, "return_mean = \"inf\" is not a number"),
        (",0.1,100\n3", "\n3", 3, "has 5 columns, expected 7"),
        ("\n2,", "\n\n2,", 3, "has 1 columns, expected 7"),
    ] {
        let broken = good.replacen(from, to, 1);
        assert_ne!(broken, good, "{from}");
        fs::write(&log, broken).unwrap();
        let error = error(&[at("run")], &out);
        assert_eq!((&error.path, error.position), (&log, Some(format!("line {line}"))), "{}", error.problem);
        assert_eq!(error.problem, problem);
    }
    fs::write(&log, b"update,steps,episodes,return_mean,length_mean\n\xff\n").unwrap();
    assert_eq!(error(&[at("run")], &out).position.as_deref(), Some("line 2"));
    fs::write(&log, "").unwrap();
    assert_eq!(error(&[at("run")], &out).position.as_deref(), Some("line 1"));
    fs::remove_file(&log).unwrap();
    assert!(error(&[at("run")], &out).problem.starts_with("can't be read: "));
    fs::write(at("run").join(files::CONFIG), "algo = ").unwrap();
    assert_eq!(error(&[at("run")], &out).position.as_deref(), Some("line 1, column 8"));

    // Runs without a step in common.
    write_run(&at("apart/seed-1"), "ppo", "Fake-v0", 1, &[(10, Some(1.0))]);
    write_run(&at("apart/seed-2"), "ppo", "Fake-v0", 2, &[(20, Some(1.0))]);
    assert!(error(&[at("apart")], &out).problem.contains("no step in common"));
    assert!(!out.exists());
}

#[test]
fn a_plot_that_cant_be_written_is_an_error_with_its_path() {
    let root = tempfile::tempdir().unwrap();
    let run = root.path().join("run");
    write_run(&run, "ppo", "Fake-v0", 1, &[(20, Some(1.0)), (30, Some(2.0))]);
    let out = root.path().join("none/plot.svg");
    let error = error(&[run], &out);
    assert_eq!(error.path, out);
    assert!(error.problem.starts_with("can't be written: "), "{error}");
}
