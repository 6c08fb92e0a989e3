//! REINFORCE learns to balance a pole: `cargo run --release -p rederive-reinforce --example cart_pole`.

use rederive_reinforce::{Config, Reinforce};
use rederive_train::{EpisodeLog, Learner, Report};
use std::time::Instant;

const STEPS: u64 = 200_000;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let config = Config { lr: 3e-3, vf_lr: 3e-3, normalize_advantage: true, ..Config::default() };
    let mut env = rederive_env::make_vec("CartPole-v1", config.num_envs)?;
    let mut agent = Reinforce::new(config, env.as_ref(), 1)?;
    env.reset(1);

    let (mut episodes, mut report) = (EpisodeLog::new(env.num_envs()), Report::default());
    let (started, mut steps, mut returns) = (Instant::now(), 0, Vec::new());
    while steps < STEPS {
        agent.iterate(env.as_mut(), steps as f64 / STEPS as f64, &mut episodes, &mut report)?;
        steps += report.steps;
        returns.extend(episodes.drain().map(|episode| episode.return_));
        if returns.len() >= 100 {
            let mean = returns.iter().sum::<f64>() / returns.len() as f64;
            println!("{steps:>7} steps: mean return {mean:.1}");
            returns.clear();
        }
    }
    println!("{:.0} steps per second", steps as f64 / started.elapsed().as_secs_f64());
    Ok(())
}
