//! A deep Q-network learns to balance a pole: `cargo run --release -p rederive-dqn --example cart_pole`.

use rederive_dqn::{Config, Dqn};
use rederive_train::{EpisodeLog, Learner, Report};
use std::time::Instant;

const STEPS: u64 = 500_000;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut env = rederive_env::make_vec("CartPole-v1", 1)?;
    // Double Q-learning, a dueling head, priorities and several rewards are fields of the configuration.
    let mut dqn = Dqn::new(Config { double: true, ..Config::default() }, env.as_ref(), 1)?;
    env.reset(1);

    let (mut episodes, mut report) = (EpisodeLog::new(1), Report::default());
    let (started, mut steps, mut returns) = (Instant::now(), 0, Vec::new());
    while steps < STEPS {
        dqn.iterate(env.as_mut(), steps as f64 / STEPS as f64, &mut episodes, &mut report)?;
        steps += report.steps;
        returns.extend(episodes.drain().map(|episode| episode.return_));
        if steps % 25_000 == 0 {
            let mean = returns.iter().sum::<f64>() / returns.len().max(1) as f64;
            println!("{steps:>7} steps: mean return {mean:5.1}, mean value {:5.1}", report.values[2]);
            returns.clear();
        }
    }
    println!("{:.0} steps per second", steps as f64 / started.elapsed().as_secs_f64());
    Ok(())
}
