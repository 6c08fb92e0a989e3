//! Natural policy gradient and trust-region policy optimisation.
