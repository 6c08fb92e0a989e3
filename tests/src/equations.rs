//! The table of all equations.

/// The place of an equation in the ledger.
pub fn position(_id: &str) -> Option<usize> {
    None
}
