//! PPO learns to balance a pole: `cargo run --release -p rederive-ppo --example cart_pole`.

use rederive_ppo::{Config, Ppo};
use rederive_train::{EpisodeLog, Learner, Report};
use std::time::Instant;

const STEPS: u64 = 500_000;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let config = Config::default();
    let mut env = rederive_env::make_vec("CartPole-v1", config.num_envs)?;
    let mut ppo = Ppo::new(config, env.as_ref(), 1)?;
    env.reset(1);

    let (mut episodes, mut report) = (EpisodeLog::new(env.num_envs()), Report::default());
    let (started, mut steps, mut next_line) = (Instant::now(), 0, 0);
    while steps < STEPS {
        ppo.iterate(env.as_mut(), steps as f64 / STEPS as f64, &mut episodes, &mut report)?;
        steps += report.steps;
        episodes.drain();
        if steps >= next_line {
            println!("{steps:>7} steps: mean return {:.1}", episodes.mean_return().unwrap_or(0.0));
            next_line += STEPS / 10;
        }
    }
    println!("{:.0} steps per second", steps as f64 / started.elapsed().as_secs_f64());
    Ok(())
}
