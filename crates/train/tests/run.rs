//! The run loop and its folders, with a learner that costs nothing.

mod fake;

use fake::{ENV, FakeEnv, FakeLearner, spec};
use rederive_train::{
    CheckpointEvery, Diverged, Event, FormatError, Outcome, RunError, RunFolder, RunSpec, Summary, files,
    spread, train,
};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

const NUM_ENVS: usize = 3;
/// Environment steps of one iteration.
const PER_UPDATE: u64 = 15;

struct Setup {
    learner: FakeLearner,
    env: FakeEnv,
}

impl Setup {
    fn new(seed: u64) -> Self {
        Setup { learner: FakeLearner::new(seed, NUM_ENVS), env: FakeEnv::new(NUM_ENVS) }
    }

    fn train(&mut self, spec: &RunSpec, folder: Option<&RunFolder>) -> Result<Outcome, RunError> {
        self.train_until(spec, folder, u64::MAX)
    }

    /// As if Ctrl-C came in update `stop_at`.
    fn train_until(
        &mut self,
        spec: &RunSpec,
        folder: Option<&RunFolder>,
        stop_at: u64,
    ) -> Result<Outcome, RunError> {
        let stop = AtomicBool::new(false);
        train(&mut self.learner, &mut self.env, spec, folder, &stop, &mut |event| {
            if let Event::Update(update) = event
                && update.update == stop_at
            {
                stop.store(true, Ordering::Relaxed);
            }
        })
    }
}

/// Runs in a new folder.
fn run_in(path: &Path, spec: &RunSpec) -> Summary {
    let folder = RunFolder::create(path, spec).unwrap();
    let outcome = Setup::new(spec.seed).train(spec, Some(&folder)).unwrap();
    assert!(!outcome.interrupted);
    outcome.summary
}

/// Opens a folder and goes on.
fn go_on(path: &Path, stop_at: u64) -> Outcome {
    let (folder, spec) = RunFolder::open(path).unwrap();
    // Another seed on purpose: whatever is not in the checkpoint would show.
    Setup::new(999).train_until(&spec, Some(&folder), stop_at).unwrap()
}

fn format_error(result: Result<Outcome, RunError>) -> FormatError {
    match result {
        Err(RunError::Format(error)) => error,
        other => panic!("expected a format error, got {other:?}"),
    }
}

/// The content of a CSV log without its last `columns`, which depend on the clock.
fn without_clock(path: &Path, columns: usize) -> Vec<String> {
    let text = fs::read_to_string(path).unwrap();
    assert!(text.ends_with('\n'));
    text.lines().map(|l| l.rsplitn(columns + 1, ',').last().unwrap().to_owned()).collect()
}

fn json_rows(path: &Path) -> Vec<BTreeMap<String, serde_json::Value>> {
    let text = fs::read_to_string(path).unwrap();
    assert!(text.ends_with('\n'));
    text.lines().map(|l| serde_json::from_str(l).unwrap()).collect()
}

#[test]
fn a_run_leaves_all_its_files() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("deep/er/run");
    let spec = spec(7, 1000);
    let summary = run_in(&path, &spec);
    assert_eq!((summary.algo.as_str(), summary.env.as_str(), summary.seed), ("fake", ENV, 7));
    // Whole iterations, as many as fit.
    assert_eq!(summary.steps, 66 * PER_UPDATE);
    assert_eq!(summary.run_dir.as_deref(), Some(&*path));
    assert!(summary.wall_seconds > 0.0);
    assert!((summary.steps_per_second * summary.wall_seconds - summary.steps as f64).abs() < 1e-6);

    let mut names: Vec<String> =
        fs::read_dir(&path).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    let mut expected = [
        files::CONFIG,
        files::METRICS_CSV,
        files::METRICS_JSONL,
        files::EPISODES,
        files::TENSORBOARD,
        files::CURVE,
        files::CHECKPOINT,
        files::SUMMARY,
    ];
    expected.sort();
    assert_eq!(names, expected);

    let (_, back) = RunFolder::open(&path).unwrap();
    assert_eq!(back, spec);
    let json: serde_json::Value =
        serde_json::from_str(&fs::read_to_string(path.join(files::SUMMARY)).unwrap()).unwrap();
    let mut keys: Vec<&String> = json.as_object().unwrap().keys().collect();
    keys.sort();
    let mut expected = [
        "algo",
        "env",
        "seed",
        "steps",
        "wall_seconds",
        "steps_per_second",
        "episodes",
        "final_return_mean",
        "best_return_mean",
        "first_step_at_threshold",
        "run_dir",
    ];
    expected.sort();
    assert_eq!(keys, expected);
    assert_eq!(serde_json::from_value::<Summary>(json).unwrap(), summary);

    let csv = fs::read_to_string(path.join(files::METRICS_CSV)).unwrap();
    let header =
        "update,steps,episodes,return_mean,length_mean,weight,progress,odd,wall_seconds,steps_per_second";
    assert_eq!(csv.lines().next(), Some(header));
    assert_eq!(csv.lines().count(), 67);
    let episodes = fs::read_to_string(path.join(files::EPISODES)).unwrap();
    assert_eq!(episodes.lines().count() as u64, 1 + summary.episodes);

    let svg = fs::read_to_string(path.join(files::CURVE)).unwrap();
    for text in
        ["fake on Fake-v0, seed 7", "environment steps", "mean of 100 episodes", "episodes", "threshold 3"]
    {
        assert!(svg.contains(text), "{text} in\n{svg}");
    }
}

#[test]
fn the_rows_agree_with_each_other_and_with_the_episodes() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("run");
    let summary = run_in(&path, &spec(1, 6000));
    let rows = json_rows(&path.join(files::METRICS_JSONL));
    let csv = fs::read_to_string(path.join(files::METRICS_CSV)).unwrap();
    let names: Vec<&str> = csv.lines().next().unwrap().split(',').collect();
    let episodes: Vec<Vec<f64>> = fs::read_to_string(path.join(files::EPISODES))
        .unwrap()
        .lines()
        .skip(1)
        .map(|l| l.split(',').map(|x| x.parse().unwrap()).collect())
        .collect();
    assert_eq!(csv.lines().count() - 1, rows.len());
    for (line, row) in csv.lines().skip(1).zip(&rows) {
        let fields: Vec<&str> = line.split(',').collect();
        assert_eq!(fields.len(), row.len());
        for (name, field) in names.iter().zip(&fields) {
            match &row[*name] {
                serde_json::Value::Null => assert!(["", "NaN", "-inf"].contains(field), "{name} = {field}"),
                value => assert_eq!(value.as_f64(), field.parse().ok(), "{name}"),
            }
        }
        let (steps, count) = (row["steps"].as_u64().unwrap(), row["episodes"].as_u64().unwrap() as usize);
        assert_eq!(steps, row["update"].as_u64().unwrap() * PER_UPDATE);
        assert_eq!(count, episodes.iter().filter(|e| e[1] as u64 <= steps).count());
        let last = &episodes[count.saturating_sub(100)..count];
        for (name, column) in [("return_mean", 2), ("length_mean", 3)] {
            let mean = last.iter().map(|e| e[column]).sum::<f64>() / last.len() as f64;
            match row[name].as_f64() {
                Some(value) => assert!((value - mean).abs() < 1e-6, "{value} {mean}"),
                None => assert!(last.is_empty()),
            }
        }
    }
    // The summary, from the episodes alone (a return that is an f32 has the digits of one).
    let means: Vec<(u64, f64)> = episodes
        .windows(100)
        .map(|w| (w[99][1] as u64, w.iter().map(|e| e[2]).sum::<f64>() / 100.0))
        .collect();
    let best = means.iter().map(|m| m.1).fold(f64::NEG_INFINITY, f64::max);
    let last = means.last().unwrap().1;
    assert!((summary.best_return_mean.unwrap() - best).abs() < 1e-6);
    assert!((summary.final_return_mean.unwrap() - last).abs() < 1e-6);
    let first = means.iter().find(|m| m.1 >= 3.0).map(|m| m.0);
    assert!(first.is_some(), "the fake learner reaches its threshold");
    assert_eq!(summary.first_step_at_threshold, first);
}

#[test]
fn an_interrupted_and_resumed_run_equals_an_uninterrupted_one() {
    let root = tempfile::tempdir().unwrap();
    let spec = spec(5, 3000);
    let whole = root.path().join("whole");
    let expected = run_in(&whole, &spec);

    let path = root.path().join("parts");
    let folder = RunFolder::create(&path, &spec).unwrap();
    let outcome = Setup::new(5).train_until(&spec, Some(&folder), 17).unwrap();
    assert!(outcome.interrupted);
    assert_eq!(outcome.summary.steps, 17 * PER_UPDATE);
    assert!(!path.join(files::SUMMARY).exists());
    assert!(path.join(files::CURVE).exists());
    // Twice, and once directly after resuming.
    assert!(go_on(&path, 18).interrupted);
    assert!(go_on(&path, 120).interrupted);
    let outcome = go_on(&path, u64::MAX);
    assert!(!outcome.interrupted);
    assert_same_runs(&whole, &path);

    let clockless = |mut s: Summary| {
        (s.wall_seconds, s.steps_per_second, s.run_dir) = (0.0, 0.0, None);
        s
    };
    assert_eq!(clockless(outcome.summary), clockless(expected));
}

fn assert_same_runs(whole: &Path, parts: &Path) {
    let same_bytes =
        |name| assert_eq!(fs::read(whole.join(name)).unwrap(), fs::read(parts.join(name)).unwrap(), "{name}");
    same_bytes(files::CHECKPOINT);
    same_bytes(files::EPISODES);
    same_bytes(files::CONFIG);
    same_bytes(files::CURVE);
    let rows = |p: &Path| without_clock(&p.join(files::METRICS_CSV), 2);
    assert_eq!(rows(whole), rows(parts));
    let rows = |p: &Path| {
        let mut rows = json_rows(&p.join(files::METRICS_JSONL));
        rows.iter_mut().for_each(|r| r.retain(|k, _| k != "wall_seconds" && k != "steps_per_second"));
        rows
    };
    assert_eq!(rows(whole), rows(parts));
    let length = |p: &Path| fs::metadata(p.join(files::TENSORBOARD)).unwrap().len();
    assert_eq!(length(whole), length(parts));
}

#[test]
fn a_killed_run_goes_on_from_its_last_checkpoint() {
    let root = tempfile::tempdir().unwrap();
    let spec = spec(6, 1500);
    let whole = root.path().join("whole");
    run_in(&whole, &spec);

    // A checkpoint of update 40 beside logs that go to update 100 and end in the middle of a row.
    let killed = root.path().join("killed");
    let folder = RunFolder::create(&killed, &spec).unwrap();
    Setup::new(6).train_until(&spec, Some(&folder), 40).unwrap();
    for name in [files::METRICS_CSV, files::METRICS_JSONL, files::EPISODES, files::TENSORBOARD] {
        let bytes = fs::read(whole.join(name)).unwrap();
        fs::write(killed.join(name), &bytes[..bytes.len() - 7]).unwrap();
    }
    fs::write(killed.join(".checkpoint.safetensors.tmp"), b"half a checkpoint").unwrap();
    go_on(&killed, u64::MAX);
    assert_same_runs(&whole, &killed);
    assert!(!killed.join(".checkpoint.safetensors.tmp").exists());

    // A checkpoint is saved before the first step, so that a run killed at once can be resumed.
    let early = root.path().join("early");
    let folder = RunFolder::create(&early, &spec).unwrap();
    Setup::new(6).train_until(&spec, Some(&folder), 1).unwrap();
    let mut at_start = None;
    let other = root.path().join("other");
    let folder = RunFolder::create(&other, &spec).unwrap();
    let mut setup = Setup::new(6);
    train(&mut setup.learner, &mut setup.env, &spec, Some(&folder), &AtomicBool::new(false), &mut |event| {
        if let Event::CheckpointSaved { path, update: 0, .. } = event {
            at_start = Some(fs::read(path).unwrap());
        }
    })
    .unwrap();
    fs::write(early.join(files::CHECKPOINT), at_start.unwrap()).unwrap();
    go_on(&early, u64::MAX);
    assert_same_runs(&whole, &early);
}

#[test]
fn a_finished_run_can_be_extended_and_resuming_it_again_changes_nothing() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("run");
    let summary = run_in(&path, &spec(2, 600));
    let before: Vec<Vec<u8>> = [files::CHECKPOINT, files::METRICS_CSV, files::EPISODES, files::TENSORBOARD]
        .map(|name| fs::read(path.join(name)).unwrap())
        .into();
    let again = go_on(&path, u64::MAX).summary;
    let after: Vec<Vec<u8>> = [files::CHECKPOINT, files::METRICS_CSV, files::EPISODES, files::TENSORBOARD]
        .map(|name| fs::read(path.join(name)).unwrap())
        .into();
    assert_eq!(before, after);
    assert_eq!((again.steps, again.episodes), (summary.steps, summary.episodes));
    assert!(again.wall_seconds > 0.0 && again.wall_seconds <= summary.wall_seconds);

    let (folder, mut spec) = RunFolder::open(&path).unwrap();
    spec.steps = 1200;
    let longer = Setup::new(2).train(&spec, Some(&folder)).unwrap().summary;
    assert_eq!(longer.steps, 1200);
    assert!(longer.wall_seconds >= again.wall_seconds);
    assert_eq!(RunFolder::open(&path).unwrap().1.steps, 1200);
    let rows = json_rows(&path.join(files::METRICS_JSONL));
    let seconds: Vec<f64> = rows.iter().map(|r| r["wall_seconds"].as_f64().unwrap()).collect();
    assert_eq!(seconds.len(), 80);
    assert!(seconds.is_sorted());
}

#[test]
fn events_come_in_order_and_with_the_right_numbers() {
    let root = tempfile::tempdir().unwrap();
    let spec = spec(3, 300);
    let folder = RunFolder::create(&root.path().join("run"), &spec).unwrap();
    let mut log = Vec::new();
    let (mut episodes, mut steps) = (0, 0);
    let mut setup = Setup::new(3);
    train(&mut setup.learner, &mut setup.env, &spec, Some(&folder), &AtomicBool::new(false), &mut |event| {
        log.push(match event {
            Event::Started(s) => {
                assert_eq!((s.algo, s.env, s.seed, s.steps, s.total_steps), ("fake", ENV, 3, 0, 300));
                assert_eq!((s.threshold, s.run_dir), (Some(3.0), Some(folder.path())));
                "started"
            }
            Event::EpisodeEnd(e) => {
                assert!((3..=12).contains(&e.length) && e.step >= steps);
                steps = e.step;
                episodes += 1;
                "episode"
            }
            Event::Update(u) => {
                assert_eq!((u.steps, u.total_steps, u.episodes), (u.update * PER_UPDATE, 300, episodes));
                assert_eq!(u.get("progress"), Some((u.steps - PER_UPDATE) as f64 / 300.0));
                assert_eq!(u.get("nothing"), None);
                assert!(u.seconds_left() >= 0.0 && u.progress() > 0.0);
                "update"
            }
            Event::CheckpointSaved { path, .. } => {
                assert_eq!(*path, folder.checkpoint_path());
                "saved"
            }
            Event::Finished(s) => {
                assert_eq!(s.episodes, episodes);
                "finished"
            }
            other => panic!("{other:?}"),
        });
    })
    .unwrap();
    let first: Vec<&str> = log.iter().filter(|e| **e != "episode").take(3).copied().collect();
    assert_eq!(first, ["started", "saved", "update"]);
    assert_eq!(log.iter().filter(|e| **e == "update").count(), 20);
    assert_eq!(log[log.len() - 3..], ["update", "saved", "finished"]);
}

#[test]
fn checkpoints_come_as_often_as_asked_for_and_change_nothing() {
    let root = tempfile::tempdir().unwrap();
    let spec = spec(4, 450);
    let saved = |name: &str, every: CheckpointEvery| {
        let mut folder = RunFolder::create(&root.path().join(name), &spec).unwrap();
        folder.checkpoint_every = every;
        let mut setup = Setup::new(4);
        let mut saved = Vec::new();
        train(
            &mut setup.learner,
            &mut setup.env,
            &spec,
            Some(&folder),
            &AtomicBool::new(false),
            &mut |event| {
                if let Event::CheckpointSaved { update, .. } = event {
                    saved.push(*update);
                }
            },
        )
        .unwrap();
        saved
    };
    let hour = 3600.0;
    assert_eq!(saved("rare", CheckpointEvery { updates: None, seconds: hour }), [0, 30]);
    assert_eq!(saved("eights", CheckpointEvery { updates: Some(8), seconds: hour }), [0, 8, 16, 24, 30]);
    assert_eq!(saved("tens", CheckpointEvery { updates: Some(10), seconds: hour }), [0, 10, 20, 30]);
    let all: Vec<u64> = (0..=30).collect();
    assert_eq!(saved("all", CheckpointEvery { updates: None, seconds: 0.0 }), all);
    for name in ["eights", "tens", "all"] {
        assert_same_runs(&root.path().join("rare"), &root.path().join(name));
    }
}

#[test]
fn divergence_stops_the_run_and_keeps_the_last_good_checkpoint() {
    let root = tempfile::tempdir().unwrap();
    type Break = fn(&mut Setup);
    let cases: [(&str, Break, Diverged); 3] = [
        ("loss", |s| s.learner.diverge_at = Some(11), Diverged { update: 11, term: "fake loss".into() }),
        (
            "weights",
            |s| s.learner.poison_at = Some(12),
            Diverged { update: 12, term: "tensor weights".into() },
        ),
        ("reward", |s| s.env.nan_from = Some(155), Diverged { update: 11, term: "return".into() }),
    ];
    for (name, broken, expected) in cases {
        let path = root.path().join(name);
        let spec = spec(8, 900);
        let mut folder = RunFolder::create(&path, &spec).unwrap();
        folder.checkpoint_every.updates = Some(4);
        let mut setup = Setup::new(8);
        broken(&mut setup);
        let mut last = String::new();
        let result = train(
            &mut setup.learner,
            &mut setup.env,
            &spec,
            Some(&folder),
            &AtomicBool::new(false),
            &mut |e| {
                last = format!("{e:?}").chars().take(8).collect();
            },
        );
        assert_eq!(result, Err(RunError::Diverged(expected)), "{name}");
        assert_eq!(last, "Diverged");
        assert!(!path.join(files::SUMMARY).exists());
        assert!(path.join(files::CURVE).exists());
        // The checkpoint is that of update 8, and the run can go on from there.
        let checkpoint = folder.read_checkpoint(&spec).unwrap();
        let (_, update, _): (serde_json::Value, u64, u64) = checkpoint.get("fake").unwrap();
        assert_eq!(update, 8, "{name}");
        go_on(&path, u64::MAX);
        let whole = root.path().join(format!("{name}-whole"));
        run_in(&whole, &spec);
        assert_same_runs(&whole, &path);
    }
}

#[test]
fn a_run_without_a_folder_writes_nothing_and_has_the_same_result() {
    let root = tempfile::tempdir().unwrap();
    let spec = spec(9, 900);
    let with = run_in(&root.path().join("run"), &spec);
    let without = Setup::new(9).train(&spec, None).unwrap().summary;
    assert_eq!(without.run_dir, None);
    assert_eq!(
        (with.episodes, with.final_return_mean, with.best_return_mean),
        (without.episodes, without.final_return_mean, without.best_return_mean)
    );
}

#[test]
fn short_runs_take_one_iteration_and_no_steps_are_refused() {
    assert_eq!(Setup::new(1).train(&spec(1, 1), None).unwrap().summary.steps, PER_UPDATE);
    let root = tempfile::tempdir().unwrap();
    let summary = run_in(&root.path().join("run"), &spec(1, 1));
    assert_eq!(summary.first_step_at_threshold, None);
    let refused = |spec: RunSpec| {
        let created = RunFolder::create(&root.path().join("no"), &spec).unwrap_err();
        assert_eq!(Setup::new(1).train(&spec, None), Err(created.clone()));
        assert!(!root.path().join("no").exists());
        created.to_string()
    };
    assert_eq!(refused(spec(1, 0)), "steps = 0: must be at least 1 and below 2^63");
    assert_eq!(refused(spec(u64::MAX, 9)), "seed = 18446744073709551615: must be below 2^63");
    let threshold = RunSpec { threshold: Some(f64::NAN), ..spec(1, 9) };
    assert_eq!(refused(threshold), "threshold = NaN: must be finite");
}

#[test]
fn seeds_give_the_same_runs_whatever_the_number_of_threads() {
    let root = tempfile::tempdir().unwrap();
    let seeds = [3, 1, 4, 15];
    for threads in [1, 3] {
        let summaries = spread(&seeds, threads, |_, seed| {
            run_in(&root.path().join(format!("{threads}/seed-{seed}")), &spec(seed, 300))
        });
        assert_eq!(summaries.iter().map(|s| s.seed).collect::<Vec<_>>(), seeds);
    }
    for seed in seeds {
        let path = |threads: u32| root.path().join(format!("{threads}/seed-{seed}"));
        assert_same_runs(&path(1), &path(3));
    }
}

#[test]
fn a_folder_that_cant_be_written_is_an_error_with_its_path() {
    let root = tempfile::tempdir().unwrap();
    let spec = spec(1, 300);
    let file = root.path().join("file");
    fs::write(&file, "").unwrap();
    let Err(RunError::Format(error)) = RunFolder::create(&file.join("run"), &spec) else {
        panic!("a file is no folder")
    };
    assert_eq!(error.path, file.join("run"));
    assert!(error.problem.starts_with("can't be created: "), "{error}");

    let path = root.path().join("run");
    run_in(&path, &spec);
    let Err(RunError::Format(error)) = RunFolder::create(&path, &spec) else { panic!("there is a run") };
    assert!(error.problem.contains("already holds a run"), "{error}");
}

/// `/dev/full` takes no byte: every write to it says that there is no space left.
#[cfg(target_os = "linux")]
mod full_disk {
    use super::*;
    use std::os::unix::fs::symlink;

    fn no_space(error: &FormatError, path: &Path) {
        assert_eq!(error.path, path);
        assert!(error.problem.starts_with("can't be written: No space left on device"), "{error}");
    }

    #[test]
    fn a_log_without_room_stops_the_run() {
        for name in [files::METRICS_CSV, files::METRICS_JSONL, files::EPISODES, files::TENSORBOARD] {
            let root = tempfile::tempdir().unwrap();
            let path = root.path().join("run");
            let spec = spec(1, 300);
            let folder = RunFolder::create(&path, &spec).unwrap();
            symlink("/dev/full", path.join(name)).unwrap();
            no_space(&format_error(Setup::new(1).train(&spec, Some(&folder))), &path.join(name));
            assert!(!path.join(files::SUMMARY).exists());
        }
    }

    #[test]
    fn a_checkpoint_without_room_leaves_the_one_before() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("run");
        let spec = spec(1, 600);
        let mut folder = RunFolder::create(&path, &spec).unwrap();
        folder.checkpoint_every.updates = Some(10);
        let mut before = Vec::new();
        let mut setup = Setup::new(1);
        let result = train(
            &mut setup.learner,
            &mut setup.env,
            &spec,
            Some(&folder),
            &AtomicBool::new(false),
            &mut |e| {
                if let Event::CheckpointSaved { update: 20, path: checkpoint, .. } = e {
                    before = fs::read(checkpoint).unwrap();
                    symlink("/dev/full", path.join(".checkpoint.safetensors.tmp")).unwrap();
                }
            },
        );
        no_space(&format_error(result), &path.join(files::CHECKPOINT));
        assert_eq!(fs::read(path.join(files::CHECKPOINT)).unwrap(), before);
        assert!(path.join(".checkpoint.safetensors.tmp").symlink_metadata().is_err());

        // With room again, the run goes on as if nothing had been.
        let whole = root.path().join("whole");
        run_in(&whole, &spec);
        go_on(&path, u64::MAX);
        assert_same_runs(&whole, &path);
    }

    #[test]
    fn a_config_a_summary_or_a_curve_without_room_is_reported() {
        let root = tempfile::tempdir().unwrap();
        let spec = spec(1, 300);
        let path = root.path().join("config");
        fs::create_dir(&path).unwrap();
        symlink("/dev/full", path.join(".config.toml.tmp")).unwrap();
        let Err(RunError::Format(error)) = RunFolder::create(&path, &spec) else {
            panic!("there is no room")
        };
        no_space(&error, &path.join(files::CONFIG));

        for name in [files::SUMMARY, files::CURVE] {
            let path = root.path().join(name);
            let folder = RunFolder::create(&path, &spec).unwrap();
            symlink("/dev/full", path.join(format!(".{name}.tmp"))).unwrap();
            no_space(&format_error(Setup::new(1).train(&spec, Some(&folder))), &path.join(name));
            assert!(folder.read_checkpoint(&spec).is_ok());
        }
    }
}

#[test]
fn a_folder_that_vanishes_is_an_error_and_no_panic() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("run");
    let spec = spec(1, 600);
    let mut folder = RunFolder::create(&path, &spec).unwrap();
    folder.checkpoint_every.updates = Some(10);
    let mut setup = Setup::new(1);
    let result =
        train(&mut setup.learner, &mut setup.env, &spec, Some(&folder), &AtomicBool::new(false), &mut |e| {
            if matches!(e, Event::Update(u) if u.update == 15) {
                fs::remove_dir_all(&path).unwrap();
            }
        });
    let error = format_error(result);
    assert_eq!(error.path, path.join(files::CHECKPOINT));
    assert!(error.problem.contains("No such file"), "{error}");
}

#[test]
fn a_folder_that_does_not_fit_is_not_resumed() {
    let root = tempfile::tempdir().unwrap();
    let open = |path: &Path| RunFolder::open(path).unwrap_err().to_string();
    assert!(open(&root.path().join("none")).ends_with("none: is not a folder"));
    assert!(open(root.path()).ends_with("is not the folder of a run: it has no config.toml"));

    let path = root.path().join("run");
    run_in(&path, &spec(1, 300));
    let config = path.join(files::CONFIG);
    let good_config = fs::read_to_string(&config).unwrap();
    for (text, position, problem) in [
        ("algo = \"fake\"\nenv = \n", "line 2, column 7", ""),
        ("algo = \"fake\"\nenv = \"e\"\nseed = -1\nsteps = 1\n[config]\n", "line 3, column 8", "-1"),
        ("algo = 3\n", "line 1, column 8", "integer"),
        ("lago = \"fake\"\n", "line 1, column 1", "lago"),
    ] {
        fs::write(&config, text).unwrap();
        let error = RunFolder::open(&path).unwrap_err();
        assert_eq!((error.path.as_path(), error.position.as_deref()), (&*config, Some(position)), "{error}");
        assert!(error.problem.contains(problem), "{error}");
        assert!(!error.problem.contains('\n'), "{error}");
    }
    fs::write(&config, good_config.replace("steps = 300", "steps = 0")).unwrap();
    assert!(open(&path).contains("steps = 0: must be at least 1"));
    fs::write(&config, &good_config).unwrap();

    let resume = |edit: &dyn Fn(&mut RunSpec)| {
        let (folder, mut spec) = RunFolder::open(&path).unwrap();
        edit(&mut spec);
        folder.read_checkpoint(&spec).unwrap_err()
    };
    let checkpoint = path.join(files::CHECKPOINT);
    for (edit, problem) in [
        (
            &(|s: &mut RunSpec| s.algo = "other".into()) as &dyn Fn(&mut RunSpec),
            "the algorithm is fake, but the run has other",
        ),
        (&|s| s.env = "Other-v0".into(), "the environment is Fake-v0, but the run has Other-v0"),
        (&|s| s.seed = 2, "another seed or configuration"),
        (&|s| drop(s.config.insert("learning_rate".into(), 0.02.into())), "another seed or configuration"),
    ] {
        let error = resume(edit);
        assert_eq!(error.path, checkpoint);
        assert!(error.problem.contains(problem), "{error}");
    }

    // A learner or an environment of another shape.
    let (folder, spec) = RunFolder::open(&path).unwrap();
    let mut setup = Setup::new(1);
    setup.learner.weights.push(0.0);
    let error = format_error(setup.train(&spec, Some(&folder)));
    assert_eq!(
        error.to_string(),
        format!("{}: tensor weights has 8 values, expected 9", checkpoint.display())
    );
    assert_eq!(folder.restore(&spec, &mut setup.learner), Err(error));
    let mut setup = Setup { learner: FakeLearner::new(1, 5), env: FakeEnv::new(5) };
    let error = format_error(setup.train(&spec, Some(&folder)));
    assert_eq!(error.position.as_deref(), Some("state run.episodes"));
    assert_eq!(error.problem, "has 3 environments, expected 5");

    // The rest of what resuming needs, one by one.
    let good = fs::read(&checkpoint).unwrap();
    for (from, to, problem) in [
        ("state.run.env", "state.run.xxx", "state run.env is missing"),
        ("state.run.progress", "state.run.xxxxxxxx", "state run.progress is missing"),
        ("state.run.episodes", "state.run.xxxxxxxx", "state run.episodes is missing"),
        ("state.fake", "state.xxxx", "state fake is missing"),
        (r#"\"position\""#, r#"\"xxxxxxxx\""#, "missing field `position`"),
    ] {
        let start = good.windows(from.len()).position(|w| w == from.as_bytes()).unwrap();
        let mut bytes = good.clone();
        bytes[start..start + from.len()].copy_from_slice(to.as_bytes());
        fs::write(&checkpoint, bytes).unwrap();
        let error = format_error(Setup::new(1).train(&spec, Some(&folder)));
        assert_eq!(error.path, checkpoint);
        assert!(error.problem.contains(problem), "{error}");
    }
    fs::remove_file(&checkpoint).unwrap();
    let error = format_error(Setup::new(1).train(&spec, Some(&folder)));
    assert!(error.to_string().contains("checkpoint.safetensors: can't be read: No such file"), "{error}");
}

#[test]
fn logs_that_do_not_fit_the_checkpoint_are_refused_and_left_alone() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("run");
    run_in(&path, &spec(1, 300));
    let resume = || {
        let (folder, spec) = RunFolder::open(&path).unwrap();
        Setup::new(1).train(&spec, Some(&folder))
    };
    type Edit = fn(String) -> String;
    let short: Edit = |t| t.lines().take(9).map(|l| format!("{l}\n")).collect();
    let cases: [(&str, Edit, Option<&str>, &str); 7] = [
        (files::METRICS_CSV, short, None, "ends at update 8, but the checkpoint is at update 20"),
        (files::METRICS_JSONL, short, None, "ends at update 9, but the checkpoint is at update 20"),
        (files::EPISODES, short, None, "ends at episode 8, but the checkpoint is at episode"),
        (files::METRICS_CSV, |t| t.replace("weight", "height"), Some("line 1"), "the columns are not those"),
        (files::METRICS_CSV, |t| t.replacen("\n3,", "\nx,", 1), Some("line 4"), "is not a row"),
        (files::METRICS_JSONL, |t| t.replacen("{\"update\":3,", "{", 1), Some("line 3"), "is not a row"),
        (files::EPISODES, |t| t.replacen("\n2,", "\n\n", 1), Some("line 3"), "is not a row"),
    ];
    for (name, edit, position, problem) in cases {
        let file = path.join(name);
        let good = fs::read_to_string(&file).unwrap();
        let broken = edit(good.clone());
        assert_ne!(good, broken);
        fs::write(&file, &broken).unwrap();
        let error = format_error(resume());
        assert_eq!((&error.path, error.position.as_deref()), (&file, position), "{error}");
        assert!(error.problem.contains(problem), "{error}");
        assert_eq!(fs::read_to_string(&file).unwrap(), broken);
        fs::write(&file, good).unwrap();
    }
    fs::write(path.join(files::TENSORBOARD), "nothing of the kind").unwrap();
    let error = format_error(resume());
    assert!(error.problem.contains("is not a TensorBoard event file"), "{error}");
    // It is for looking at only: without it, the run goes on with a new one.
    fs::remove_file(path.join(files::TENSORBOARD)).unwrap();
    assert!(resume().is_ok());
    assert!(path.join(files::TENSORBOARD).exists());
}

#[test]
fn fresh_folders_are_numbered() {
    let root = tempfile::tempdir().unwrap();
    let fresh = || RunFolder::fresh(root.path(), "ppo");
    assert_eq!(fresh(), root.path().join("ppo"));
    fs::create_dir(fresh()).unwrap();
    assert_eq!(fresh(), root.path().join("ppo-2"));
    fs::create_dir(fresh()).unwrap();
    assert_eq!(fresh(), root.path().join("ppo-3"));
}
