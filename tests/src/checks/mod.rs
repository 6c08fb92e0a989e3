//! The checks, one module per family of equations.

/// Advantage estimation: `gae.*`.
pub mod gae;
/// Estimators of the Kullback-Leibler divergence: `kl.*`.
pub mod kl;
/// Finite Markov decision processes: `mdp.*`.
pub mod mdp;
/// Networks and optimisers: `nn.*`, `opt.*`.
pub mod nn;
/// Action distributions and the entropy bonus: `policy.*`, `ent.*`.
pub mod policy;
/// Proximal policy optimisation: `ppo.*`.
pub mod ppo;
/// Expectations, estimators and divergences: `prob.*`.
pub mod prob;
/// Discounted returns: `return.*`.
pub mod returns;
/// Temporal differences: `td.*`.
pub mod td;
/// Calculus: `tools.*`.
pub mod tools;
