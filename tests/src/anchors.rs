//! Where each equation stands in the source: between `// ANCHOR: id` and `// ANCHOR_END: id`, each on a line of its own.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// The code that computes an equation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Anchor {
    /// Relative to the workspace's root, with forward slashes.
    pub file: String,
    /// The first line of code after the opening comment, counted from 1.
    pub first_line: usize,
    /// The last line of code before the closing comment.
    pub last_line: usize,
    /// The lines between, without the comments of anchors nested in them and without their common indentation.
    pub code: String,
}

/// All anchors as they stand, and what is wrong with the comments.
#[derive(Clone, Debug, Default)]
pub struct Survey {
    /// In the order of the files' names and of the lines; an equation anchored twice is listed twice.
    pub anchors: Vec<(String, Anchor)>,
    /// Anchors that are not closed, closed without having been opened, or empty.
    pub faults: Vec<String>,
}

/// The anchors under `crates/` of the workspace at `root`, by equation; of one that occurs twice, the first.
pub fn scan(root: &Path) -> BTreeMap<String, Anchor> {
    let mut anchors = BTreeMap::new();
    for (id, anchor) in survey(root).anchors {
        anchors.entry(id).or_insert(anchor);
    }
    anchors
}

/// The anchors under `crates/` of the workspace at `root`, with all that is wrong.
pub fn survey(root: &Path) -> Survey {
    let mut survey = Survey::default();
    for path in files(&root.join("crates"), "rs") {
        let file = relative(root, &path);
        match fs::read_to_string(&path) {
            Ok(text) => survey.read(&file, &text),
            Err(error) => survey.faults.push(format!("{file}: {error}")),
        }
    }
    survey
}

impl Survey {
    fn read(&mut self, file: &str, text: &str) {
        let lines: Vec<&str> = text.lines().collect();
        let mut open: Vec<(&str, usize)> = Vec::new();
        for (i, line) in lines.iter().enumerate() {
            match marker(line) {
                Some(Marker::Start(id)) => open.push((id, i)),
                Some(Marker::End(id)) => match open.iter().rposition(|&(other, _)| other == id) {
                    Some(at) => {
                        let (_, start) = open.remove(at);
                        match cut(&lines, start + 1, i) {
                            Some((first_line, last_line, code)) => self.anchors.push((
                                id.to_owned(),
                                Anchor { file: file.to_owned(), first_line, last_line, code },
                            )),
                            None => {
                                self.faults.push(format!("{file}:{}: the anchor of {id} is empty", start + 1))
                            }
                        }
                    }
                    None => self.faults.push(format!("{file}:{}: {id} is closed but not open", i + 1)),
                },
                None => {}
            }
        }
        for (id, start) in open {
            self.faults.push(format!("{file}:{}: the anchor of {id} is never closed", start + 1));
        }
    }
}

enum Marker<'a> {
    Start(&'a str),
    End(&'a str),
}

fn marker(line: &str) -> Option<Marker<'_>> {
    let comment = line.trim().strip_prefix("//")?.trim_start();
    let start = comment.strip_prefix("ANCHOR:").map(|id| Marker::Start(id.trim()));
    start.or_else(|| comment.strip_prefix("ANCHOR_END:").map(|id| Marker::End(id.trim())))
}

/// Lines `from..to` without anchor comments, blank edges and common indentation, and the numbers of the first and last.
fn cut(lines: &[&str], from: usize, to: usize) -> Option<(usize, usize, String)> {
    let code = |i: &usize| marker(lines[*i]).is_none();
    let shown = |i: &usize| code(i) && !lines[*i].trim().is_empty();
    let first = (from..to).find(shown)?;
    let last = (from..to).rfind(shown)?;
    let kept: Vec<&str> = (first..=last).filter(code).map(|i| lines[i]).collect();
    let indent = |line: &&str| line.len() - line.trim_start().len();
    let common = kept.iter().filter(|line| !line.trim().is_empty()).map(indent).min().unwrap_or(0);
    let code: Vec<&str> = kept.iter().map(|line| line.get(common..).unwrap_or("").trim_end()).collect();
    Some((first + 1, last + 1, code.join("\n")))
}

/// All files with that extension under `folder`, sorted, without build outputs and hidden folders.
pub(crate) fn files(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut entries: Vec<PathBuf> =
        fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    entries.sort();
    for path in entries {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if path.is_dir() {
            if name != "target" && name != "build" && !name.starts_with('.') {
                found.extend(files(&path, extension));
            }
        } else if path.extension().is_some_and(|e| e == extension) {
            found.push(path);
        }
    }
    found
}

/// `path` relative to `root`, with forward slashes.
pub(crate) fn relative(root: &Path, path: &Path) -> String {
    let path = path.strip_prefix(root).unwrap_or(path);
    path.components().map(|part| part.as_os_str().to_string_lossy()).collect::<Vec<_>>().join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Survey {
        let mut survey = Survey::default();
        survey.read("a.rs", text);
        survey
    }

    #[test]
    fn nested_and_overlapping_anchors_hold_their_code() {
        let survey = read(
            "// ANCHOR: a.one\nfn f() {\n    // ANCHOR: a.two\n    x();\n\n        y();\n    // ANCHOR_END: a.one\n    z();\n    // ANCHOR_END: a.two\n}\n",
        );
        assert!(survey.faults.is_empty(), "{:?}", survey.faults);
        let (id, one) = &survey.anchors[0];
        assert_eq!((id.as_str(), one.first_line, one.last_line), ("a.one", 2, 6));
        assert_eq!(one.code, "fn f() {\n    x();\n\n        y();");
        let (id, two) = &survey.anchors[1];
        assert_eq!((id.as_str(), two.first_line, two.last_line), ("a.two", 4, 8));
        assert_eq!(two.code, "x();\n\n    y();\nz();");
    }

    #[test]
    fn broken_pairs_are_reported() {
        let survey =
            read("// ANCHOR: a.one\n// ANCHOR_END: a.two\n// ANCHOR: a.three\n// ANCHOR_END: a.three\n");
        assert!(survey.anchors.is_empty());
        let faults = survey.faults.join("\n");
        assert!(faults.contains("a.rs:2: a.two is closed but not open"), "{faults}");
        assert!(faults.contains("a.rs:3: the anchor of a.three is empty"), "{faults}");
        assert!(faults.contains("a.rs:1: the anchor of a.one is never closed"), "{faults}");
    }
}
