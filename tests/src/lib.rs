//! The registry of property checks: every formula of the book, held against an independent computation.
//!
//! A [`Check`] belongs to one equation (`gae.recursion`) and tests one property of it (`definition`, `gradient`, `limits`,
//! ...). [`random`] builds a check from a proptest strategy, [`fixed`] one from a fixture or a seeded simulation;
//! [`registry`] lists them all in the order of the ledger, and [`verify`] runs those that match a pattern.
//!
//! A check is worth the wrong implementation that it tells apart: its two sides share no code. The oracles
//! ([`oracles`]: enumeration, elimination, brute force, central differences, quadrature) and the inputs ([`generators`])
//! therefore use nothing of the libraries under test but their plain types.

pub mod anchors;
mod check;
pub mod checks;
pub mod consistency;
pub mod equations;
pub mod generators;
pub mod measure;
pub mod oracles;
mod registry;

pub use check::{Check, DEFAULT_CASES, DEFAULT_SEED, Measured, Outcome, fixed, panics, random};
pub use registry::{registry, verify};
