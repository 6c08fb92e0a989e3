//! Whether book, source, checks and benchmarks speak of the same equations.

use crate::Check;
use crate::anchors::{self, files, relative};
use crate::equations;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// Where IDs occur. Each list holds an ID and its place, once per occurrence.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// Fenced blocks ` ```eq id ` of the book.
    pub book: Vec<(String, String)>,
    /// Anchors in the source.
    pub anchors: Vec<(String, String)>,
    /// Groups of the benchmarks.
    pub benches: Vec<(String, String)>,
    /// Registered checks: ID and property.
    pub checks: Vec<(String, String)>,
    /// What could not be read.
    pub faults: Vec<String>,
}

/// Collects the facts of the workspace at `root` and of the given checks.
pub fn facts(root: &Path, checks: &[Check]) -> Facts {
    let survey = anchors::survey(root);
    let mut facts = Facts {
        anchors: survey
            .anchors
            .into_iter()
            .map(|(id, a)| (id, format!("{}:{}", a.file, a.first_line)))
            .collect(),
        checks: checks.iter().map(|check| (check.id.to_owned(), check.property.to_owned())).collect(),
        faults: survey.faults,
        ..Facts::default()
    };
    for path in files(&root.join("book"), "md") {
        let file = relative(root, &path);
        match fs::read_to_string(&path) {
            Ok(text) => {
                facts.book.extend(equation_blocks(&text).map(|(id, line)| (id, format!("{file}:{line}"))));
            }
            Err(error) => facts.faults.push(format!("{file}: {error}")),
        }
    }
    for path in files(&root.join("benches/benches"), "rs") {
        let file = relative(root, &path);
        match fs::read_to_string(&path) {
            Ok(text) => {
                facts
                    .benches
                    .extend(benchmark_groups(&text).map(|(id, line)| (id, format!("{file}:{line}"))));
            }
            Err(error) => facts.faults.push(format!("{file}: {error}")),
        }
    }
    facts
}

/// All that is wrong, one sentence each; empty if the facts agree.
///
/// An equation of the book needs an anchor, a check and, where [`equations::BENCHMARKED`] names it, a benchmark. Book, anchors
/// and checks may only name known equations (a benchmark may measure something else). An equation stands in the book once and
/// is anchored once, and the name of a check is unique.
pub fn defects(facts: &Facts) -> Vec<String> {
    let mut defects = facts.faults.clone();
    let has = |list: &[(String, String)], id: &str| list.iter().any(|(other, _)| other == id);
    for (id, place) in &facts.book {
        if equations::find(id).is_none() {
            defects.push(format!("the book shows {id} ({place}), which is no known equation"));
            continue;
        }
        if !has(&facts.anchors, id) {
            defects.push(format!("the book shows {id} ({place}), but no code is anchored under that name"));
        }
        if !has(&facts.checks, id) {
            defects.push(format!("the book shows {id} ({place}), but no check is registered for it"));
        }
        if equations::BENCHMARKED.contains(&id.as_str()) && !has(&facts.benches, id) {
            defects.push(format!("the book shows {id} ({place}), but no benchmark group has that name"));
        }
    }
    for (id, place) in &facts.anchors {
        if equations::find(id).is_none() {
            defects.push(format!("{place} anchors {id}, which is no known equation"));
        }
    }
    for (id, property) in &facts.checks {
        if equations::find(id).is_none() {
            defects.push(format!("the check {id}::{property} is about no known equation"));
        }
    }
    defects.extend(
        twice(&facts.book).map(|(id, places)| format!("the book shows {id} more than once: {places}")),
    );
    defects.extend(
        twice(&facts.anchors).map(|(id, places)| format!("{id} is anchored more than once: {places}")),
    );
    let names: Vec<(String, String)> =
        facts.checks.iter().map(|(id, property)| (format!("{id}::{property}"), String::new())).collect();
    defects.extend(twice(&names).map(|(name, _)| format!("more than one check is called {name}")));
    defects
}

fn twice(list: &[(String, String)]) -> impl Iterator<Item = (String, String)> {
    let mut places: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (id, place) in list {
        places.entry(id).or_default().push(place);
    }
    let repeated = places.into_iter().filter(|(_, places)| places.len() > 1);
    repeated.map(|(id, places)| (id.to_owned(), places.join(", "))).collect::<Vec<_>>().into_iter()
}

/// The IDs of blocks fenced as `eq id`, with their lines. A block that is shown inside another one does not count.
fn equation_blocks(text: &str) -> impl Iterator<Item = (String, usize)> + '_ {
    let mut fence: Option<(char, usize)> = None;
    text.lines().enumerate().filter_map(move |(i, line)| {
        let line = line.trim_start();
        let mark = line.chars().next().filter(|c| matches!(c, '`' | '~'))?;
        let length = line.chars().take_while(|&c| c == mark).count();
        let info = line[length..].trim();
        match fence {
            Some((open, width)) => {
                if open == mark && length >= width && info.is_empty() {
                    fence = None;
                }
                None
            }
            None if length >= 3 => {
                fence = Some((mark, length));
                let mut words = info.split_whitespace();
                (words.next() == Some("eq")).then(|| (words.next().unwrap_or_default().to_owned(), i + 1))
            }
            None => None,
        }
    })
}

/// String literals that look like an equation's ID, with their lines: the names of benchmark groups, however they are passed.
fn benchmark_groups(text: &str) -> impl Iterator<Item = (String, usize)> + '_ {
    text.lines().enumerate().flat_map(|(i, line)| {
        let code = line.split("//").next().unwrap_or_default();
        let literals = code.split('"').skip(1).step_by(2);
        literals.filter(|s| is_id(s)).map(move |s| (s.to_owned(), i + 1)).collect::<Vec<_>>()
    })
}

fn is_id(s: &str) -> bool {
    let part = |p: &str| {
        p.starts_with(|c: char| c.is_ascii_lowercase())
            && p.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
    };
    s.split_once('.').is_some_and(|(family, name)| part(family) && part(name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    fn pairs(list: &[(&str, &str)]) -> Vec<(String, String)> {
        list.iter().map(|&(a, b)| (a.to_owned(), b.to_owned())).collect()
    }

    fn sound() -> Facts {
        Facts {
            book: pairs(&[("gae.recursion", "b:1"), ("gae.limits", "b:9")]),
            anchors: pairs(&[("gae.recursion", "a:1"), ("gae.limits", "a:2"), ("ppo.ratio", "a:3")]),
            benches: pairs(&[("gae.recursion", "m:1"), ("env.step", "m:2")]),
            checks: pairs(&[("gae.recursion", "definition"), ("gae.limits", "zero"), ("gae.limits", "one")]),
            faults: Vec::new(),
        }
    }

    fn only_defect(change: impl FnOnce(&mut Facts)) -> String {
        let mut facts = sound();
        change(&mut facts);
        let mut found = defects(&facts);
        assert_eq!(found.len(), 1, "{found:?}");
        found.remove(0)
    }

    #[test]
    fn sound_facts_have_no_defect() {
        assert_eq!(defects(&sound()), Vec::<String>::new());
    }

    #[test]
    fn every_defect_is_reported() {
        let text = only_defect(|f| drop(f.anchors.remove(1)));
        assert!(text.contains("gae.limits (b:9)") && text.contains("anchored"), "{text}");
        let text = only_defect(|f| drop(f.checks.remove(0)));
        assert!(text.contains("gae.recursion (b:1)") && text.contains("no check"), "{text}");
        let text = only_defect(|f| drop(f.benches.remove(0)));
        assert!(text.contains("gae.recursion (b:1)") && text.contains("benchmark"), "{text}");
        let text = only_defect(|f| f.book.extend(pairs(&[("gae.nonsense", "b:7")])));
        assert!(text.contains("gae.nonsense (b:7), which is no known equation"), "{text}");
        let text = only_defect(|f| f.anchors.extend(pairs(&[("gae.nonsense", "a:7")])));
        assert!(text.contains("a:7 anchors gae.nonsense"), "{text}");
        let text = only_defect(|f| f.checks.extend(pairs(&[("gae.nonsense", "p")])));
        assert!(text.contains("gae.nonsense::p"), "{text}");
        let text = only_defect(|f| f.book.extend(pairs(&[("gae.limits", "b:8")])));
        assert!(text.contains("shows gae.limits more than once: b:9, b:8"), "{text}");
        let text = only_defect(|f| f.anchors.extend(pairs(&[("gae.limits", "a:8")])));
        assert!(text.contains("gae.limits is anchored more than once: a:2, a:8"), "{text}");
        let text = only_defect(|f| f.checks.extend(pairs(&[("gae.limits", "one")])));
        assert!(text.contains("more than one check is called gae.limits::one"), "{text}");
        let text = only_defect(|f| f.faults.push("a:1: never closed".to_owned()));
        assert_eq!(text, "a:1: never closed");
    }

    #[test]
    fn facts_are_read_from_book_source_and_benchmarks() {
        let root = Folder::new("consistency");
        root.write(
            "book/text/a.md",
            "text\n```eq gae.recursion\nx\n```\n````md\n```eq gae.limits\n```\n````\n",
        );
        root.write("book/build/a.md", "```eq gae.kstep\n```\n");
        root.write(
            "crates/x/src/a.rs",
            "// ANCHOR: gae.recursion\nlet a = 1;\n// ANCHOR_END: gae.recursion\n",
        );
        root.write("crates/x/target/a.rs", "// ANCHOR: gae.kstep\nlet a = 1;\n// ANCHOR_END: gae.kstep\n");
        root.write(
            "benches/benches/m.rs",
            "let g = c.benchmark_group(\"gae.recursion\");\n// \"gae.kstep\"\nf(\"a b\", \"x.y\");\n",
        );
        let facts = facts(&root.0, &[]);
        assert_eq!(facts.book, pairs(&[("gae.recursion", "book/text/a.md:2")]));
        assert_eq!(facts.anchors, pairs(&[("gae.recursion", "crates/x/src/a.rs:2")]));
        assert_eq!(
            facts.benches,
            pairs(&[("gae.recursion", "benches/benches/m.rs:1"), ("x.y", "benches/benches/m.rs:3")])
        );
        assert!(facts.faults.is_empty(), "{:?}", facts.faults);
        let scan = anchors::scan(&root.0);
        assert_eq!(scan["gae.recursion"].code, "let a = 1;");
    }

    /// A folder of this test's own, removed at the end.
    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("rederive-{name}-{}", std::process::id()));
            fs::create_dir_all(&path).unwrap();
            Folder(path)
        }

        fn write(&self, file: &str, text: &str) {
            let path = self.0.join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            fs::remove_dir_all(&self.0).ok();
        }
    }
}
