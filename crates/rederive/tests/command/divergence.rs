//! Numbers that are not finite stop a run; the last good checkpoint stays.

use crate::rederive;
use ndarray::ArrayView2;
use rederive::algorithms::algorithm;
use rederive::env::{Actions, End, Space, StateError, VecEnv, make_vec};
use rederive::train::{Event, RunError, RunFolder, RunSpec, train};
use std::sync::atomic::AtomicBool;
use tempfile::tempdir;

/// CartPole, until one of its numbers goes bad.
struct Faulty {
    inner: Box<dyn VecEnv>,
    steps: u64,
    reward: Vec<f32>,
    obs: ndarray::Array2<f32>,
    fault: Fault,
}

#[derive(Clone, Copy, Debug)]
enum Fault {
    Reward(f32),
    Observation(f32),
}

/// The step at which it happens.
const FAULT: u64 = 100;

impl Faulty {
    fn new(fault: Fault) -> Self {
        let inner = make_vec("CartPole-v1", 2).unwrap();
        let mut env = Faulty { reward: vec![], obs: inner.obs().to_owned(), inner, steps: 0, fault };
        env.look();
        env
    }

    fn look(&mut self) {
        self.reward = self.inner.reward().to_vec();
        self.obs = self.inner.obs().to_owned();
        if self.steps == FAULT {
            match self.fault {
                Fault::Reward(bad) => self.reward[1] = bad,
                Fault::Observation(bad) => self.obs[[1, 2]] = bad,
            }
        }
    }
}

impl VecEnv for Faulty {
    fn id(&self) -> &str {
        self.inner.id()
    }

    fn num_envs(&self) -> usize {
        self.inner.num_envs()
    }

    fn observation_space(&self) -> &Space {
        self.inner.observation_space()
    }

    fn action_space(&self) -> &Space {
        self.inner.action_space()
    }

    fn reset(&mut self, seed: u64) {
        self.inner.reset(seed);
        self.look();
    }

    fn step(&mut self, actions: Actions<'_>) {
        self.inner.step(actions);
        self.steps += 1;
        self.look();
    }

    fn obs(&self) -> ArrayView2<'_, f32> {
        self.obs.view()
    }

    fn reward(&self) -> &[f32] {
        &self.reward
    }

    fn end(&self) -> &[End] {
        self.inner.end()
    }

    fn final_obs(&self) -> ArrayView2<'_, f32> {
        self.inner.final_obs()
    }

    fn save(&self) -> serde_json::Value {
        self.inner.save()
    }

    fn load(&mut self, state: &serde_json::Value) -> Result<(), StateError> {
        self.inner.load(state)
    }
}

#[test]
fn an_environment_that_returns_nan_or_infinity_stops_the_run() {
    for (fault, term) in [
        (Fault::Reward(f32::NAN), "reward"),
        (Fault::Reward(f32::INFINITY), "reward"),
        (Fault::Observation(f32::NAN), "observation"),
        (Fault::Observation(f32::NEG_INFINITY), "observation"),
    ] {
        let dir = tempdir().unwrap();
        let config: toml::Table = "num_envs = 2\nnum_steps = 16\nhidden = [8]".parse().unwrap();
        let ppo = algorithm("ppo").unwrap();
        let config = ppo.complete(&config).unwrap();
        let spec = RunSpec {
            algo: "ppo".into(),
            env: "CartPole-v1".into(),
            seed: 1,
            steps: 1000,
            threshold: None,
            config,
        };
        let mut env = Faulty::new(fault);
        let mut learner = ppo.make(&spec.config, &env, 1).unwrap();
        let mut folder = RunFolder::create(&dir.path().join("run"), &spec).unwrap();
        folder.checkpoint_every.updates = Some(1);
        let mut last = String::new();
        let result =
            train(&mut *learner, &mut env, &spec, Some(&folder), &AtomicBool::new(false), &mut |event| {
                last = format!("{event:?}");
                if let Event::Update(update) = event {
                    assert!(update.steps < 2 * FAULT, "it goes on after {fault:?}");
                }
            });
        // The seventh rollout has the steps 97 to 112.
        match result {
            Err(RunError::Diverged(diverged)) => {
                assert_eq!((diverged.update, diverged.term.as_str()), (7, term), "{fault:?}");
            }
            other => panic!("{fault:?}: {other:?}"),
        }
        assert!(last.starts_with("Diverged"), "{last}");

        // What was good before can be evaluated and resumed, from the command line too.
        rederive(dir.path(), &["eval", "run", "--episodes", "2"]).success();
        let resumed = rederive(dir.path(), &["train", "--resume", "run"]).success();
        assert!(resumed.err.contains("resumed at step 192"), "{}", resumed.err);
    }
}

#[test]
fn a_run_that_diverges_exits_with_1_and_keeps_its_checkpoint() {
    let dir = tempdir().unwrap();
    let at = dir.path();
    // Each reward is a number that f32 has, but not their sum.
    let args = [
        "train",
        "ppo",
        "GridWorld?living_reward=3e38",
        "--steps",
        "10k",
        "--set",
        "num_envs=2",
        "--set",
        "hidden=[8]",
        "--out",
        "run",
    ];
    let done = rederive(at, &args);
    assert_eq!((done.code, done.out.as_str()), (1, ""), "{}", done.err);
    assert!(done.err.contains("error: diverged in update 1: "), "{}", done.err);
    assert!(done.err.contains("the last good checkpoint is run/checkpoint.safetensors"), "{}", done.err);
    rederive(at, &["eval", "run", "--episodes", "1", "--random"]);

    let args = [&args[..9], &["--json", "--seeds", "2", "--out", "two"]].concat();
    let done = rederive(at, &args);
    assert_eq!(done.code, 1, "{}", done.err);
    let document = done.json();
    assert_eq!(document.as_array().map(Vec::len), Some(2));
    for run in document.as_array().unwrap() {
        assert!(run["error"].as_str().unwrap().starts_with("diverged in update 1: "), "{run}");
        assert_eq!(crate::keys(run), ["algo", "env", "error", "run_dir", "seed"]);
    }
    assert!(done.err.contains("2 of 2 runs failed"), "{}", done.err);
}
