//! Natural policy gradient (Kakade, 2001) and trust-region policy optimisation (Schulman et al., 2015), for discrete and continuous
//! actions.
//!
//! | file | equations | what |
//! |---|---|---|
//! | [`config`](Config) | | every hyper-parameter with its default and range |
//! | [`loss`] | | the surrogate's gain and its gradient, on vectors |
//! | [`law`](Law) | | the old policy of a batch: its Fisher matrices and the divergence from it |
//! | [`fisher`] | `cg.fisher-product` | products with the policy's Fisher matrix, and its diagonal |
//! | [`conjugate_gradient`] | `cg.solve` | the natural gradient from such products |
//! | [`step`] | `trpo.step` | how far along it the quadratic model allows |
//! | [`line_search`] | `trpo.line-search` | back until true divergence and gain are acceptable |
//! | [`agent`](Trpo) | | collect, estimate advantages, step the policy, fit the critic |
//!
//! Advantages come from `rederive_math::gae`, the distributions' Fisher matrices from `rederive_math::fisher`.

mod agent;
mod config;
pub mod conjugate_gradient;
pub mod fisher;
mod law;
pub mod line_search;
pub mod loss;
pub mod step;

pub use agent::{METRICS, Trpo};
pub use config::{Config, Method};
pub use law::Law;
