//! Source code as HTML: highlighted at build time, with line numbers, in the footers and on pages of its own.

use crate::maths::escape;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

const KEYWORDS: &[&str] = &[
    "as", "async", "await", "break", "const", "continue", "crate", "dyn", "else", "enum", "extern", "false",
    "fn", "for", "if", "impl", "in", "let", "loop", "match", "mod", "move", "mut", "pub", "ref", "return",
    "self", "Self", "static", "struct", "super", "trait", "true", "type", "unsafe", "use", "where", "while",
];

/// Lines of Rust as HTML, one element per line, with their `numbers`. Where `ids` is set, line 12 can be linked to as `#L12`.
pub fn lines(code: &str, numbers: impl IntoIterator<Item = usize>, ids: bool) -> Vec<String> {
    let tokens = tokens(code);
    let mut current = String::new();
    let mut done: Vec<String> = Vec::new();
    for (kind, text) in tokens {
        for (i, piece) in text.split('\n').enumerate() {
            if i > 0 {
                done.push(std::mem::take(&mut current));
            }
            if !piece.is_empty() {
                let piece = escape(piece);
                match kind {
                    Kind::Plain => current.push_str(&piece),
                    _ => current.push_str(&format!(r#"<span class="{}">{piece}</span>"#, kind.class())),
                }
            }
        }
    }
    done.push(current);
    done.iter()
        .zip(numbers)
        .map(|(html, n)| {
            let id = if ids { format!(r#" id="L{n}""#) } else { String::new() };
            format!(r#"<span class="line"{id} data-n="{n}">{html}</span>"#)
        })
        .collect()
}

/// A listing in one line of HTML.
pub fn listing(code: &str, numbers: &[usize]) -> String {
    let lines = lines(code, numbers.iter().copied(), false).join("&#10;");
    format!(r#"<pre class="source"><code class="nohighlight">{lines}</code></pre>"#)
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Plain,
    Comment,
    Keyword,
    Literal,
    Type,
    Attribute,
}

impl Kind {
    fn class(self) -> &'static str {
        match self {
            Kind::Plain => "",
            Kind::Comment => "tok-comment",
            Kind::Keyword => "tok-keyword",
            Kind::Literal => "tok-literal",
            Kind::Type => "tok-type",
            Kind::Attribute => "tok-attribute",
        }
    }
}

/// Cuts Rust into coloured pieces; joined, they are the input again.
fn tokens(code: &str) -> Vec<(Kind, &str)> {
    let mut out = Vec::new();
    let mut at = 0;
    while at < code.len() {
        let (kind, length) = token(&code[at..]);
        out.push((kind, &code[at..at + length]));
        at += length;
    }
    out
}

fn token(rest: &str) -> (Kind, usize) {
    let c = rest.chars().next().expect("not empty");
    let word = |s: &str| s.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(s.len());
    if rest.starts_with("//") {
        (Kind::Comment, rest.find('\n').unwrap_or(rest.len()))
    } else if rest.starts_with("/*") {
        (Kind::Comment, rest.find("*/").map_or(rest.len(), |i| i + 2))
    } else if rest.starts_with("#[") || rest.starts_with("#![") {
        (Kind::Attribute, rest.find(']').map_or(rest.len(), |i| i + 1))
    } else if c == '"' {
        let mut escaped = false;
        let end = rest.char_indices().skip(1).find(|&(_, c)| {
            let ends = c == '"' && !escaped;
            escaped = c == '\\' && !escaped;
            ends
        });
        (Kind::Literal, end.map_or(rest.len(), |(i, _)| i + 1))
    } else if let Some(lifetime) = rest.strip_prefix('\'') {
        // A character has its closing quote right after it; a lifetime has none.
        let mut chars = lifetime.char_indices();
        let first = chars.next().map(|(_, c)| c);
        if first == Some('\\') {
            (Kind::Literal, lifetime[1..].find('\'').map_or(rest.len(), |i| i + 3))
        } else if let Some((i, '\'')) = chars.next() {
            (Kind::Literal, i + 2)
        } else {
            (Kind::Type, 1 + word(lifetime))
        }
    } else if c.is_ascii_digit() {
        let mut length = word(rest);
        if rest[length..].starts_with('.') && rest[length + 1..].starts_with(|c: char| c.is_ascii_digit()) {
            length += 1 + word(&rest[length + 1..]);
        }
        if rest[..length].ends_with('e') && rest[length..].starts_with('-') {
            length += 1 + word(&rest[length + 1..]);
        }
        (Kind::Literal, length)
    } else if c.is_alphabetic() || c == '_' {
        let length = word(rest);
        let name = &rest[..length];
        let kind = if KEYWORDS.contains(&name) {
            Kind::Keyword
        } else if name.starts_with(char::is_uppercase) {
            Kind::Type
        } else {
            Kind::Plain
        };
        (kind, length)
    } else {
        let starts = |c: char| c.is_alphanumeric() || matches!(c, '_' | '"' | '\'' | '/' | '#');
        (Kind::Plain, c.len_utf8() + rest[c.len_utf8()..].find(starts).unwrap_or(rest.len() - c.len_utf8()))
    }
}

/// Where the page of a source file lies, relative to the book's root.
pub fn page(file: &str, line: usize) -> String {
    format!("source/{file}.html#L{line}")
}

/// Writes a page for each file in `files`, which are relative to `root`, under `build`.
pub fn write_pages(root: &Path, build: &Path, files: &BTreeSet<String>) -> Result<(), String> {
    for file in files {
        let code = fs::read_to_string(root.join(file)).map_err(|e| format!("{file}: {e}"))?;
        let up = "../".repeat(file.matches('/').count() + 1);
        let html = format!(
            r#"<!DOCTYPE html>
<html lang="en" class="light"><head><meta charset="utf-8"><title>{file}</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="stylesheet" href="{up}css/variables.css"><link rel="stylesheet" href="{up}css/general.css">
<link rel="stylesheet" href="{up}fonts/fonts.css"><link rel="stylesheet" href="{up}theme/book.css">
<script>
const dark = matchMedia("(prefers-color-scheme: dark)").matches ? "navy" : "light";
let theme = null; try {{ theme = localStorage.getItem("mdbook-theme"); }} catch (e) {{ }}
document.documentElement.className = theme || dark;
</script></head>
<body class="source-page"><p><a href="{up}index.html">rederive</a> / {file}</p>
<pre class="source"><code class="nohighlight">{}</code></pre></body></html>
"#,
            lines(code.trim_end(), 1.., true).join("\n")
        );
        let path = build.join(format!("source/{file}.html"));
        fs::create_dir_all(path.parent().expect("a file in a folder")).map_err(|e| e.to_string())?;
        fs::write(&path, html).map_err(|e| format!("{}: {e}", path.display()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_join_to_the_input() {
        let code = "/// Doc\n#[inline]\npub fn f<'a, F: Real>(x: &'a F) -> F {\n    let c = '\\n'; // é 1.5e-3\n    \"a\\\"b\"; 0..3; 'x'\n}";
        let joined: String = tokens(code).into_iter().map(|(_, t)| t).collect();
        assert_eq!(joined, code);
        let kinds: Vec<_> =
            tokens("'a 'x' 1.5e-3 0..3 \"q\\\"\" Real").into_iter().filter(|t| t.0 != Kind::Plain).collect();
        let expected = [
            (Kind::Type, "'a"),
            (Kind::Literal, "'x'"),
            (Kind::Literal, "1.5e-3"),
            (Kind::Literal, "0"),
            (Kind::Literal, "3"),
            (Kind::Literal, "\"q\\\"\""),
            (Kind::Type, "Real"),
        ];
        assert!(kinds == expected);
    }

    #[test]
    fn lines_carry_their_numbers() {
        let html = lines("let a;\nb < c", 7.., true);
        assert_eq!(html.len(), 2);
        assert_eq!(html[1], r#"<span class="line" id="L8" data-n="8">b &lt; c</span>"#);
    }
}
