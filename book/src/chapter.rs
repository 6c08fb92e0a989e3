//! Renders a chapter: numbers its equations, resolves references, and fills in figures, sources and measurements.
//!
//! Beside Markdown and formulas between dollar signs, a chapter may hold:
//!
//! | written | becomes |
//! |---|---|
//! | a fence `eq ID` around TeX | the numbered equation with its footer; a blank line starts another formula |
//! | a fence `figure NAME` around a caption | the figure that `figures.rs` draws |
//! | `{{#ref ID}}` | the equation's number as a link, in this or another chapter |
//! | `{{#src FILE \| TEXT \| LABEL}}` | a link to the first line of a source file that holds the text |
//! | `{{#field NAME}}` | a link to a field of PPO's configuration |
//! | `{{#doc-table FILE}}` | the table in a file's documentation comments |
//! | `{{#metrics}}` | the columns of PPO's log |
//! | `{{#measured FILE}}`, `{{#measured FILE.svg \| TEXT}}` | a file of `measured/`, or a visible gap |
//! | `{{#verification}}`, `{{#benchmarks}}` | all of `verify.json` and `bench.json` |
//! | `{{#benchmarks PREFIX ...}}` | the groups of `bench.json` whose names begin so |
//!
//! Whatever can't be resolved stops the build with the chapter, the line and the ID.

use crate::ledger::Ledger;
use crate::maths::{self, escape};
use crate::text::{self, Renderer};
use crate::{equation, figures, measured, source};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;

/// Where an equation stands in the book.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The chapter's file: `ppo.md`.
    pub path: String,
    /// Chapter number and position in it: `2.4`.
    pub number: String,
}

/// What all chapters share.
pub struct Book {
    /// The repository.
    pub root: PathBuf,
    /// What the footers show.
    pub ledger: Ledger,
    /// Every equation of the book.
    pub equations: BTreeMap<String, Place>,
    /// The source files that chapters link to.
    pub sources: BTreeSet<String>,
    /// The measured pictures that chapters show.
    pub pictures: BTreeSet<String>,
}

impl Book {
    /// A book without chapters.
    pub fn new(root: PathBuf, ledger: Ledger) -> Self {
        Book { root, ledger, equations: BTreeMap::new(), sources: BTreeSet::new(), pictures: BTreeSet::new() }
    }

    /// Numbers the equations of a chapter. Every chapter goes through here before any is rendered.
    pub fn index(&mut self, path: &str, number: Option<&str>, markdown: &str) -> Result<(), String> {
        let mut ids = Ids(Vec::new());
        text::rewrite(markdown, &mut ids).map_err(|p| format!("{path}, line {}: {}", p.line, p.message))?;
        for (i, id) in ids.0.into_iter().enumerate() {
            let number = match number {
                Some(chapter) => format!("{chapter}.{}", i + 1),
                None => format!("{}", i + 1),
            };
            let place = Place { path: path.to_owned(), number };
            if let Some(other) = self.equations.insert(id.clone(), place) {
                return Err(format!("{path}: equation `{id}` stands in {} already", other.path));
            }
        }
        Ok(())
    }

    /// Renders a chapter that has been indexed.
    pub fn render(&mut self, path: &str, markdown: &str) -> Result<String, String> {
        let mut chapter = Chapter { book: self };
        text::rewrite(markdown, &mut chapter).map_err(|p| format!("{path}, line {}: {}", p.line, p.message))
    }
}

fn equation_id(info: &str) -> Option<Result<&str, String>> {
    let mut words = info.split_whitespace();
    (words.next() == Some("eq")).then(|| match (words.next(), words.next()) {
        (Some(id), None) => Ok(id),
        _ => Err("an `eq` block takes exactly one ID".to_owned()),
    })
}

/// Collects the equations of a chapter, in their order.
struct Ids(Vec<String>);

impl Renderer for Ids {
    fn inline_maths(&mut self, _tex: &str) -> Result<String, String> {
        Ok(String::new())
    }
    fn display_maths(&mut self, _tex: &str) -> Result<String, String> {
        Ok(String::new())
    }
    fn fence(&mut self, info: &str, _body: &str) -> Result<Option<String>, String> {
        if let Some(id) = equation_id(info) {
            self.0.push(id?.to_owned());
        }
        Ok(None)
    }
    fn directive(&mut self, _name: &str, _argument: &str) -> Result<String, String> {
        Ok(String::new())
    }
}

struct Chapter<'a> {
    book: &'a mut Book,
}

impl Renderer for Chapter<'_> {
    fn inline_maths(&mut self, tex: &str) -> Result<String, String> {
        Ok(maths::shield(&maths::render(tex, false)?))
    }

    fn display_maths(&mut self, tex: &str) -> Result<String, String> {
        Ok(maths::shield(&maths::render(tex, true)?))
    }

    fn fence(&mut self, info: &str, body: &str) -> Result<Option<String>, String> {
        if let Some(id) = equation_id(info) {
            let id = id?;
            let place =
                self.book.equations.get(id).ok_or_else(|| format!("equation `{id}` was not indexed"))?;
            let html = equation::block(&self.book.ledger, id, &place.number, body)?;
            self.book.sources.insert(self.book.ledger.anchor(id)?.file.clone());
            return Ok(Some(html));
        }
        match info.split_once(char::is_whitespace) {
            Some(("figure", name)) => self.figure(name.trim(), body).map(Some),
            _ => Ok(None),
        }
    }

    fn directive(&mut self, name: &str, argument: &str) -> Result<String, String> {
        match name {
            "ref" => self.reference(argument),
            "src" => self.source(argument),
            "field" => {
                let file = "crates/ppo/src/config.rs";
                self.source(&format!("{file} | pub {argument}: | `{argument}`"))
            }
            "measured" => self.measured(argument),
            "doc-table" => self.doc_table(argument),
            "metrics" => Ok(metrics()),
            "verification" => Ok(self.verification()),
            "benchmarks" => Ok(self.benchmarks(argument.trim())),
            _ => Err(format!("unknown directive `{{{{#{name}}}}}`")),
        }
    }
}

impl Chapter<'_> {
    fn reference(&self, id: &str) -> Result<String, String> {
        let place =
            self.book.equations.get(id).ok_or_else(|| format!("no chapter holds an equation `{id}`"))?;
        Ok(format!("[({})]({}#{id} \"{id}\")", place.number, place.path))
    }

    /// `FILE | TEXT | LABEL`: a link to the first line of the file that holds the text.
    fn source(&mut self, argument: &str) -> Result<String, String> {
        let mut parts = argument.split('|').map(str::trim);
        let (Some(file), Some(needle), label, None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(format!("`{argument}`: expected FILE | TEXT | LABEL"));
        };
        let code = fs::read_to_string(self.book.root.join(file)).map_err(|e| format!("{file}: {e}"))?;
        let line = code
            .lines()
            .position(|l| l.contains(needle))
            .ok_or_else(|| format!("{file} has no `{needle}`"))?;
        self.book.sources.insert(file.to_owned());
        let default = format!("`{file}`");
        Ok(format!("[{}]({})", label.unwrap_or(&default), source::page(file, line + 1)))
    }

    /// The first table in a file's documentation comments; names of fields link to them.
    fn doc_table(&mut self, file: &str) -> Result<String, String> {
        let code = fs::read_to_string(self.book.root.join(file)).map_err(|e| format!("{file}: {e}"))?;
        let rows: Vec<&str> = code
            .lines()
            .map(|l| l.trim_start())
            .skip_while(|l| !l.starts_with("/// |"))
            .map_while(|l| l.strip_prefix("/// "))
            .take_while(|l| l.starts_with('|'))
            .collect();
        if rows.len() < 3 {
            return Err(format!("{file}: no table in its documentation"));
        }
        let mut out = rows[..2].join("\n");
        for row in &rows[2..] {
            let name = row.split('`').nth(1).ok_or_else(|| format!("{file}: a row without a name: {row}"))?;
            let link = self.source(&format!("{file} | pub {name}: | `{name}`"))?;
            out.push('\n');
            out.push_str(&row.replacen(&format!("`{name}`"), &link, 1));
        }
        Ok(out)
    }

    fn figure(&mut self, name: &str, caption: &str) -> Result<String, String> {
        let svg = figures::draw(name)?;
        let mut text = Caption;
        let caption = text::rewrite(caption, &mut text).map_err(|p| p.message)?;
        Ok(format!(
            r#"<figure id="figure-{name}">{svg}<figcaption>{}</figcaption></figure>"#,
            code_spans(&caption.split_whitespace().collect::<Vec<_>>().join(" "))
        ))
    }

    /// `FILE` or `FILE | TEXT`: a Markdown file of results, a picture with its alternative text, or a visible gap.
    fn measured(&mut self, argument: &str) -> Result<String, String> {
        let (file, text) = argument.split_once('|').map_or((argument, ""), |(f, t)| (f.trim(), t.trim()));
        let path = self.book.root.join("book/measured").join(file);
        if !path.exists() {
            return Ok(unmeasured(&format!("book/measured/{file}")));
        }
        if file.ends_with(".svg") {
            self.book.pictures.insert(file.to_owned());
            return Ok(format!("![{text}](measured/{file})"));
        }
        let markdown = fs::read_to_string(&path).map_err(|e| format!("book/measured/{file}: {e}"))?;
        let rendered =
            text::rewrite(&markdown, self).map_err(|p| format!("{file}, line {}: {}", p.line, p.message))?;
        Ok(rendered.trim_end().to_owned())
    }

    /// Every measured property in one table.
    fn verification(&self) -> String {
        let Some(rows) = self.book.ledger.verified.as_ref() else {
            return unmeasured("book/measured/verify.json");
        };
        let failed = rows.iter().filter(|v| !v.passed).count();
        let cases: u64 = rows.iter().map(|v| v.cases).sum();
        let equations: BTreeSet<&str> = rows.iter().map(|v| v.id.as_str()).collect();
        let mut out = format!(
            "{} properties of {} equations, {cases} cases in all: {}.\n\n",
            rows.len(),
            equations.len(),
            if failed == 0 { "all hold".to_owned() } else { format!("**{failed} fail**") }
        );
        out.push_str("| equation | property | cases | largest error | allowed | verdict |\n|---|---|--:|--:|--:|---|\n");
        for v in rows {
            let id = match self.book.equations.get(&v.id) {
                Some(place) => format!("[`{}`]({}#{})", v.id, place.path, v.id),
                None => format!("`{}`", v.id),
            };
            out.push_str(&format!(
                "| {id} | {} | {} | {} | {} | {} |\n",
                v.property,
                v.cases,
                measured::error(v.max_error.unwrap_or(f64::NAN)),
                measured::error(v.tolerance),
                if v.passed { "holds" } else { "**fails**" }
            ));
        }
        out
    }

    /// Every timing in one table.
    fn benchmarks(&self, prefixes: &str) -> String {
        let Some(bench) = self.book.ledger.bench.as_ref() else {
            return unmeasured("book/measured/bench.json");
        };
        let wanted = |group: &str| {
            prefixes.is_empty() || prefixes.split_whitespace().any(|prefix| group.starts_with(prefix))
        };
        let of_prefix = || bench.benchmarks.iter().filter(|t| wanted(&t.group));
        if of_prefix().next().is_none() {
            return unmeasured(&format!("`{prefixes}` in book/measured/bench.json"));
        }
        let mut out = format!("{}; {}; {}.\n\n", bench.machine, bench.rustc, bench.date);
        out.push_str("| group | case | median time | throughput |\n|---|---|--:|--:|\n");
        for t in of_prefix() {
            let group = match self.book.equations.get(&t.group) {
                Some(place) => format!("[`{}`]({}#{})", t.group, place.path, t.group),
                None => format!("`{}`", t.group),
            };
            out.push_str(&format!(
                "| {group} | {} | {} | {} |\n",
                t.name,
                measured::duration(t.median_ns),
                measured::throughput(t).unwrap_or_default()
            ));
        }
        out
    }
}

/// PPO's log, column by column.
fn metrics() -> String {
    let row = |m: &rederive_train::Metric| format!("\n| `{}` | {} |", m.name, m.meaning);
    let rows: String = rederive_ppo::METRICS.iter().map(row).collect();
    format!("| column | meaning |\n|---|---|{rows}")
}

fn unmeasured(file: &str) -> String {
    format!(r#"<span class="unmeasured">Not measured yet: `{file}` does not exist.</span>"#)
}

/// Backticks to HTML, where no Markdown is read.
fn code_spans(text: &str) -> String {
    let pieces = text.split('`').enumerate();
    pieces
        .map(
            |(i, t)| {
                if i % 2 == 1 { format!("<code class=\"nohighlight\">{t}</code>") } else { t.to_owned() }
            },
        )
        .collect()
}

/// The text of a figure's caption: formulas and code spans, no blocks.
struct Caption;

impl Renderer for Caption {
    fn inline_maths(&mut self, tex: &str) -> Result<String, String> {
        maths::render(tex, false)
    }
    fn display_maths(&mut self, tex: &str) -> Result<String, String> {
        maths::render(tex, true)
    }
    fn fence(&mut self, _info: &str, _body: &str) -> Result<Option<String>, String> {
        Err("a caption holds no fenced block".into())
    }
    fn directive(&mut self, name: &str, _argument: &str) -> Result<String, String> {
        Err(format!("a caption holds no directive `{}`", escape(name)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::{Anchor, Property};

    fn book() -> Book {
        let mut ledger = Ledger::default();
        for id in ["gae.kstep", "gae.bias"] {
            let anchor =
                Anchor { file: "book/Cargo.toml".into(), numbers: vec![1], code: "fn f() {}".into() };
            ledger.anchors.insert(id.into(), anchor);
            ledger.properties.insert(id.into(), vec![Property { name: "p".into(), tolerance: 0.0 }]);
        }
        Book::new(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(".."), ledger)
    }

    #[test]
    fn equations_are_numbered_and_can_be_referred_to_from_anywhere() {
        let mut book = book();
        book.index("one.md", Some("1"), "```eq gae.kstep\nx\n```\n").unwrap();
        book.index("two.md", Some("2"), "```eq gae.bias\ny\n```\n").unwrap();
        assert!(book.render("one.md", "```eq gae.kstep\nx\n```\n").unwrap().contains("(1.1)"));
        assert_eq!(
            book.render("one.md", "see {{#ref gae.bias}}").unwrap(),
            "see [(2.1)](two.md#gae.bias \"gae.bias\")\n"
        );
        assert_eq!(book.sources.len(), 1);
    }

    #[test]
    fn problems_name_the_chapter_the_line_and_the_id() {
        let mut book = book();
        book.index("one.md", Some("1"), "```eq gae.kstep\nx\n```\n\n```eq no.where\ny\n```\n").unwrap();
        let message =
            book.render("one.md", "```eq gae.kstep\nx\n```\n\n```eq no.where\ny\n```\n").unwrap_err();
        assert!(message.starts_with("one.md, line 5: ") && message.contains("no.where"), "{message}");
        let message = book.render("one.md", "\n{{#ref x.y}}").unwrap_err();
        assert!(message.starts_with("one.md, line 2: ") && message.contains("x.y"), "{message}");
        let message = book.index("two.md", Some("2"), "```eq gae.kstep\nx\n```\n").unwrap_err();
        assert!(
            message.contains("two.md") && message.contains("one.md") && message.contains("gae.kstep"),
            "{message}"
        );
        assert!(book.render("one.md", "{{#nonsense}}").unwrap_err().contains("nonsense"));
        book.ledger.anchors.remove("gae.kstep");
        assert!(
            book.render("one.md", "```eq gae.kstep\nx\n```\n").unwrap_err().contains("ANCHOR: gae.kstep")
        );
    }

    #[test]
    fn sources_are_linked_by_their_text() {
        let mut book = book();
        let link = book.render("one.md", "{{#src book/Cargo.toml | [dependencies] | here}}").unwrap();
        assert!(link.starts_with("[here](source/book/Cargo.toml.html#L"), "{link}");
        assert!(book.render("one.md", "{{#src book/Cargo.toml | no such text}}").is_err());
    }

    #[test]
    fn tables_are_read_from_the_source() {
        let mut book = book();
        let table = book.render("p.md", "{{#doc-table crates/ppo/src/config.rs}}").unwrap();
        assert!(
            table.starts_with("| Name |")
                && table.contains("[`gae_lambda`](source/crates/ppo/src/config.rs.html#L")
        );
        assert!(book.render("p.md", "{{#metrics}}").unwrap().contains("| `approx_kl` |"));
        assert!(book.render("p.md", "{{#doc-table book/Cargo.toml}}").is_err());
    }

    #[test]
    fn missing_results_are_visible() {
        let mut book = book();
        assert!(book.render("r.md", "{{#measured no-such-file.md}}").unwrap().contains("Not measured yet"));
        assert!(
            book.render("r.md", "{{#verification}}\n\n{{#benchmarks}}")
                .unwrap()
                .matches("Not measured yet")
                .count()
                == 2
        );
    }
}
