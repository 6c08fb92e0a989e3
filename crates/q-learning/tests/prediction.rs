//! Values of a given policy, learnt in every way, against exact ones.

use ndarray::Array2;
use rederive_env::{finite_table, make_vec};
use rederive_q_learning::{Config, Prediction, Predictor, Trace, Visit};

const GAMMA: f64 = 0.9;

/// The values of a policy on FrozenLake, by sweeps.
fn exact(policy: &Array2<f32>) -> Vec<f64> {
    let table = finite_table("FrozenLake-v1").unwrap();
    let mut value = vec![0.0; table.num_states()];
    for _ in 0..2000 {
        for s in 0..value.len() {
            let backup = (0..4).map(|a| {
                let mean: f64 = table
                    .row(s, a)
                    .iter()
                    .map(|o| {
                        o.prob * (o.reward + if o.terminated { 0.0 } else { GAMMA * value[o.next as usize] })
                    })
                    .sum();
                f64::from(policy[[s, a]]) * mean
            });
            value[s] = backup.sum();
        }
    }
    value
}

#[test]
fn every_method_finds_the_values_of_its_policy_and_not_those_of_another() {
    let uniform = Array2::from_elem((16, 4), 0.25);
    let mut other = uniform.clone();
    other.rows_mut().into_iter().for_each(|mut row| row.assign(&ndarray::arr1(&[0.1, 0.6, 0.2, 0.1])));
    let base = Config { gamma: GAMMA, alpha: 1.0, alpha_power: 0.8, num_envs: 4, ..Config::default() };
    for (method, config) in [
        (Prediction::Td0, base.clone()),
        (Prediction::NStep, base.clone()),
        (Prediction::Lambda, Config { trace_decay: 0.5, ..base.clone() }),
        (Prediction::Lambda, Config { trace: Trace::Accumulating, trace_decay: 0.5, ..base.clone() }),
        (Prediction::MonteCarlo, Config { visit: Visit::First, ..base.clone() }),
        (Prediction::MonteCarlo, Config { visit: Visit::Every, ..base }),
    ] {
        for seed in 1..=5 {
            let mut env = make_vec("FrozenLake-v1", 4).unwrap();
            let mut predictor = Predictor::new(method, config.clone(), &other, env.as_ref(), seed).unwrap();
            env.reset(seed);
            predictor.learn(env.as_mut(), 100_000);
            let farthest = |value: &[f64]| {
                // A state that was hardly ever seen has no estimate yet.
                let seen = (0..16).filter(|&s| predictor.updates()[s] > 500);
                seen.map(|s| (f64::from(predictor.value()[s]) - value[s]).abs()).fold(0.0, f64::max)
            };
            let (own, control) = (farthest(&exact(&other)), farthest(&exact(&uniform)));
            assert!(own < 0.05 && control > 1.5 * own, "{method:?}, seed {seed}: {own}, {control}");
        }
    }
}

#[test]
fn what_is_no_policy_is_refused() {
    let env = make_vec("FrozenLake-v1", 1).unwrap();
    let mut policy = Array2::from_elem((16, 4), 0.25);
    policy[[3, 1]] = 0.5;
    let error = Predictor::new(Prediction::Td0, Config::default(), &policy, env.as_ref(), 1).unwrap_err();
    assert_eq!((error.field.as_str(), error.allowed.as_str()), ("policy[3]", "probabilities that sum to 1"));
}
