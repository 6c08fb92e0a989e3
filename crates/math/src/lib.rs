//! Every formula of the book as a pure function on ndarray views, generic over [`Real`].
//!
//! One module holds one family of equations; the ID of an equation (`gae.recursion`) stands in the documentation of its
//! function and in the pair of anchor comments around it, from which the book includes the code.

pub mod aliasing;
pub mod bellman;
pub mod beta;
pub mod calculus;
pub mod categorical;
pub mod dispatch;
pub mod divergence;
mod elimination;
mod end;
pub mod estimators;
pub mod exploration;
mod fast;
pub mod fisher;
pub mod gae;
pub mod gaussian;
pub mod linear;
pub mod maxent;
pub mod mdp;
pub mod monte_carlo;
pub mod natural_gradient;
pub mod normalise;
pub mod performance;
pub mod policy_gradient;
pub mod preference;
pub mod probability;
mod real;
pub mod returns;
#[cfg(target_arch = "x86_64")]
pub mod simd;
pub mod special;
mod stream;
mod sum;
pub mod surrogate;
mod symmetric;
pub mod td;
pub mod trust_region;
pub mod value_loss;

pub use end::End;
pub use real::Real;
pub use stream::Stream;
