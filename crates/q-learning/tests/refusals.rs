//! Environments and configurations that do not fit.

use rederive_env::make_vec;
use rederive_q_learning::{Config, Method, QLearning};

#[test]
fn environments_without_a_table_are_refused_with_a_list_of_those_that_have_one() {
    let env = make_vec("CartPole-v1", 1).unwrap();
    let error = QLearning::new(Method::Sarsa, Config::default(), env.as_ref(), 1).unwrap_err();
    assert_eq!((error.field.as_str(), error.value.as_str()), ("env", "CartPole-v1"));
    assert!(error.allowed.starts_with("an environment with discrete observations for sarsa: FrozenLake-v1,"));
    assert!(error.allowed.contains("Blackjack-v1") && !error.allowed.contains("Pendulum"), "{error}");
}

#[test]
fn the_number_of_environments_has_to_be_the_configured_one() {
    let env = make_vec("FrozenLake-v1", 2).unwrap();
    let error = QLearning::new(Method::QLearning, Config::default(), env.as_ref(), 1).unwrap_err();
    assert_eq!(error.to_string(), "num_envs = 1: must be 2, the number of environments");
}
