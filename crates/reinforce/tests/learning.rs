//! Each method learns, and with steps of no size it does not.

use rederive_env::make_vec;
use rederive_nn::Schedule;
use rederive_reinforce::{A2c, A2cConfig, Advantage, Baseline, Config, Reinforce, Rule};
use rederive_train::{EpisodeLog, Evaluator, Learner, Report};

/// Trains for `steps` steps and evaluates the greedy policy.
fn after(agent: &mut dyn Learner, id: &str, num_envs: usize, steps: u64) -> f64 {
    let mut env = make_vec(id, num_envs).unwrap();
    env.reset(1);
    let (mut log, mut report, mut done) = (EpisodeLog::new(num_envs), Report::default(), 0);
    while done < steps {
        agent.iterate(env.as_mut(), done as f64 / steps as f64, &mut log, &mut report).unwrap();
        done += report.steps;
        log.drain();
        assert_eq!(report.values.len(), agent.metrics().len());
    }
    let evaluator = Evaluator { episodes: 20, ..Evaluator::default() };
    evaluator.greedy(agent, make_vec(id, 20).unwrap().as_mut()).unwrap().return_mean
}

fn reinforce(config: &Config, id: &str, steps: u64) -> f64 {
    let env = make_vec(id, config.num_envs).unwrap();
    let mut agent = Reinforce::new(config.clone(), env.as_ref(), 1).unwrap();
    after(&mut agent, id, config.num_envs, steps)
}

fn a2c(config: &A2cConfig, id: &str, steps: u64) -> f64 {
    let env = make_vec(id, config.num_envs).unwrap();
    let mut agent = A2c::new(config.clone(), env.as_ref(), 1).unwrap();
    after(&mut agent, id, config.num_envs, steps)
}

#[test]
fn reinforce_balances_a_pole_with_every_baseline() {
    let base = Config {
        normalize_advantage: true,
        lr: 3e-3,
        vf_lr: 3e-3,
        lr_schedule: Schedule::Linear,
        ..Config::default()
    };
    for baseline in [Baseline::None, Baseline::Constant, Baseline::Time, Baseline::Value] {
        let config = Config { baseline, ..base.clone() };
        let learnt = reinforce(&config, "CartPole-v1", 100_000);
        assert!(learnt > 400.0, "{baseline:?}: {learnt}");
    }
    // Several environments, each with as many whole episodes.
    let learnt = reinforce(&Config { num_envs: 4, ..base.clone() }, "CartPole-v1", 100_000);
    assert!(learnt > 400.0, "four environments: {learnt}");
    let control = reinforce(&Config { lr: 1e-9, ..base }, "CartPole-v1", 20_000);
    assert!(control < 150.0, "the control: {control}");
}

#[test]
fn actor_critics_balance_a_pole() {
    let many = A2cConfig { lr_schedule: Schedule::Linear, ..A2cConfig::default() };
    let one = A2cConfig {
        num_envs: 1,
        num_steps: 32,
        advantage: Advantage::NStep,
        n_step: 5,
        optimizer: Rule::Adam,
        ..many.clone()
    };
    for (name, config) in [("a2c", &many), ("actor-critic", &one)] {
        let learnt = a2c(config, "CartPole-v1", 300_000);
        assert!(learnt > 400.0, "{name}: {learnt}");
        let control = a2c(&A2cConfig { lr: 1e-9, ..config.clone() }, "CartPole-v1", 20_000);
        assert!(control < 150.0, "the control of {name}: {control}");
    }
}

#[test]
fn noise_that_lasts_swings_a_pendulum_up() {
    let config = A2cConfig {
        num_steps: 8,
        gamma: 0.9,
        gae_lambda: 0.9,
        lr_schedule: Schedule::Linear,
        normalize_obs: true,
        normalize_reward: true,
        log_std: 0.5,
        noise_correlation: 0.7,
        ..A2cConfig::default()
    };
    let learnt = a2c(&config, "Pendulum-v1", 500_000);
    assert!(learnt > -400.0, "{learnt}");
    let control = a2c(&A2cConfig { lr: 1e-9, ..config }, "Pendulum-v1", 20_000);
    assert!(control < -900.0, "the control: {control}");
}
