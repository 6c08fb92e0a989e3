//! A time limit is not the end of the world: with a critic the value of the last state follows, without one nothing does.

use rederive_env::make_vec;
use rederive_reinforce::{A2c, A2cConfig, Baseline, Config, Reinforce};
use rederive_train::{Checkpoint, EpisodeLog, Learner, Report};

const GAMMA: f32 = 0.5;
/// What the critic says of every state.
const VALUE: f32 = 64.0;
const LIMIT: usize = 3;

/// The returns of two episodes that a limit cuts.
fn returns(baseline: Baseline) -> Vec<f32> {
    let config = Config { episodes: 2, gamma: GAMMA.into(), baseline, ..Config::default() };
    let mut env = make_vec(&format!("Pendulum-v1?max_steps={LIMIT}"), 1).unwrap();
    let mut agent = Reinforce::new(config, env.as_ref(), 1).unwrap();
    let critic = agent.networks().critic_range();
    let critic = &mut agent.networks_mut().params_mut()[critic];
    critic.fill(0.0);
    *critic.last_mut().unwrap() = VALUE;
    env.reset(1);
    agent.iterate(env.as_mut(), 0.0, &mut EpisodeLog::new(1), &mut Report::default()).unwrap();
    agent.weights().0.to_vec()
}

#[test]
fn the_critic_says_what_follows_a_cut() {
    let (with, without) = (returns(Baseline::Value), returns(Baseline::None));
    assert_eq!(with.len(), 2 * LIMIT);
    for (t, (with, without)) in with.iter().zip(&without).enumerate() {
        let follows = GAMMA.powi((LIMIT - t % LIMIT) as i32) * VALUE;
        assert!((with - without - follows).abs() < 1e-4, "step {t}: {with}, {without}, {follows}");
    }
}

#[test]
fn an_actor_critic_looks_beyond_a_cut_too() {
    let config = A2cConfig { num_envs: 2, num_steps: 2 * LIMIT, gamma: GAMMA.into(), ..A2cConfig::default() };
    let mut env = make_vec(&format!("Pendulum-v1?max_steps={LIMIT}"), 2).unwrap();
    let mut agent = A2c::new(config, env.as_ref(), 1).unwrap();
    let mut checkpoint = Checkpoint::default();
    agent.save(&mut checkpoint);
    let params = checkpoint.tensors.get_mut("params").unwrap();
    params[agent.networks().critic_range()].fill(0.0);
    params[agent.networks().critic_range().end - 1] = VALUE;
    agent.load(&checkpoint).unwrap();
    env.reset(1);
    agent.iterate(env.as_mut(), 0.0, &mut EpisodeLog::new(2), &mut Report::default()).unwrap();
    let (advantage, return_) = agent.targets();
    let reward = agent.rollout().reward();
    for t in [LIMIT - 1, 2 * LIMIT - 1] {
        for n in 0..2 {
            let target = reward[[t, n]] + GAMMA * VALUE;
            assert!((return_[[t, n]] - target).abs() < 1e-4, "step {t}: {}, {target}", return_[[t, n]]);
            assert!((advantage[[t, n]] - (target - VALUE)).abs() < 1e-4);
        }
    }
}
