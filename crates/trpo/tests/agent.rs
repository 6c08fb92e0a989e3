//! The agent as a whole: it learns, keeps its radius, stays where no step is safe, and goes on after a stop.

use rederive_env::{Action, End, Env, Space, StateError, Stream, SyncVec, VecEnv, make_vec};
use rederive_train::{ActorCritic, Checkpoint, EpisodeLog, Learner, Policy, Report};
use rederive_trpo::{Config, Method, Trpo};

/// A run's whole state, with the numbers of its last update.
struct Run {
    agent: Trpo,
    env: Box<dyn VecEnv>,
    log: EpisodeLog,
    report: Report,
    returns: Vec<f64>,
}

impl Run {
    fn new(method: Method, config: &Config, id: &str, seed: u64) -> Self {
        let mut env = make_vec(id, config.num_envs).unwrap();
        let agent = Trpo::new(method, config.clone(), env.as_ref(), seed).unwrap();
        env.reset(seed);
        Run::of(agent, env)
    }

    fn of(agent: Trpo, env: Box<dyn VecEnv>) -> Self {
        let log = EpisodeLog::new(env.num_envs());
        Run { agent, env, log, report: Report::default(), returns: Vec::new() }
    }

    fn iterate(&mut self) {
        self.agent.iterate(self.env.as_mut(), 0.0, &mut self.log, &mut self.report).unwrap();
        self.returns.extend(self.log.drain().map(|episode| episode.return_));
    }

    fn metric(&self, name: &str) -> f64 {
        self.report.values[self.agent.metrics().iter().position(|m| m.name == name).unwrap()]
    }

    fn policy_params(&self) -> Vec<f32> {
        let networks = self.agent.networks();
        networks.params()[networks.policy_range()].to_vec()
    }

    /// The mean return of the last episodes, with the noise of the policy.
    fn recent(&self) -> f64 {
        let last = &self.returns[self.returns.len() - 20..];
        last.iter().sum::<f64>() / last.len() as f64
    }
}

fn small() -> Config {
    Config {
        num_envs: 2,
        num_steps: 128,
        hidden: vec![16],
        critic_epochs: 3,
        minibatch: 50,
        ..Config::default()
    }
}

/// The settings that turn everything on that an agent has to save.
fn everything() -> Config {
    Config {
        normalize_obs: true,
        normalize_reward: true,
        cg_precondition: true,
        fisher_fraction: 0.3,
        noise_correlation: 0.5,
        ..small()
    }
}

#[test]
fn both_methods_learn_and_without_a_radius_they_do_not() {
    let config = Config {
        gae_lambda: 0.98,
        cg_damping: 1e-2,
        critic_epochs: 10,
        hidden: vec![32],
        ..Config::default()
    };
    for method in [Method::Trpo, Method::Npg] {
        for seed in 1..=2 {
            let recent = |config: &Config| {
                let mut run = Run::new(method, config, "CartPole-v1", seed);
                (0..40).for_each(|_| run.iterate());
                run.recent()
            };
            let learned = recent(&config);
            assert!(learned > 150.0, "{method:?}, seed {seed}: {learned}");
            let control = recent(&Config { target_kl: 1e-9, ..config.clone() });
            assert!(control < 60.0, "the control learns: {method:?}, seed {seed}: {control}");
        }
    }
}

/// `mean KL(old || new)` in `f64`, from the definitions.
fn mean_kl(before: &Trpo, after: &Trpo, policy: Option<Policy>) -> f64 {
    let features = after.rollout().features().to_owned();
    let outputs = |agent: &Trpo| {
        let mut networks = agent.networks().clone();
        let mut out = ndarray::Array2::zeros((features.nrows(), networks.actor_outputs()));
        networks.actor_forward(&features, &mut out);
        out.mapv(f64::from)
    };
    let (old, new) = (outputs(before), outputs(after));
    let log_std = |agent: &Trpo| agent.networks().log_std().iter().map(|&s| f64::from(s)).collect::<Vec<_>>();
    let (s, t) = (log_std(before), log_std(after));
    let rows = old.rows().into_iter().zip(new.rows());
    let kl = rows.map(|(z, y)| match policy {
        None => {
            let sum = |x: ndarray::ArrayView1<'_, f64>| x.iter().map(|x| x.exp()).sum::<f64>().ln();
            let (a, b) = (sum(z), sum(y));
            z.iter().zip(y).map(|(z, y)| (z - a).exp() * ((z - a) - (y - b))).sum::<f64>()
        }
        Some(Policy::Gaussian) => (0..z.len())
            .map(|d| {
                let variance = (2.0 * s[d]).exp() + (z[d] - y[d]).powi(2);
                t[d] - s[d] + variance / (2.0 * (2.0 * t[d]).exp()) - 0.5
            })
            .sum(),
        Some(Policy::Beta) => {
            let shape = |x: f64| 1.0 + x.exp().ln_1p();
            let half = z.len() / 2;
            let part = |x: ndarray::ArrayView1<'_, f64>, at: usize| {
                (0..half).map(|d| shape(x[at + d])).collect::<Vec<f64>>()
            };
            rederive_math::beta::kl(&part(z, 0), &part(z, half), &part(y, 0), &part(y, half))
        }
    });
    kl.sum::<f64>() / features.nrows() as f64
}

#[test]
fn every_step_is_within_its_radius_and_a_refused_one_leaves_the_policy() {
    let cases =
        [("CartPole-v1", None), ("Pendulum-v1", Some(Policy::Gaussian)), ("Pendulum-v1", Some(Policy::Beta))];
    for (id, policy) in cases {
        let (mut taken, mut shortened) = (0, 0);
        for target_kl in [0.003, 0.1] {
            // A single candidate is often refused; fractions and preconditioners change the step, not what is accepted.
            for (max_backtracks, cg_damping) in [(1, 1e-3), (10, 0.1), (10, 0.0)] {
                let config = Config {
                    target_kl,
                    max_backtracks,
                    cg_damping,
                    policy: policy.unwrap_or_default(),
                    fisher_fraction: if cg_damping == 0.1 { 0.5 } else { 1.0 },
                    cg_precondition: cg_damping == 1e-3,
                    ..small()
                };
                let mut run = Run::new(Method::Trpo, &config, id, 3);
                for _ in 0..8 {
                    let before = run.agent.clone();
                    run.iterate();
                    let kl = mean_kl(&before, &run.agent, policy);
                    let reported = run.metric("kl");
                    assert!((kl - reported).abs() < 1e-6 + 1e-3 * kl, "{id}: {kl} against {reported}");
                    assert!(reported <= target_kl, "{id}: {reported} beyond {target_kl}");
                    if run.metric("step_share") == 0.0 {
                        let old = before.networks();
                        assert_eq!(run.policy_params(), old.params()[old.policy_range()]);
                        assert_eq!((reported, run.metric("surrogate_gain")), (0.0, 0.0));
                    } else {
                        assert!(run.metric("surrogate_gain") > 0.0);
                        taken += 1;
                    }
                    shortened += u32::from(run.metric("line_search_trials") > 1.0);
                }
            }
        }
        assert!(taken > 10 && shortened > 0, "{id}: {taken} steps taken, {shortened} shortened");
    }
}

#[test]
fn natural_steps_of_a_fixed_size_know_no_radius() {
    let mut run = Run::new(Method::Npg, &Config { policy_lr: Some(3.0), ..small() }, "CartPole-v1", 1);
    let before = run.agent.clone();
    run.iterate();
    let kl = mean_kl(&before, &run.agent, None);
    assert!(kl > 0.02 && (kl - run.metric("kl")).abs() < 1e-5, "{kl}");
    assert_eq!((run.metric("line_search_trials"), run.metric("step_share")), (0.0, 1.0));
    // Scaled to the radius, it is the first candidate of the trust region's line search.
    let config = Config { max_backtracks: 1, cg_damping: 0.5, ..small() };
    let (mut npg, mut trpo) =
        (Run::new(Method::Npg, &config, "CartPole-v1", 1), Run::new(Method::Trpo, &config, "CartPole-v1", 1));
    npg.iterate();
    trpo.iterate();
    assert_eq!(trpo.metric("step_share"), 1.0);
    assert_eq!(npg.policy_params(), trpo.policy_params());
}

#[test]
fn a_stop_changes_no_bit() {
    for (method, id, config) in [
        (Method::Trpo, "CartPole-v1", Config { noise_correlation: 0.0, ..everything() }),
        (Method::Trpo, "Pendulum-v1", everything()),
        (
            Method::Trpo,
            "Pendulum-v1",
            Config { policy: Policy::Beta, noise_correlation: 0.0, ..everything() },
        ),
        (Method::Npg, "MountainCarContinuous-v0", everything()),
    ] {
        let mut whole = Run::new(method, &config, id, 5);
        (0..3).for_each(|_| whole.iterate());
        let mut checkpoint = Checkpoint::default();
        whole.agent.save(&mut checkpoint);
        let mut resumed = Run::new(method, &config, id, 99);
        resumed.agent.load(&checkpoint).unwrap();
        resumed.env.load(&whole.env.save()).unwrap();
        resumed.log = whole.log.clone();
        for _ in 0..3 {
            whole.iterate();
            resumed.iterate();
            assert_eq!(whole.agent.networks().params(), resumed.agent.networks().params(), "{id}");
            assert_eq!(whole.report, resumed.report, "{id}");
        }
        // What does not fit leaves the agent as it was.
        let mut other = Run::new(method, &Config { hidden: vec![8], ..config }, id, 5);
        let before = other.agent.networks().params().to_vec();
        assert!(other.agent.load(&checkpoint).is_err());
        assert_eq!(other.agent.networks().params(), before);
    }
}

/// Shows nothing, ends after ten steps, and pays `reward` for the first action.
struct Blind {
    actions: usize,
    reward: f32,
    elapsed: u32,
}

impl Env for Blind {
    fn observation_space(&self) -> Space {
        Space::Box { low: vec![-1.0], high: vec![1.0] }
    }

    fn action_space(&self) -> Space {
        Space::Discrete { n: self.actions }
    }

    fn reset(&mut self, _: &mut Stream, obs: &mut [f32]) {
        self.elapsed = 0;
        obs.fill(0.0);
    }

    fn step(&mut self, action: Action<'_>, _: &mut Stream, obs: &mut [f32]) -> (f32, End) {
        self.elapsed += 1;
        obs.fill(0.0);
        let reward = if matches!(action, Action::Discrete(0)) { self.reward } else { 0.0 };
        (reward, if self.elapsed == 10 { End::Terminated } else { End::No })
    }

    fn save(&self) -> serde_json::Value {
        self.elapsed.into()
    }

    fn load(&mut self, _: &serde_json::Value) -> Result<(), StateError> {
        Ok(())
    }
}

fn blind(actions: usize, reward: f32, config: &Config) -> Run {
    let envs = (0..config.num_envs).map(|_| Blind { actions, reward, elapsed: 0 }).collect();
    let mut env = SyncVec::new("Blind", envs);
    env.reset(1);
    let agent = Trpo::new(Method::Trpo, config.clone(), &env, 1).unwrap();
    Run::of(agent, Box::new(env))
}

#[test]
fn a_singular_fisher_matrix_without_damping_is_no_danger() {
    let config = Config { cg_damping: 0.0, cg_iterations: 50, cg_tolerance: 0.0, ..small() };
    // One action: no gradient and no curvature at all. The policy stays, bit for bit.
    for precondition in [false, true] {
        let mut run = blind(1, 1.0, &Config { cg_precondition: precondition, ..config.clone() });
        let before = run.policy_params();
        run.iterate();
        assert_eq!(run.policy_params(), before);
        assert_eq!((run.metric("cg_iterations"), run.metric("step_share")), (0.0, 0.0));
    }
    // One state and two actions: a matrix of rank one. Its range holds the gradient, and the step is sound.
    let mut run = blind(2, 1.0, &config);
    run.iterate();
    assert!(run.metric("step_share") > 0.0 && run.metric("cg_iterations") <= 3.0, "{:?}", run.report);
    for _ in 0..20 {
        run.iterate();
        assert!(run.policy_params().iter().all(|p| p.is_finite() && p.abs() < 10.0));
    }
    let mut chosen = [0.0; 2];
    run.agent.networks().clone().actor_forward(
        &ndarray::array![[0.0]],
        &mut ndarray::ArrayViewMut2::from_shape((1, 2), &mut chosen).unwrap(),
    );
    assert!(chosen[0] > chosen[1] + 1.0, "{chosen:?}");
}

#[test]
fn a_reward_that_is_not_finite_stops_the_run() {
    for bad in [f32::NAN, f32::INFINITY] {
        let mut run = blind(2, bad, &small());
        let error = run.agent.iterate(run.env.as_mut(), 0.0, &mut run.log, &mut run.report).unwrap_err();
        assert_eq!((error.update, error.term.as_str()), (1, "reward"));
    }
    // Finite, but not in single precision once it is summed.
    let mut run = blind(2, f32::MAX, &Config { normalize_advantage: false, ..small() });
    let error = run.agent.iterate(run.env.as_mut(), 0.0, &mut run.log, &mut run.report).unwrap_err();
    assert!(["policy gradient", "value loss"].contains(&error.term.as_str()), "{error}");
}

#[test]
fn what_does_not_fit_is_refused_by_name() {
    let env = make_vec("CartPole-v1", 3).unwrap();
    let say = |method, config: Config| Trpo::new(method, config, env.as_ref(), 1).unwrap_err().to_string();
    assert_eq!(say(Method::Trpo, small()), "num_envs = 2: must be 3, the number of environments");
    let config = Config { num_envs: 3, ..small() };
    assert_eq!(
        say(Method::Trpo, Config { policy_lr: Some(0.1), ..config.clone() }),
        "policy_lr = 0.1: must be \"none\" for trpo, whose step is target_kl's"
    );
    assert_eq!(
        say(Method::Npg, Config { cg_damping: -1.0, ..config }),
        "cg_damping = -1: must be at least 0"
    );
}

#[test]
fn the_last_rollouts_log_probabilities_are_those_of_the_policy_that_acted() {
    let mut run = Run::new(Method::Trpo, &small(), "CartPole-v1", 1);
    let mut before = run.agent.networks().clone();
    run.iterate();
    let rollout = run.agent.rollout();
    let mut batch = before.batch(rollout.features().nrows());
    before.evaluate(rollout.features(), rollout.action(), &mut batch);
    for (a, b) in batch.log_prob.iter().zip(rollout.log_prob()) {
        assert!((a - b).abs() < 1e-5, "{a} against {b}");
    }
    let mut values = vec![0.0; batch.log_prob.len()];
    before.values(rollout.features(), &mut values);
    assert_eq!(values, rollout.value().as_slice().unwrap());
}
