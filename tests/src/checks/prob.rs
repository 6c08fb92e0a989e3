use crate::Check;

/// Every check of this family.
pub fn checks() -> Vec<Check> {
    Vec::new()
}
