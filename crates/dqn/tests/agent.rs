//! The agent as a whole: it learns, it goes on after a stop bit for bit, and it refuses what can't be.

use ndarray::Array2;
use rederive_dqn::{Config, Dqn, EpsilonSchedule, Loss, OptimizerKind, TargetUpdate};
use rederive_env::{Action, End, Env, Space, StateError, Stream, SyncVec, VecEnv};
use rederive_train::{ActionBuffer, Checkpoint, EpisodeLog, Learner, Report, spread};
use serde_json::{Value, json};

fn iterate(dqn: &mut Dqn, env: &mut dyn VecEnv, from: u64, to: u64) -> Report {
    let (mut episodes, mut report) = (EpisodeLog::new(env.num_envs()), Report::default());
    for i in from..to {
        dqn.iterate(env, i as f64 / 10.0, &mut episodes, &mut report).unwrap();
    }
    report
}

/// The mean return of 20 greedy episodes.
fn evaluate(dqn: &mut Dqn, id: &str) -> f64 {
    let mut env = rederive_env::make_vec(id, 20).unwrap();
    env.reset(99);
    let mut actions = ActionBuffer::new(env.action_space(), 20);
    let (mut total, mut running) = (0.0, [true; 20]);
    while running.contains(&true) {
        dqn.act_greedy(env.obs(), &mut actions);
        env.step(actions.as_actions());
        for (n, running) in running.iter_mut().enumerate().filter(|(_, running)| **running) {
            total += f64::from(env.reward()[n]);
            *running = !env.end()[n].done();
        }
    }
    total / 20.0
}

/// Settings that solve a small lake without slipping, in a second.
fn quick() -> Config {
    Config {
        num_steps: 500,
        lr: 1e-2,
        replay: 2_000,
        batch: 32,
        learning_starts: 200,
        train_every: 4,
        target_period: 100,
        gamma: 0.9,
        epsilon_steps: 3_000,
        epsilon_final: 0.2,
        hidden: vec![32],
        ..Config::default()
    }
}

const LAKE: &str = "FrozenLake-v1?slippery=false";

#[test]
fn it_learns_the_way_over_the_lake_and_without_learning_it_does_not() {
    for change in [
        (|_| {}) as fn(&mut Config),
        |c| c.double = true,
        |c| c.dueling = true,
        |c| (c.n_step, c.num_envs) = (3, 2),
        |c| (c.prioritized, c.loss) = (true, Loss::Huber),
        |c| (c.target, c.kappa) = (TargetUpdate::Soft, 0.02),
        |c| (c.optimizer, c.optimizer_eps, c.max_grad_norm) = (OptimizerKind::RmsProp, 1e-3, Some(10.0)),
    ] {
        let mut config = quick();
        change(&mut config);
        let mut env = rederive_env::make_vec(LAKE, config.num_envs).unwrap();
        let mut dqn = Dqn::new(config.clone(), env.as_ref(), 1).unwrap();
        env.reset(1);
        iterate(&mut dqn, env.as_mut(), 0, 10);
        assert_eq!(evaluate(&mut dqn, LAKE), 1.0, "{config:?}");
    }
    let control = Config { learning_starts: u64::MAX, ..quick() };
    let mut env = rederive_env::make_vec(LAKE, 1).unwrap();
    let mut dqn = Dqn::new(control, env.as_ref(), 1).unwrap();
    env.reset(1);
    iterate(&mut dqn, env.as_mut(), 0, 10);
    assert_eq!((evaluate(&mut dqn, LAKE), dqn.gradient_steps()), (0.0, 0));
}

/// Configurations that between them use everything that has a state.
fn everything() -> Vec<(&'static str, Config)> {
    let small = Config {
        num_steps: 37,
        replay: 150,
        batch: 16,
        learning_starts: 40,
        train_every: 3,
        target_period: 50,
        epsilon_steps: 300,
        hidden: vec![16],
        ..Config::default()
    };
    vec![
        ("CartPole-v1", small.clone()),
        (
            "CartPole-v1",
            Config {
                num_envs: 3,
                n_step: 4,
                prioritized: true,
                double: true,
                dueling: true,
                ..small.clone()
            },
        ),
        (
            "MountainCar-v0?max_steps=30",
            Config {
                optimizer: OptimizerKind::RmsProp,
                target: TargetUpdate::Soft,
                epsilon_schedule: EpsilonSchedule::Exponential,
                n_step: 2,
                ..small.clone()
            },
        ),
        ("MinAtar/Breakout-v1", Config { num_envs: 2, n_step: 3, prioritized: true, ..small.clone() }),
        ("Taxi-v3", Config { loss: Loss::Huber, max_grad_norm: Some(1.0), ..small }),
    ]
}

fn saved(dqn: &Dqn) -> Checkpoint {
    let mut checkpoint = Checkpoint::default();
    dqn.save(&mut checkpoint);
    checkpoint
}

#[test]
fn a_run_that_was_stopped_goes_on_bit_for_bit() {
    for (id, config) in everything() {
        let make = || {
            let env = rederive_env::make_vec(id, config.num_envs).unwrap();
            let dqn = Dqn::new(config.clone(), env.as_ref(), 7).unwrap();
            (env, dqn)
        };
        let (mut env, mut whole) = make();
        env.reset(7);
        iterate(&mut whole, env.as_mut(), 0, 10);
        // Stopped before learning has begun, while the buffer fills, and after it has wrapped around.
        for stop in [0, 1, 3, 8] {
            let (mut env, mut first) = make();
            env.reset(7);
            iterate(&mut first, env.as_mut(), 0, stop);
            let (checkpoint, state) = (saved(&first), env.save());
            let folder = std::env::temp_dir().join(format!("rederive-dqn-{}-{stop}", std::process::id()));
            let who =
                rederive_train::CheckpointId { algo: "dqn".into(), env: id.into(), fingerprint: "0".into() };
            checkpoint.write(&folder, &who).unwrap();
            let (read, _) = Checkpoint::read(&folder).unwrap();
            std::fs::remove_file(&folder).unwrap();
            assert_eq!(read, checkpoint);
            let (mut env, mut second) = make();
            env.load(&state).unwrap();
            second.load(&read).unwrap();
            assert_eq!(saved(&second), checkpoint, "{id}: saved, loaded and saved again");
            iterate(&mut second, env.as_mut(), stop, 10);
            assert_eq!(saved(&second), saved(&whole), "{id}: stopped after iteration {stop}");
        }
    }
}

#[test]
fn the_number_of_threads_changes_no_bit() {
    let run = |_: usize, seed: u64| {
        let (id, config) = &everything()[1];
        let mut env = rederive_env::make_vec(id, config.num_envs).unwrap();
        let mut dqn = Dqn::new(config.clone(), env.as_ref(), seed).unwrap();
        env.reset(seed);
        iterate(&mut dqn, env.as_mut(), 0, 6);
        saved(&dqn)
    };
    let one = spread(&[1, 2, 3], 1, run);
    assert_eq!(one, spread(&[1, 2, 3], 3, run));
    assert_ne!(one[0], one[1]);
}

#[test]
fn a_checkpoint_that_does_not_fit_is_refused_and_changes_nothing() {
    let env = rederive_env::make_vec("CartPole-v1", 3).unwrap();
    let (_, config) = everything().swap_remove(1);
    let mut dqn = Dqn::new(config.clone(), env.as_ref(), 1).unwrap();
    let mut env = rederive_env::make_vec("CartPole-v1", 3).unwrap();
    iterate(&mut dqn, env.as_mut(), 0, 4);
    let before = saved(&dqn);
    type Spoil = fn(&mut Checkpoint);
    let cases: [(&str, Spoil); 9] = [
        ("tensor online is missing", |c| drop(c.tensors.remove("online"))),
        ("tensor target has 3 values", |c| c.put_tensor("target", &[0.0; 3])),
        ("bytes replay are missing", |c| drop(c.bytes.remove("replay"))),
        ("bytes replay: 63 bytes are not up to 150 transitions", |c| c.put_bytes("replay", &[0; 63])),
        ("bytes replay: the next of 150 transitions can't go to slot 150", |c| c.put("replay.next", &150)),
        ("an action that can't be", |c| c.bytes.get_mut("replay").unwrap()[8] = 2),
        ("tensor priorities: a priority is not", |c| c.tensors.get_mut("priorities").unwrap()[3] = 0.0),
        ("state n_step: expected the steps of 3", |c| c.put("n_step", &json!([]))),
        ("state explore has 0 streams, expected 3", |c| c.put("explore", &json!([]))),
    ];
    for (message, spoil) in cases {
        let mut spoilt = before.clone();
        spoil(&mut spoilt);
        let error = dqn.load(&spoilt).unwrap_err();
        assert!(error.contains(message), "{error}");
        assert_eq!(saved(&dqn), before);
    }
}

/// An environment that shows or pays what it is told to on its fifth step.
#[derive(Clone)]
struct Broken {
    obs: f32,
    reward: f32,
    steps: u32,
}

impl Env for Broken {
    fn observation_space(&self) -> Space {
        Space::Box { low: vec![f32::NEG_INFINITY; 2], high: vec![f32::INFINITY; 2] }
    }

    fn action_space(&self) -> Space {
        Space::Discrete { n: 2 }
    }

    fn reset(&mut self, _: &mut Stream, obs: &mut [f32]) {
        obs.fill(0.0);
    }

    fn step(&mut self, _: Action<'_>, _: &mut Stream, obs: &mut [f32]) -> (f32, End) {
        self.steps += 1;
        obs.fill(if self.steps == 5 { self.obs } else { 0.0 });
        (if self.steps == 5 { self.reward } else { 1.0 }, End::No)
    }

    fn save(&self) -> Value {
        json!(self.steps)
    }

    fn load(&mut self, _: &Value) -> Result<(), StateError> {
        Ok(())
    }
}

#[test]
fn numbers_that_are_not_finite_stop_the_run() {
    for (obs, reward, loss, term) in [
        (0.0, f32::NAN, Loss::Squared, "reward"),
        (0.0, f32::INFINITY, Loss::Squared, "reward"),
        (f32::NAN, 1.0, Loss::Squared, "observation"),
        (0.0, 3e38, Loss::Squared, "loss"),
        // The loss of a large error is finite, the norm of a gradient of such size is not.
        (1e30, 1.0, Loss::Huber, "gradient"),
    ] {
        let mut env = SyncVec::new("Broken-v0", vec![Broken { obs, reward, steps: 0 }]);
        let config = Config { learning_starts: 0, batch: 20, replay: 20, train_every: 1, loss, ..quick() };
        let mut dqn = Dqn::new(config, &env, 1).unwrap();
        let (mut episodes, mut report) = (EpisodeLog::new(1), Report::default());
        let error = dqn.iterate(&mut env, 0.0, &mut episodes, &mut report).unwrap_err();
        assert_eq!(error.to_string(), format!("diverged in update 1: {term} is not finite"));
    }
}

#[test]
fn what_does_not_fit_is_named() {
    let env = rederive_env::make_vec("Pendulum-v1", 1).unwrap();
    let error = Dqn::new(quick(), env.as_ref(), 1).unwrap_err().to_string();
    assert!(error.contains("must be an environment with discrete actions for dqn: CartPole-v1, "), "{error}");
    let env = rederive_env::make_vec("CartPole-v1", 2).unwrap();
    let error = Dqn::new(quick(), env.as_ref(), 1).unwrap_err().to_string();
    assert_eq!(error, "num_envs = 1: must be 2, the number of environments");
    let env = rederive_env::make_vec("MinAtar/Breakout-v1", 1).unwrap();
    let error = Dqn::new(Config { conv: vec![[16, 11, 1]], ..quick() }, env.as_ref(), 1).unwrap_err();
    assert_eq!(error.field, "conv");
    let env = rederive_env::make_vec("CartPole-v1", 1).unwrap();
    let huge = Config { replay: 1 << 31, ..quick() };
    // Either there is room for it, which is only taken as it fills, or the error says how much it would take.
    if let Err(error) = Dqn::new(huge, env.as_ref(), 1) {
        assert!(error.to_string().contains("137438953472 bytes"), "{error}");
    }
}

#[test]
fn greedy_actions_do_not_depend_on_how_many_are_asked_for() {
    let env = rederive_env::make_vec("CartPole-v1", 1).unwrap();
    let mut dqn = Dqn::new(quick(), env.as_ref(), 3).unwrap();
    let mut rng = Stream::new(5, "test", 0);
    let obs = Array2::from_shape_fn((300, 4), |_| rng.normal() as f32);
    let mut all = ActionBuffer::Discrete(vec![9; 300]);
    dqn.act_greedy(obs.view(), &mut all);
    for i in 0..300 {
        let mut one = ActionBuffer::Discrete(vec![9]);
        dqn.act_greedy(obs.slice(ndarray::s![i..i + 1, ..]), &mut one);
        let (ActionBuffer::Discrete(all), ActionBuffer::Discrete(one)) = (&all, &one) else { unreachable!() };
        assert_eq!(all[i], one[0]);
    }
}

#[test]
fn learning_begins_and_repeats_when_it_is_told_to() {
    // (learning_starts, train_every, gradient_steps, num_envs, gradient steps after 60 steps)
    for (learning_starts, train_every, gradient_steps, num_envs, want) in [
        (0, 10, 1, 1, 5),
        (20, 10, 1, 1, 4),
        (19, 10, 1, 1, 5),
        (30, 4, 3, 1, 24),
        (30, 4, 3, 2, 24),
        (0, 1, 2, 3, 90),
    ] {
        let config = Config {
            num_envs,
            num_steps: 60 / num_envs,
            learning_starts,
            train_every,
            gradient_steps,
            batch: 16,
            replay: 16,
            ..quick()
        };
        let mut env = rederive_env::make_vec("CartPole-v1", num_envs).unwrap();
        let mut dqn = Dqn::new(config.clone(), env.as_ref(), 1).unwrap();
        env.reset(1);
        let report = iterate(&mut dqn, env.as_mut(), 0, 1);
        assert_eq!(dqn.gradient_steps(), want, "{config:?}");
        assert_eq!(report.values[7], want as f64);
    }
}

#[test]
fn uniform_weights_and_biases_fill_their_interval() {
    let env = rederive_env::make_vec("MinAtar/Breakout-v1", 1).unwrap();
    let config = Config { hidden: vec![300, 200], ..quick() };
    let dqn = Dqn::new(config, env.as_ref(), 3).unwrap();
    let mut inputs = 0;
    for view in dqn.networks().network().layout().views() {
        // A bias follows the weights that it belongs to, and shares their bound.
        if let [rows, _] = view.shape[..] {
            inputs = rows;
        }
        let bound = (inputs as f32).sqrt().recip();
        let numbers = &dqn.networks().online()[view.range.clone()];
        let largest = numbers.iter().fold(0.0f32, |most, x| most.max(x.abs()));
        // Few numbers may all miss the ends of the interval; three of them do by half once in eight times.
        let least = if numbers.len() > 10 { 0.7 } else { 0.01 };
        assert!(largest <= bound && largest > least * bound, "{}: {largest} of {bound}", view.name);
    }
    assert_eq!(dqn.networks().online(), dqn.networks().target());
}
