//! TeX to HTML, at build time: KaTeX runs inside this program, so that the finished page needs no script.

use katex::{Opts, OutputType};
use std::cell::RefCell;
use std::collections::HashMap;

/// Shorthands that every chapter may use.
const MACROS: &[(&str, &str)] = &[
    (r"\E", r"\mathbb{E}"),
    (r"\Var", r"\operatorname{Var}"),
    (r"\Cov", r"\operatorname{Cov}"),
    (r"\KL", r"\operatorname{KL}"),
    (r"\clip", r"\operatorname{clip}"),
    (r"\sgn", r"\operatorname{sgn}"),
    (r"\old", r"\mathrm{old}"),
    (r"\new", r"\mathrm{new}"),
    (r"\terminated", r"\mathrm{terminated}"),
    (r"\truncated", r"\mathrm{truncated}"),
    (r"\done", r"\mathrm{done}"),
    (r"\Ent", r"\mathcal{H}"),
    (r"\indicator", r"\mathbf{1}"),
];

thread_local! {
    static RENDERED: RefCell<HashMap<(String, bool), String>> = RefCell::default();
}

/// Renders one formula as HTML with MathML for screen readers. `display` sets it on a line of its own.
pub fn render(tex: &str, display: bool) -> Result<String, String> {
    let key = (tex.trim().to_owned(), display);
    if let Some(html) = RENDERED.with_borrow(|cache| cache.get(&key).cloned()) {
        return Ok(html);
    }
    let mut opts = Opts::default();
    opts.set_display_mode(display);
    opts.set_output_type(OutputType::HtmlAndMathml);
    for (name, meaning) in MACROS {
        opts.add_macro((*name).to_owned(), (*meaning).to_owned());
    }
    let html = katex::render_with_opts(&key.0, &opts).map_err(|e| format!("`{}`: {e}", key.0))?;
    // One line, so that no blank line can end the HTML block it stands in.
    let html = html.replace('\n', " ");
    RENDERED.with_borrow_mut(|cache| cache.insert(key, html.clone()));
    Ok(html)
}

/// Makes rendered HTML safe inside a Markdown paragraph: punctuation between the tags becomes character references, so
/// that no underscore, star or backslash of the formula is read as Markdown.
pub fn shield(html: &str) -> String {
    let mut out = String::with_capacity(html.len() + html.len() / 8);
    let mut rest = html;
    while let Some(c) = rest.chars().next() {
        let verbatim = match c {
            '<' => rest.find('>').map(|i| i + 1),
            '&' => rest.find(';').map(|i| i + 1),
            _ => None,
        };
        if let Some(end) = verbatim {
            out.push_str(&rest[..end]);
            rest = &rest[end..];
        } else {
            if c.is_ascii_punctuation() {
                out.push_str(&format!("&#{};", c as u32));
            } else {
                out.push(c);
            }
            rest = &rest[c.len_utf8()..];
        }
    }
    out
}

/// Text as HTML content.
pub fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_formula_becomes_html_and_mathml_on_one_line() {
        let html = render(r"\hat A_t = \delta_t", true).unwrap();
        assert!(html.contains("katex-display") && html.contains("<math") && !html.contains('\n'));
    }

    #[test]
    fn an_unknown_command_is_an_error_that_quotes_the_formula() {
        let message = render(r"\nonsense x", false).unwrap_err();
        assert!(message.contains(r"\nonsense x"), "{message}");
    }

    #[test]
    fn punctuation_is_shielded_but_tags_and_references_are_not() {
        assert_eq!(shield(r#"<b c="_">a_b*</b>&lt;"#), r#"<b c="_">a&#95;b&#42;</b>&lt;"#);
    }
}
