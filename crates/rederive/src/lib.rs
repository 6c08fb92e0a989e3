//! Reinforcement learning, re-derived: one crate in front of the others.
//!
//! | module | what it has |
//! |---|---|
//! | [`math`] | returns, advantages, distributions, surrogates, divergences, estimators: pure functions |
//! | [`mod@env`] | environments with Gymnasium's IDs, one at a time or many together |
//! | [`nn`] | flat parameters, layers with handwritten derivatives, optimisers |
//! | [`train`] | rollouts, the run loop and its events, run folders, checkpoints, evaluation |
//! | [`ppo`] | proximal policy optimisation |
//! | [`dqn`] | deep Q-networks: replay, target networks, double, dueling, n-step |
//! | [`reinforce`] | REINFORCE, actor-critic, A2C |
//! | [`trpo`] | natural policy gradient and trust regions |
//! | [`tabular`] | exact solvers of finite Markov decision processes |
//! | [`q_learning`] | Monte Carlo and temporal differences with tables and linear features |
//! | [`mcts`] | Monte Carlo tree search |
//! | [`algorithms`] | the table of algorithms behind `rederive train`, each with its presets |

pub mod algorithms;

pub use rederive_dqn as dqn;
pub use rederive_env as env;
pub use rederive_math as math;
pub use rederive_mcts as mcts;
pub use rederive_nn as nn;
pub use rederive_ppo as ppo;
pub use rederive_q_learning as q_learning;
pub use rederive_reinforce as reinforce;
pub use rederive_tabular as tabular;
pub use rederive_train as train;
pub use rederive_trpo as trpo;
