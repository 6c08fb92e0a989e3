//! Where each equation stands in the source: `// ANCHOR: id` ... `// ANCHOR_END: id`.
