//! Natural policy gradient and trust-region policy optimisation.

pub mod conjugate_gradient;
pub mod fisher;
pub mod line_search;
pub mod step;
