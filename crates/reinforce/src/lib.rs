//! REINFORCE (Williams, 1992) and actor-critics up to A2C (Mnih et al., 2016), for discrete and continuous actions.
//!
//! | file | equations | what |
//! |---|---|---|
//! | [`config`](Config) | | every hyper-parameter of REINFORCE with its default and range |
//! | [`a2c_config`](A2cConfig) | | the same of the actor-critics |
//! | `episodes` | | plays whole episodes, as many in each environment, whatever their lengths |
//! | [`agent`](Reinforce) | `pg.sample-estimator` | returns, baselines, one step of the policy, a fit of the critic |
//! | [`a2c`](A2c) | `ac.one-step` | a few steps, advantages, one step of both |
//! | [`loss`] | `ent.bonus` | the objective and its gradient, on vectors |
//!
//! The equations live in `rederive_math`: `policy_gradient::weights` (`pg.reward-to-go`, `pg.discount-factor`),
//! `policy_gradient::baselines` (`pg.baseline`), `policy_gradient::loss` (`pg.loss-surrogate`, `pg.aggregation`), `gae`
//! (`gae.recursion`, `gae.kstep`), `value_loss`, and the policies `categorical`, `gaussian` and `beta`.

mod a2c;
mod a2c_config;
mod agent;
mod config;
mod episodes;
pub mod loss;

pub use a2c::{A2C_METRICS, A2c};
pub use a2c_config::{A2cConfig, Advantage};
pub use agent::{METRICS, Reinforce};
pub use config::{Aggregation, Baseline, Config, Returns, Rule};
