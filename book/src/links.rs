//! Checks the links of the finished book: each must lead to a file of it, and to an element where it names one.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Component, Path, PathBuf};

/// What is wrong with the pages under `build`, one line each.
pub fn problems(build: &Path) -> Result<Vec<String>, String> {
    let mut pages = BTreeMap::new();
    read_pages(build, build, &mut pages)?;
    let ids: BTreeMap<&Path, BTreeSet<&str>> =
        pages.iter().map(|(path, html)| (path.as_path(), values(html, "id").collect())).collect();
    let mut problems = Vec::new();
    for (path, html) in &pages {
        for link in values(html, "href").chain(values(html, "src")) {
            if link.contains("://") || link.starts_with("data:") || link.starts_with("mailto:") {
                continue;
            }
            let (file, id) = link.split_once('#').unwrap_or((link, ""));
            let target = if file.is_empty() { path.clone() } else { resolve(path, file) };
            let known = |ids: &BTreeSet<&str>| id.is_empty() || ids.contains(id);
            let holds = match ids.get(target.as_path()) {
                Some(ids) => known(ids),
                None => id.is_empty() && build.join(&target).is_file(),
            };
            if !holds {
                problems.push(format!("{} links to {link}, which does not exist", path.display()));
            }
        }
    }
    problems.sort();
    problems.dedup();
    Ok(problems)
}

fn read_pages(root: &Path, folder: &Path, pages: &mut BTreeMap<PathBuf, String>) -> Result<(), String> {
    let entries = fs::read_dir(folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    for entry in entries {
        let path = entry.map_err(|e| e.to_string())?.path();
        if path.is_dir() {
            read_pages(root, &path, pages)?;
        } else if path.extension().is_some_and(|e| e == "html") {
            let html = fs::read_to_string(&path).map_err(|e| format!("{}: {e}", path.display()))?;
            pages.insert(path.strip_prefix(root).unwrap_or(&path).to_owned(), html);
        }
    }
    Ok(())
}

/// The values of an attribute, in the form in which the pages write it.
fn values<'a>(html: &'a str, attribute: &'static str) -> impl Iterator<Item = &'a str> {
    let start = format!(" {attribute}=\"");
    let length = start.len();
    let places: Vec<usize> = html.match_indices(&start).map(|(i, _)| i + length).collect();
    places.into_iter().filter_map(move |i| Some(&html[i..i + html[i..].find('"')?]))
}

/// `link` as it is meant on the page at `from`, both relative to the root.
fn resolve(from: &Path, link: &str) -> PathBuf {
    let mut out = from.parent().unwrap_or(Path::new("")).to_owned();
    for part in Path::new(link).components() {
        match part {
            Component::ParentDir => {
                out.pop();
            }
            Component::Normal(name) => out.push(name),
            _ => {}
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn broken_links_are_found_and_sound_ones_are_not() {
        let build = tempfile::tempdir().unwrap();
        let page = r##"<p id="here"><a href="#here">a</a> <a href="sub/b.html#L2">b</a> <img src="c.svg"> <a href="https://x.y">d</a></p>"##;
        fs::create_dir(build.path().join("sub")).unwrap();
        fs::write(build.path().join("a.html"), page).unwrap();
        fs::write(build.path().join("sub/b.html"), r#"<i id="L2"></i><a href="../a.html#here">up</a>"#)
            .unwrap();
        fs::write(build.path().join("c.svg"), "").unwrap();
        assert_eq!(problems(build.path()).unwrap(), Vec::<String>::new());
        fs::write(
            build.path().join("d.html"),
            r##"<a href="#no"></a><a href="e.html"></a><a href="a.html#no"></a>"##,
        )
        .unwrap();
        let found = problems(build.path()).unwrap();
        assert_eq!(found.len(), 3, "{found:?}");
        assert!(found.iter().all(|p| p.starts_with("d.html links to ")));
    }
}
