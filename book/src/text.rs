//! Walks a chapter's Markdown and hands its formulas, fenced blocks and `{{#...}}` directives to the renderer, leaving
//! code alone.

/// What replaces the parts of a chapter that are not plain Markdown.
pub trait Renderer {
    /// A formula in running text, as HTML that can stand in a paragraph.
    fn inline_maths(&mut self, tex: &str) -> Result<String, String>;
    /// A formula on lines of its own, as HTML that can stand in a paragraph.
    fn display_maths(&mut self, tex: &str) -> Result<String, String>;
    /// A fenced block with this info string, as Markdown or HTML; `None` leaves it as it is.
    fn fence(&mut self, info: &str, body: &str) -> Result<Option<String>, String>;
    /// A directive `{{#name argument}}`, as Markdown.
    fn directive(&mut self, name: &str, argument: &str) -> Result<String, String>;
}

/// Something wrong at a line of a chapter.
#[derive(Debug, PartialEq, Eq)]
pub struct Problem {
    /// Counted from 1.
    pub line: usize,
    /// In words.
    pub message: String,
}

/// Rewrites a whole chapter.
pub fn rewrite(markdown: &str, renderer: &mut impl Renderer) -> Result<String, Problem> {
    let lines: Vec<&str> = markdown.lines().collect();
    let mut out = String::with_capacity(markdown.len() * 4);
    let mut in_list = false;
    let mut after_blank = true;
    let mut i = 0;
    while i < lines.len() {
        let line = lines[i];
        let at = |message: String| Problem { line: i + 1, message };
        if line.trim().is_empty() {
            out.push('\n');
            after_blank = true;
            i += 1;
        } else if let Some((indent, fence, info)) = fence_opening(line) {
            let close = (i + 1..lines.len())
                .find(|&j| closes(lines[j], fence))
                .ok_or_else(|| at("this fenced block is never closed".into()))?;
            let body: Vec<&str> = lines[i + 1..close].iter().map(|l| dedent(l, indent)).collect();
            match renderer.fence(info, &body.join("\n")).map_err(at)? {
                Some(text) => {
                    out.push('\n');
                    out.push_str(&text);
                    out.push_str("\n\n");
                }
                None => lines[i..=close].iter().for_each(|l| push_line(&mut out, l)),
            }
            after_blank = true;
            i = close + 1;
        } else if after_blank && !in_list && is_indented_code(line) {
            push_line(&mut out, line);
            i += 1;
        } else {
            // A block of text: up to the next blank line or fence. Formulas and code spans may cross its line ends.
            let end = (i + 1..lines.len())
                .find(|&j| lines[j].trim().is_empty() || fence_opening(lines[j]).is_some())
                .unwrap_or(lines.len());
            if after_blank {
                in_list = is_list_item(line) || (in_list && line.starts_with(char::is_whitespace));
            }
            let block = lines[i..end].join("\n");
            out.push_str(&inline(&block, renderer).map_err(|mut p| {
                p.line += i;
                p
            })?);
            out.push('\n');
            in_list = in_list || lines[i..end].iter().any(|l| is_list_item(l));
            after_blank = false;
            i = end;
        }
    }
    Ok(out)
}

fn push_line(out: &mut String, line: &str) {
    out.push_str(line);
    out.push('\n');
}

/// The indentation, the fence and the info string, where `line` opens a fenced block.
fn fence_opening(line: &str) -> Option<(usize, &str, &str)> {
    let trimmed = line.trim_start();
    let mark = trimmed.chars().next().filter(|c| matches!(c, '`' | '~'))?;
    let length = trimmed.len() - trimmed.trim_start_matches(mark).len();
    let info = trimmed[length..].trim();
    // A run of backticks with another backtick after it is a code span.
    (length >= 3 && !(mark == '`' && info.contains('`')))
        .then(|| (line.len() - trimmed.len(), &trimmed[..length], info))
}

fn closes(line: &str, fence: &str) -> bool {
    let trimmed = line.trim();
    trimmed.len() >= fence.len()
        && trimmed.starts_with(fence)
        && trimmed.bytes().all(|b| b == fence.as_bytes()[0])
}

fn dedent(line: &str, indent: usize) -> &str {
    let spaces = line.len() - line.trim_start_matches(' ').len();
    &line[spaces.min(indent)..]
}

fn is_indented_code(line: &str) -> bool {
    line.starts_with("    ") || line.starts_with('\t')
}

fn is_list_item(line: &str) -> bool {
    let line = line.trim_start();
    let digits = line.len() - line.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let after =
        if digits > 0 { line[digits..].strip_prefix(['.', ')']) } else { line.strip_prefix(['-', '*', '+']) };
    after.is_some_and(|rest| rest.is_empty() || rest.starts_with(' '))
}

fn inline(block: &str, renderer: &mut impl Renderer) -> Result<String, Problem> {
    let mut out = String::with_capacity(block.len() * 2);
    let mut at = 0;
    let problem =
        |at: usize, message: String| Problem { line: block[..at].matches('\n').count() + 1, message };
    while let Some(c) = block[at..].chars().next() {
        let rest = &block[at..];
        if c == '\\' {
            let length = 1 + rest[1..].chars().next().map_or(0, char::len_utf8);
            out.push_str(&rest[..length]);
            at += length;
        } else if c == '`' {
            let run = rest.len() - rest.trim_start_matches('`').len();
            let length = run + code_span_end(&rest[run..], run).unwrap_or(0);
            out.push_str(&rest[..length]);
            at += length;
        } else if rest.starts_with("<!--") {
            let length = rest.find("-->").map_or(rest.len(), |i| i + 3);
            out.push_str(&rest[..length]);
            at += length;
        } else if let Some(inner) = rest.strip_prefix("{{#") {
            let end = inner
                .find("}}")
                .ok_or_else(|| problem(at, "this directive is never closed by `}}`".into()))?;
            let (name, argument) =
                inner[..end].split_once(char::is_whitespace).unwrap_or((&inner[..end], ""));
            out.push_str(&renderer.directive(name, argument.trim()).map_err(|m| problem(at, m))?);
            at += end + 5;
        } else if let Some(inner) = rest.strip_prefix("$$") {
            let end = unescaped(inner, "$$", |_, _| true)
                .ok_or_else(|| problem(at, "this `$$` is never closed".into()))?;
            out.push_str(&renderer.display_maths(&inner[..end]).map_err(|m| problem(at, m))?);
            at += end + 4;
        } else if let Some(inner) = rest.strip_prefix('$') {
            let opens = inner.starts_with(|c: char| !c.is_whitespace());
            let end = opens.then(|| unescaped(inner, "$", closes_inline)).flatten().ok_or_else(|| {
                problem(at, r"this `$` opens no formula; write `\$` where a dollar sign is meant".into())
            })?;
            out.push_str(&renderer.inline_maths(&inner[..end]).map_err(|m| problem(at, m))?);
            at += end + 2;
        } else {
            out.push(c);
            at += c.len_utf8();
        }
    }
    Ok(out)
}

/// Where the code span whose opening run of `run` backticks stands before `text` ends, counted from the start of `text`.
fn code_span_end(text: &str, run: usize) -> Option<usize> {
    let mut at = 0;
    while let Some(i) = text[at..].find('`') {
        let start = at + i;
        let length = text[start..].len() - text[start..].trim_start_matches('`').len();
        if length == run {
            return Some(start + length);
        }
        at = start + length;
    }
    None
}

/// The position of the first `mark` in `tex` that no backslash precedes and that `accept`s its surroundings.
fn unescaped(tex: &str, mark: &str, accept: impl Fn(&str, &str) -> bool) -> Option<usize> {
    let mut at = 0;
    while let Some(c) = tex[at..].chars().next() {
        if c == '\\' {
            at += 1 + tex[at + 1..].chars().next().map_or(0, char::len_utf8);
        } else if tex[at..].starts_with(mark) && accept(&tex[..at], &tex[at + mark.len()..]) {
            return Some(at);
        } else {
            at += c.len_utf8();
        }
    }
    None
}

fn closes_inline(before: &str, after: &str) -> bool {
    !before.is_empty()
        && !before.ends_with(char::is_whitespace)
        && !after.starts_with(|c: char| c.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Marks what it is given.
    struct Marks;

    impl Renderer for Marks {
        fn inline_maths(&mut self, tex: &str) -> Result<String, String> {
            Ok(format!("[i:{tex}]"))
        }
        fn display_maths(&mut self, tex: &str) -> Result<String, String> {
            Ok(format!("[d:{}]", tex.trim()))
        }
        fn fence(&mut self, info: &str, body: &str) -> Result<Option<String>, String> {
            match info {
                "eq x" => Ok(Some(format!("[eq:{body}]"))),
                "eq bad" => Err("no such equation".into()),
                _ => Ok(None),
            }
        }
        fn directive(&mut self, name: &str, argument: &str) -> Result<String, String> {
            Ok(format!("[{name}:{argument}]"))
        }
    }

    fn rewritten(markdown: &str) -> String {
        rewrite(markdown, &mut Marks).unwrap()
    }

    #[test]
    fn formulas_are_found_within_and_across_lines() {
        assert_eq!(
            rewritten("a $x_1$, $y\nz$ and $$\na = b\n$$ end\n"),
            "a [i:x_1], [i:y\nz] and [d:a = b] end\n"
        );
        assert_eq!(rewritten("| $a|b$ | $\\$c$ |\n"), "| [i:a|b] | [i:\\$c] |\n");
    }

    #[test]
    fn code_is_left_alone() {
        for code in [
            "a `$x$` b\n",
            "``a ` $x$ {{#ref y}}`` b\n",
            "```text\n$x$\n\n$$y$$ {{#ref z}}\n```\n",
            "~~~\n```\n$x$\n~~~\n",
            "    $x$ in an indented block\n",
            "<!-- $x$ -->\n",
        ] {
            assert_eq!(rewritten(code), code);
        }
    }

    #[test]
    fn the_second_paragraph_of_a_list_item_is_text() {
        assert_eq!(rewritten("- a\n\n    $x$\n"), "- a\n\n    [i:x]\n");
    }

    #[test]
    fn dollars_can_be_escaped_and_loose_ones_are_errors() {
        assert_eq!(rewritten(r"costs \$5"), "costs \\$5\n");
        assert_eq!(rewrite("one\n\ntwo\ncosts $ 5", &mut Marks).unwrap_err().line, 4);
        assert!(rewrite("$x and 3$5", &mut Marks).unwrap_err().message.contains(r"\$"));
        assert!(rewrite("$$x", &mut Marks).is_err());
    }

    #[test]
    fn fences_are_offered_with_their_body_and_errors_carry_the_line() {
        assert_eq!(rewritten("```eq x\na\n\nb\n```\n"), "\n[eq:a\n\nb]\n\n");
        let problem = rewrite("text\n\n```eq bad\na\n```\n", &mut Marks).unwrap_err();
        assert_eq!(problem, Problem { line: 3, message: "no such equation".into() });
        assert_eq!(rewrite("```eq x\na", &mut Marks).unwrap_err().line, 1);
    }

    #[test]
    fn directives_are_replaced() {
        assert_eq!(rewritten("see {{#ref gae.bias}}."), "see [ref:gae.bias].\n");
    }
}
