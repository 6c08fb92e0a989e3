//! The checks, one module per family of equations.

/// Actors, critics and scripted rollouts, written out for the checks of training loops.
mod actor_critic;
/// Merged observations: `alias.*`.
pub mod alias;
/// Bellman equations: `bellman.*`.
pub mod bellman;
/// Convolutions and the dueling head: `nn.conv`, `dqn.dueling`.
pub mod conv;
/// Dynamic programming: `dp.*`.
pub mod dp;
/// Deep Q-networks: `dqn.*`.
pub mod dqn;
/// Fisher information and natural gradients: `fisher.*`, `ng.*`.
pub mod fisher;
/// Stacked observations: `dqn.frame-stack`.
pub mod frame_stack;
/// Advantage estimation: `gae.*`.
pub mod gae;
/// Estimators of the Kullback-Leibler divergence: `kl.*`.
pub mod kl;
/// Linear function approximation: `fa.*`.
pub mod linear;
/// Rewards plus entropy: `maxent.*`.
pub mod maxent;
/// Monte Carlo: `mc.*`.
pub mod mc;
/// Monte Carlo tree search: `mcts.*`.
pub mod mcts;
/// Finite Markov decision processes: `mdp.*`.
pub mod mdp;
/// Networks and optimisers: `nn.*`, `opt.*`.
pub mod nn;
/// Policy gradients: `pg.*`, `ac.*`.
pub mod pg;
/// Action distributions and the entropy bonus: `policy.*`, `ent.*`.
pub mod policy;
/// Proximal policy optimisation: `ppo.*`.
pub mod ppo;
/// Expectations, estimators and divergences: `prob.*`.
pub mod prob;
/// Q-learning: `qlearn.*`.
pub mod qlearn;
/// Discounted returns: `return.*`.
pub mod returns;
/// Backups in any order: `rtdp.*`.
pub mod rtdp;
/// SARSA: `sarsa.*`.
pub mod sarsa;
/// Step sizes: `rm.*`.
pub mod step_sizes;
/// Solvers of sparse processes, on the equations that they solve: `bellman.*`, `dp.*`, `maxent.*`, `rtdp.*`.
pub mod tabular;
/// Whether the agents with tables do what the equations say.
pub mod tabular_agents;
/// Temporal differences: `td.*`.
pub mod td;
/// Calculus: `tools.*`.
pub mod tools;
/// Conjugate gradients, Fisher products, steps and line searches: `cg.*`, `trpo.step`, `trpo.line-search`.
pub mod trpo_agent;
/// Performance differences, their bounds, and ascent by lower bounds: `trpo.*` but for the solver, `cpi.*`, `mm.*`.
pub mod trust_region;
