//! Builds the book: `cargo run -p rederive-book`.
//!
//! ```text
//! rederive-book                          builds the book into book/build
//! rederive-book figures DIR              writes the figures as SVG files
//! rederive-book collect-bench [--date D] collects target/criterion into book/measured/bench.json
//! ```

mod bench;
mod chapter;
mod equation;
mod figures;
mod ledger;
mod links;
mod maths;
mod measured;
mod source;
mod text;

use mdbook_driver::MDBook;
use mdbook_driver::book::BookItem;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

const USAGE: &str = "usage: rederive-book [build | figures DIR | collect-bench [--date YYYY-MM-DD]]";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let result = match arguments.as_slice() {
        [] | ["build"] => build(&root()),
        ["figures", folder] => write_figures(Path::new(folder)),
        ["collect-bench"] => collect_bench(&root(), None),
        ["collect-bench", "--date", date] => collect_bench(&root(), Some((*date).to_owned())),
        ["-h" | "--help"] => {
            println!("{USAGE}");
            Ok(())
        }
        _ => Err(USAGE.to_owned()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("error: {message}");
            ExitCode::FAILURE
        }
    }
}

/// The repository's root.
fn root() -> PathBuf {
    let book = Path::new(env!("CARGO_MANIFEST_DIR"));
    book.parent().unwrap_or(book).to_owned()
}

fn build(root: &Path) -> Result<(), String> {
    let folder = root.join("book");
    let mut mdbook = MDBook::load(&folder).map_err(|e| format!("{e:#}"))?;
    let mut book = chapter::Book::new(root.to_owned(), ledger::Ledger::load(root)?);
    let mut problem = Ok(());
    mdbook.book.for_each_chapter_mut(|chapter| {
        if let (Ok(()), Some(path)) = (&problem, &chapter.path) {
            let number = chapter.number.as_ref().map(|n| n.to_string());
            let number = number.as_deref().map(|n| n.trim_end_matches('.'));
            problem = book.index(&path.to_string_lossy(), number, &chapter.content);
        }
    });
    problem?;
    // All problems at once, so that one run shows what is left to do.
    let mut problems = Vec::new();
    mdbook.book.for_each_chapter_mut(|chapter| {
        if let Some(path) = &chapter.path {
            match book.render(&path.to_string_lossy(), &chapter.content) {
                Ok(content) => chapter.content = content,
                Err(message) => problems.push(message),
            }
        }
    });
    if !problems.is_empty() {
        return Err(problems.join("\nerror: "));
    }
    let chapters = mdbook.iter().filter(|item| matches!(item, BookItem::Chapter(_))).count();
    let out = mdbook.build_dir_for("html");
    mdbook.build().map_err(|e| format!("{e:#}"))?;
    source::write_pages(root, &out, &book.sources)?;
    for picture in &book.pictures {
        let copy = || {
            fs::create_dir_all(out.join("measured"))?;
            fs::copy(folder.join("measured").join(picture), out.join("measured").join(picture))
        };
        copy().map_err(|e| format!("{picture}: {e}"))?;
    }
    let broken = links::problems(&out)?;
    if !broken.is_empty() {
        return Err(broken.join("\nerror: "));
    }
    println!("{chapters} chapters, {} equations: {}", book.equations.len(), out.join("index.html").display());
    Ok(())
}

fn write_figures(folder: &Path) -> Result<(), String> {
    fs::create_dir_all(folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    for name in figures::NAMES {
        let path = folder.join(format!("{name}.svg"));
        fs::write(&path, figures::standalone(name)?).map_err(|e| format!("{}: {e}", path.display()))?;
        println!("{}", path.display());
    }
    Ok(())
}

fn collect_bench(root: &Path, date: Option<String>) -> Result<(), String> {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    let bench = bench::collect(&target.join("criterion"), date)?;
    let path = root.join("book/measured/bench.json");
    let json = serde_json::to_string_pretty(&bench).map_err(|e| e.to_string())?;
    fs::create_dir_all(path.parent().unwrap_or(root)).map_err(|e| e.to_string())?;
    fs::write(&path, json + "\n").map_err(|e| format!("{}: {e}", path.display()))?;
    println!("{} benchmarks: {}", bench.benchmarks.len(), path.display());
    Ok(())
}
