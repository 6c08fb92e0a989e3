//! Convergence to the exact values (`qlearn.convergence`), over five seeds, with controls that fail.

use rederive_env::{FiniteTable, Place, Stream, finite_table, make_vec};
use rederive_q_learning::{Config, Method, QLearning, Visit};
use rederive_train::{EpisodeLog, Learner, Report};

const SEEDS: [u64; 5] = [1, 2, 3, 4, 5];

/// `Q*` by value iteration, or `Q` of the policy that explores with probability `epsilon` and is best at that.
fn exact(table: &FiniteTable, gamma: f64, epsilon: f64) -> Vec<f64> {
    let (states, actions) = (table.num_states(), table.num_actions());
    let mut q = vec![0.0; states * actions];
    loop {
        let value: Vec<f64> = q
            .chunks(actions)
            .map(|row| {
                let best = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                (1.0 - epsilon) * best + epsilon * row.iter().sum::<f64>() / actions as f64
            })
            .collect();
        let mut change = 0.0f64;
        for (pair, entry) in q.iter_mut().enumerate() {
            let backup = table.row(pair / actions, pair % actions).iter().map(|o| {
                o.prob * (o.reward + if o.terminated { 0.0 } else { gamma * value[o.next as usize] })
            });
            let backup = backup.sum::<f64>();
            change = change.max((backup - *entry).abs());
            *entry = backup;
        }
        if change < 1e-12 {
            return q;
        }
    }
}

/// Learns from `steps` transitions, each of a pair drawn uniformly: every state has its turn, whatever the policy does.
fn from_everywhere(method: Method, config: &Config, id: &str, seed: u64, steps: u64) -> Vec<f32> {
    let table = finite_table(id).unwrap();
    let config = Config { num_steps: 1, num_envs: 64, epsilon: 1.0, ..config.clone() };
    let mut env = make_vec(id, config.num_envs).unwrap();
    let mut agent = QLearning::new(method, config.clone(), env.as_ref(), seed).unwrap();
    env.reset(seed);
    let mut rng = Stream::new(seed, "exploring starts", 0);
    let (mut log, mut report) = (EpisodeLog::new(config.num_envs), Report::default());
    for _ in 0..steps / config.num_envs as u64 {
        for n in 0..config.num_envs {
            let place = env.place(n).unwrap();
            let state = rng.below(table.num_states() as u32);
            env.set_place(n, Place { state, elapsed: 0, ..place });
        }
        agent.iterate(env.as_mut(), 0.0, &mut log, &mut report).unwrap();
        log.drain();
    }
    agent.q().iter().copied().collect()
}

fn farthest(q: &[f32], exact: &[f64]) -> f64 {
    q.iter().zip(exact).map(|(&x, &y)| (f64::from(x) - y).abs()).fold(0.0, f64::max)
}

/// The ledger's bound: `0.05 R_max / (1 - gamma)`.
fn bound(table: &FiniteTable, gamma: f64) -> f64 {
    let largest = table.outcomes().iter().map(|o| o.reward.abs()).fold(0.0, f64::max);
    0.05 * largest / (1.0 - gamma)
}

#[test]
fn q_learning_finds_the_best_values_and_with_steps_that_fall_too_fast_it_does_not() {
    let gamma = 0.8;
    for (id, steps) in [("FrozenLake-v1", 400_000), ("Taxi-v3", 3_000_000)] {
        let table = finite_table(id).unwrap();
        let (best, bound) = (exact(&table, gamma, 0.0), bound(&table, gamma));
        let config = Config { gamma, alpha: 1.0, alpha_power: 0.7, ..Config::default() };
        for method in [Method::QLearning, Method::DoubleQLearning] {
            // Each of two tables takes half of the steps; on the larger environment that takes long.
            let steps = match method {
                Method::QLearning => steps,
                _ if id == "Taxi-v3" => continue,
                _ => 3 * steps,
            };
            for seed in SEEDS {
                let error = farthest(&from_everywhere(method, &config, id, seed, steps), &best);
                assert!(error <= bound, "{method:?} on {id}, seed {seed}: {error}, bound {bound}");
            }
        }
        // The control: values that start far off and steps that shrink before they get there.
        let stuck = Config { alpha: 0.01, alpha_power: 1.0, init: 10.0 * bound, ..config };
        for seed in SEEDS {
            let error = farthest(&from_everywhere(Method::QLearning, &stuck, id, seed, steps), &best);
            assert!(error > bound, "{id}, seed {seed}: {error}, bound {bound}");
        }
    }
}

#[test]
fn expected_sarsa_finds_the_values_of_the_policy_that_explores() {
    let gamma = 0.8;
    let table = finite_table("FrozenLake-v1").unwrap();
    // From everywhere, actions are drawn uniformly, and the policy is that.
    let (uniform, best) = (exact(&table, gamma, 1.0), exact(&table, gamma, 0.0));
    let bound = bound(&table, gamma);
    let config = Config { gamma, alpha: 1.0, alpha_power: 0.7, ..Config::default() };
    for seed in SEEDS {
        let q = from_everywhere(Method::ExpectedSarsa, &config, "FrozenLake-v1", seed, 400_000);
        let error = farthest(&q, &uniform);
        assert!(error <= bound, "seed {seed}: {error}, bound {bound}");
        // The control: Q* lies elsewhere.
        assert!(error < 0.2 * farthest(&q, &best), "seed {seed}: {error}");
    }
}

/// The mean of the last hundred returns, and the table.
fn train(method: Method, config: &Config, id: &str, seed: u64, steps: u64) -> (f64, QLearning) {
    let mut env = make_vec(id, config.num_envs).unwrap();
    let mut agent = QLearning::new(method, config.clone(), env.as_ref(), seed).unwrap();
    env.reset(seed);
    let (mut log, mut report) = (EpisodeLog::new(config.num_envs), Report::default());
    let (mut done, mut returns) = (0, Vec::new());
    while done < steps {
        agent.iterate(env.as_mut(), done as f64 / steps as f64, &mut log, &mut report).unwrap();
        done += report.steps;
        returns.extend(log.drain().map(|episode| episode.return_));
    }
    let last = &returns[returns.len().saturating_sub(100)..];
    (last.iter().sum::<f64>() / last.len() as f64, agent)
}

#[test]
fn every_method_that_bootstraps_learns_to_drive_a_taxi_and_without_learning_it_does_not() {
    let config = Config { alpha: 0.3, epsilon: 0.1, ..Config::default() };
    for method in Method::ALL.into_iter().filter(|&method| method != Method::MonteCarlo) {
        for seed in SEEDS {
            let (return_, _) = train(method, &config, "Taxi-v3", seed, 600_000);
            assert!(return_ > -80.0, "{method:?}, seed {seed}: {return_}");
        }
    }
    for seed in SEEDS {
        let frozen = Config { alpha: 1e-6, ..config.clone() };
        let (return_, _) = train(Method::QLearning, &frozen, "Taxi-v3", seed, 600_000);
        assert!(return_ < -200.0, "control, seed {seed}: {return_}");
    }
}

#[test]
fn monte_carlo_crosses_a_lake_and_random_actions_do_not() {
    let id = "FrozenLake-v1?slippery=false";
    for visit in [Visit::First, Visit::Every] {
        let config = Config { alpha: 0.1, init: 1.0, visit, ..Config::default() };
        for seed in SEEDS {
            let (return_, _) = train(Method::MonteCarlo, &config, id, seed, 200_000);
            assert!(return_ > 0.4, "{visit:?}, seed {seed}: {return_}");
            let random = Config { epsilon: 1.0, ..config.clone() };
            let (return_, _) = train(Method::MonteCarlo, &random, id, seed, 200_000);
            assert!(return_ < 0.2, "control, seed {seed}: {return_}");
        }
    }
}

#[test]
fn sarsa_walks_away_from_the_cliff_and_q_learning_along_it() {
    // R. S. Sutton, A. G. Barto (2018), example 6.6: what explores pays for the edge.
    let config = Config { gamma: 1.0, alpha: 0.5, epsilon: 0.1, ..Config::default() };
    let above_cliff = 3 * 12 - 12 + 5;
    for seed in SEEDS {
        let (careful, _) = train(Method::ExpectedSarsa, &config, "CliffWalking-v1", seed, 200_000);
        let (bold, agent) = train(Method::QLearning, &config, "CliffWalking-v1", seed, 200_000);
        assert!(careful > bold, "seed {seed}: {careful} against {bold}");
        let q = agent.q();
        assert!(q.row(above_cliff)[1] >= q.row(above_cliff)[0], "seed {seed}: right along the edge");
    }
}

#[test]
fn the_crawler_crawls() {
    // It has to reach for the ground before anything moves: high values send it everywhere.
    let config = Config { gamma: 0.95, alpha: 0.2, init: 5.0, ..Config::default() };
    for seed in SEEDS {
        let (return_, _) = train(Method::QLearning, &config, "Crawler-v0", seed, 400_000);
        assert!(return_ > 8.0, "seed {seed}: {return_}");
        let frozen = Config { alpha: 1e-6, ..config.clone() };
        assert!(
            train(Method::QLearning, &frozen, "Crawler-v0", seed, 100_000).0 < 3.0,
            "control, seed {seed}"
        );
    }
}
