//! What the repository knows of each equation: the code between its anchors, its registered checks, its measurements.

use crate::measured::{self, Bench, Timing, Verified};
use rederive_tests::anchors::scan;
use rederive_tests::equations::{self, BENCHMARKED};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// The code that computes an equation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Anchor {
    /// Relative to the repository's root, with forward slashes.
    pub file: String,
    /// The number of each line of the code in the file, counted from 1.
    pub numbers: Vec<usize>,
    /// The lines between the anchor comments.
    pub code: String,
}

/// A property that a check holds an equation to.
#[derive(Clone, Debug, PartialEq)]
pub struct Property {
    /// Its name: `definition`.
    pub name: String,
    /// The largest scaled error that passes.
    pub tolerance: f64,
}

/// Everything that a footer shows.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    /// By ID.
    pub anchors: BTreeMap<String, Anchor>,
    /// By ID, in the registry's order.
    pub properties: BTreeMap<String, Vec<Property>>,
    /// `measured/verify.json`, where it exists.
    pub verified: Option<Vec<Verified>>,
    /// `measured/bench.json`, where it exists.
    pub bench: Option<Bench>,
}

impl Ledger {
    /// Collects it all from the repository at `root`.
    pub fn load(root: &Path) -> Result<Ledger, String> {
        Ok(Ledger {
            anchors: anchors(root)?,
            properties: properties(),
            verified: measured::read(&root.join("book/measured/verify.json"))?,
            bench: measured::read(&root.join("book/measured/bench.json"))?,
        })
    }

    /// The anchored code of an equation.
    pub fn anchor(&self, id: &str) -> Result<&Anchor, String> {
        self.anchors.get(id).ok_or_else(|| {
            format!("equation `{id}`: no code is anchored (`// ANCHOR: {id}` stands nowhere under crates/)")
        })
    }

    /// The registered properties of an equation, at least one.
    pub fn properties(&self, id: &str) -> Result<&[Property], String> {
        let properties = self.properties.get(id).filter(|p| !p.is_empty());
        properties
            .map(Vec::as_slice)
            .ok_or_else(|| format!("equation `{id}`: no check of that ID is registered"))
    }

    /// The last measurement of a property.
    pub fn verified(&self, id: &str, property: &str) -> Option<&Verified> {
        self.verified.as_ref()?.iter().find(|v| v.id == id && v.property == property)
    }

    /// The timings of an equation; `None` if no benchmark makes sense for it, empty if it has not been measured.
    pub fn timings(&self, id: &str) -> Option<Vec<&Timing>> {
        let timings: Vec<_> =
            self.bench.iter().flat_map(|b| &b.benchmarks).filter(|t| t.group == id).collect();
        (!timings.is_empty() || BENCHMARKED.contains(&id)).then_some(timings)
    }

    /// What an equation says, in a few words.
    pub fn title(&self, id: &str) -> Result<&'static str, String> {
        equations::find(id).map(|e| e.title).ok_or_else(|| format!("unknown equation `{id}`"))
    }
}

fn properties() -> BTreeMap<String, Vec<Property>> {
    let mut properties: BTreeMap<String, Vec<Property>> = BTreeMap::new();
    for check in rederive_tests::registry() {
        let property = Property { name: check.property.to_owned(), tolerance: check.tolerance };
        properties.entry(check.id.to_owned()).or_default().push(property);
    }
    properties
}

fn anchors(root: &Path) -> Result<BTreeMap<String, Anchor>, String> {
    let numbered = |(id, anchor): (String, rederive_tests::anchors::Anchor)| {
        // The code comes without the comments of anchors nested in it; its lines keep the numbers they have in the file.
        let text =
            fs::read_to_string(root.join(&anchor.file)).map_err(|e| format!("{}: {e}", anchor.file))?;
        let numbers = (1..)
            .zip(text.lines())
            .filter(|(n, line)| (anchor.first_line..=anchor.last_line).contains(n) && !is_marker(line))
            .map(|(n, _)| n)
            .collect();
        Ok((id, Anchor { file: anchor.file, numbers, code: anchor.code }))
    };
    scan(root).into_iter().map(numbered).collect()
}

fn is_marker(line: &str) -> bool {
    let comment = line.trim().strip_prefix("//").map(str::trim_start).unwrap_or_default();
    comment.starts_with("ANCHOR:") || comment.starts_with("ANCHOR_END:")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nested_anchors_leave_the_line_numbers_right() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("crates")).unwrap();
        let code = "// ANCHOR: a.one\nlet a;\n// ANCHOR: a.two\nlet b;\n// ANCHOR_END: a.two\nlet c;\n// ANCHOR_END: a.one\n";
        fs::write(root.path().join("crates/f.rs"), code).unwrap();
        let anchors = anchors(root.path()).unwrap();
        let one = &anchors["a.one"];
        assert_eq!((one.numbers.as_slice(), one.code.as_str()), (&[2, 4, 6][..], "let a;\nlet b;\nlet c;"));
        assert_eq!(anchors["a.two"].numbers, [4]);
    }
}
