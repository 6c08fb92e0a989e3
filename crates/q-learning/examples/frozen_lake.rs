//! Q-learning crosses a slippery lake: `cargo run --release -p rederive-q-learning --example frozen_lake`.

use rederive_q_learning::{Config, EpsilonSchedule, Method, QLearning};
use rederive_train::{EpisodeLog, Learner, Report, stats};
use std::time::Instant;

const STEPS: u64 = 20_000_000;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let config = Config {
        num_steps: 1_000_000,
        alpha: 0.02,
        init: 1.0,
        epsilon_schedule: EpsilonSchedule::Linear,
        epsilon_final: 0.0,
        ..Config::default()
    };
    let mut env = rederive_env::make_vec("FrozenLake-v1", config.num_envs)?;
    let mut agent = QLearning::new(Method::QLearning, config, env.as_ref(), 1)?;
    env.reset(1);

    let (mut episodes, mut report) = (EpisodeLog::new(env.num_envs()), Report::default());
    let (started, mut steps) = (Instant::now(), 0);
    while steps < STEPS {
        agent.iterate(env.as_mut(), steps as f64 / STEPS as f64, &mut episodes, &mut report)?;
        steps += report.steps;
        let returns: Vec<f64> = episodes.drain().map(|episode| episode.return_).collect();
        println!("{steps:>9} steps: mean return {:.3}", stats::mean(&returns));
    }
    println!("{:.0} steps per second", steps as f64 / started.elapsed().as_secs_f64());
    println!("start: left, down, right, up = {:.3}", agent.q().row(0));
    Ok(())
}
