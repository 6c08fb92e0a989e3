//! TRPO learns to balance a pole: `cargo run --release -p rederive-trpo --example cart_pole`.

use rederive_train::{EpisodeLog, Learner, Report};
use rederive_trpo::{Config, Method, Trpo};

const STEPS: u64 = 100_000;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let config = Config { gae_lambda: 0.98, cg_damping: 1e-2, critic_epochs: 20, ..Config::default() };
    let radius = config.target_kl;
    let mut env = rederive_env::make_vec("CartPole-v1", config.num_envs)?;
    let mut trpo = Trpo::new(Method::Trpo, config, env.as_ref(), 1)?;
    env.reset(1);

    let (mut episodes, mut report) = (EpisodeLog::new(env.num_envs()), Report::default());
    let (mut steps, mut largest, mut returns) = (0, 0.0f64, Vec::new());
    let kl = trpo.metrics().iter().position(|m| m.name == "kl").expect("it is reported");
    while steps < STEPS {
        trpo.iterate(env.as_mut(), 0.0, &mut episodes, &mut report)?;
        steps += report.steps;
        largest = largest.max(report.values[kl]);
        returns.extend(episodes.drain().map(|episode| episode.return_));
        if returns.len() >= 50 {
            let mean = returns.iter().sum::<f64>() / returns.len() as f64;
            println!("{steps:>7} steps: mean return {mean:5.1}, largest KL so far {largest:.4} of {radius}");
            returns.clear();
        }
    }
    Ok(())
}
