//! The fenced block `eq ID`: a numbered formula and its footer of function, properties and benchmark.

use crate::ledger::Ledger;
use crate::maths::{self, escape};
use crate::{measured, source};

/// The block as one line of HTML. `number` is what stands in parentheses beside the formula; every blank line in `body`
/// starts a new formula.
pub fn block(ledger: &Ledger, id: &str, number: &str, body: &str) -> Result<String, String> {
    let mut formulas = String::new();
    for tex in body.split("\n\n").map(str::trim).filter(|tex| !tex.is_empty()) {
        formulas.push_str(&maths::render(tex, true).map_err(|e| format!("equation `{id}`: {e}"))?);
    }
    if formulas.is_empty() {
        return Err(format!("equation `{id}`: the block holds no formula"));
    }
    Ok(format!(
        concat!(
            r#"<div class="equation" id="{id}"><div class="equation-row"><div class="equation-formula">{formulas}</div>"#,
            r##"<a class="equation-number" href="#{id}" title="Link to {id}">({number})</a></div>"##,
            r#"<div class="equation-footer"><div class="equation-id"><code class="nohighlight">{id}</code> {title}</div>{function}{properties}{benchmark}</div></div>"#,
        ),
        id = escape(id),
        title = escape(ledger.title(id)?),
        formulas = formulas,
        number = escape(number),
        function = function(ledger, id)?,
        properties = properties(ledger, id)?,
        benchmark = benchmark(ledger, id),
    ))
}

fn part(kind: &str, label: &str, headline: &str, body: &str) -> String {
    format!(
        r#"<details class="footer-{kind}"><summary><span class="footer-label">{label}</span> {headline}</summary><div class="footer-body">{body}</div></details>"#
    )
}

fn function(ledger: &Ledger, id: &str) -> Result<String, String> {
    let anchor = ledger.anchor(id)?;
    let (first, last) = match (anchor.numbers.first(), anchor.numbers.last()) {
        (Some(&first), Some(&last)) => (first, last),
        _ => return Err(format!("equation `{id}`: the anchored code is empty")),
    };
    let lines = if first == last { format!("line {first}") } else { format!("lines {first}–{last}") };
    let name = function_name(&anchor.code)
        .map(|n| format!("<code class=\"nohighlight\">{n}</code> in "))
        .unwrap_or_default();
    let headline = format!(
        r#"{name}<a href="{}">{}</a>, {lines}"#,
        source::page(&anchor.file, first),
        escape(&anchor.file)
    );
    let listing = source::listing(&anchor.code, &anchor.numbers);
    Ok(part("function", "function", &headline, &listing))
}

/// The first function that the code declares.
fn function_name(code: &str) -> Option<&str> {
    code.lines().map(str::trim_start).filter(|l| !l.starts_with("//")).find_map(|line| {
        let name = &line[line.find("fn ")? + 3..];
        let end = name.find(|c: char| !(c.is_alphanumeric() || c == '_'))?;
        (end > 0).then(|| &name[..end])
    })
}

fn properties(ledger: &Ledger, id: &str) -> Result<String, String> {
    let properties = ledger.properties(id)?;
    let mut rows = String::new();
    let mut worst: Option<(f64, f64)> = None;
    let (mut measured_count, mut failed, mut cases) = (0, 0, 0);
    for property in properties {
        let cells = match ledger.verified(id, &property.name) {
            None => r#"<td colspan="3" class="unmeasured">not measured yet</td>"#.to_owned(),
            Some(v) => {
                measured_count += 1;
                cases += v.cases;
                failed += usize::from(!v.passed);
                let error = v.max_error.unwrap_or(f64::NAN);
                // Errors in units of printed digits or standard errors, which have a tolerance of 1, come last.
                let rank = |e: f64, t: f64| (t < 1.0, if t > 0.0 { e / t } else { e });
                if worst.is_none_or(|(e, t)| rank(error, v.tolerance) > rank(e, t)) {
                    worst = Some((error, v.tolerance));
                }
                let (class, verdict) = if v.passed { ("holds", "holds") } else { ("fails", "fails") };
                format!(
                    r#"<td>{}</td><td>{}</td><td class="{class}">{verdict}</td>"#,
                    v.cases,
                    measured::error(error)
                )
            }
        };
        rows.push_str(&format!(
            "<tr><td>{}</td><td>{}</td>{cells}</tr>",
            escape(&property.name),
            allowed(property.tolerance)
        ));
    }
    let total = properties.len();
    let headline = match worst {
        None => format!(r#"{total} registered, <span class="unmeasured">not measured yet</span>"#),
        Some(_) if failed > 0 => format!(r#"<span class="fails">{failed} of {total} fail</span>"#),
        Some((error, tolerance)) => {
            let verdict = match (measured_count, total) {
                (1, 1) => "holds".to_owned(),
                (n, _) if n == total => format!("all {total} hold"),
                (n, _) => format!("{n} of {total} measured, all hold"),
            };
            format!(
                "{verdict} over {cases} case{}; largest error {} ({} allowed)",
                if cases == 1 { "" } else { "s" },
                measured::error(error),
                allowed(tolerance)
            )
        }
    };
    let table = format!(
        "<table><thead><tr><th>property</th><th>allowed error</th><th>cases</th><th>largest error</th><th>verdict</th></tr></thead><tbody>{rows}</tbody></table>"
    );
    Ok(part("properties", "properties", &headline, &table))
}

fn allowed(tolerance: f64) -> String {
    if tolerance == 0.0 { "none".to_owned() } else { measured::error(tolerance) }
}

fn benchmark(ledger: &Ledger, id: &str) -> String {
    let Some(timings) = ledger.timings(id) else { return String::new() };
    let Some(bench) = ledger.bench.as_ref().filter(|_| !timings.is_empty()) else {
        return concat!(
            r#"<div class="footer-benchmark"><span class="footer-label">benchmark</span> "#,
            r#"<span class="unmeasured">not measured yet</span></div>"#
        )
        .to_owned();
    };
    let rate = |t| measured::throughput(t).map(|r| format!(", {r}")).unwrap_or_default();
    let first = timings[0];
    let more = match timings.len() {
        1 => String::new(),
        n => format!("; {n} timings"),
    };
    let headline =
        format!("{} for {}{}{more}", measured::duration(first.median_ns), escape(&first.name), rate(first));
    let rows: String = timings
        .iter()
        .map(|t| {
            format!(
                "<tr><td>{}</td><td>{}</td><td>{}</td></tr>",
                escape(&t.name),
                measured::duration(t.median_ns),
                measured::throughput(t).unwrap_or_default()
            )
        })
        .collect();
    let table = format!(
        "<table><thead><tr><th>case</th><th>median time</th><th>throughput</th></tr></thead><tbody>{rows}</tbody></table><p class=\"where\">{}; {}; {}</p>",
        escape(&bench.machine),
        escape(&bench.rustc),
        escape(&bench.date)
    );
    part("benchmark", "benchmark", &headline, &table)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::{Anchor, Property};
    use crate::measured::{Bench, Timing, Unit, Verified, Work};

    fn ledger() -> Ledger {
        let mut ledger = Ledger::default();
        ledger.anchors.insert(
            "gae.recursion".into(),
            Anchor {
                file: "crates/math/src/gae.rs".into(),
                numbers: vec![10, 11, 12],
                code: "pub fn gae<F: Real>() {\n    // a < b\n}".into(),
            },
        );
        let property = |name: &str| Property { name: name.into(), tolerance: 1e-10 };
        ledger.properties.insert("gae.recursion".into(), vec![property("definition"), property("segments")]);
        ledger
    }

    #[test]
    fn the_headline_prefers_numerical_errors_to_statistics() {
        let mut ledger = ledger();
        let statistic = Verified { max_error: Some(0.4538), tolerance: 1.0, ..row("segments", true) };
        ledger.verified = Some(vec![row("definition", true), statistic]);
        let html = block(&ledger, "gae.recursion", "1", "a").unwrap();
        assert!(
            html.contains("largest error 4.4e-16 (1e-10 allowed)") && html.contains("<td>0.45</td>"),
            "{html}"
        );
    }

    fn row(property: &str, passed: bool) -> Verified {
        Verified {
            id: "gae.recursion".into(),
            property: property.into(),
            cases: 256,
            max_error: Some(4.4e-16),
            tolerance: 1e-10,
            passed,
        }
    }

    #[test]
    fn the_footer_shows_code_properties_and_benchmark() {
        let mut ledger = ledger();
        ledger.verified = Some(vec![row("definition", true), row("segments", true)]);
        ledger.bench = Some(Bench {
            machine: "Xeon, 2 cores".into(),
            date: "2026-11-21".into(),
            rustc: "rustc 1.90.0".into(),
            benchmarks: vec![Timing {
                group: "gae.recursion".into(),
                name: "f32/128x4096".into(),
                median_ns: 294_000.0,
                work: Some(Work { amount: 128 * 4096, unit: Unit::Elements }),
            }],
        });
        let html = block(&ledger, "gae.recursion", "2.4", "a_t = b_t\n\nc = d").unwrap();
        assert!(!html.contains('\n'));
        for expected in [
            r#"id="gae.recursion""#,
            "(2.4)",
            r#"<a href="source/crates/math/src/gae.rs.html#L10">crates/math/src/gae.rs</a>, lines 10–12"#,
            "// a &lt; b",
            r#"data-n="11""#,
            "all 2 hold over 512 cases; largest error 4.4e-16 (1e-10 allowed)",
            "294 µs for f32/128x4096, 1.78 billion elements/s",
        ] {
            assert!(html.contains(expected), "{expected} is missing in {html}");
        }
        assert_eq!(html.matches("katex-display").count(), 2);
    }

    #[test]
    fn a_missing_measurement_is_visible() {
        let mut ledger = ledger();
        let html = block(&ledger, "gae.recursion", "2.4", "a").unwrap();
        assert!(html.contains("2 registered, <span class=\"unmeasured\">not measured yet</span>"));
        assert!(html.contains(r#"benchmark</span> <span class="unmeasured">not measured yet"#));
        ledger.verified = Some(vec![row("definition", true)]);
        assert!(block(&ledger, "gae.recursion", "2.4", "a").unwrap().contains("1 of 2 measured, all hold"));
    }

    #[test]
    fn an_equation_without_a_benchmark_has_no_line_for_it() {
        let mut ledger = ledger();
        let anchor = ledger.anchors["gae.recursion"].clone();
        ledger.anchors.insert("gae.limits".into(), anchor);
        ledger.properties.insert("gae.limits".into(), vec![Property { name: "zero".into(), tolerance: 0.0 }]);
        assert!(!block(&ledger, "gae.limits", "1", "a").unwrap().contains("benchmark"));
    }

    #[test]
    fn a_failed_property_is_not_hidden() {
        let mut ledger = ledger();
        ledger.verified = Some(vec![row("definition", true), row("segments", false)]);
        assert!(block(&ledger, "gae.recursion", "1", "a").unwrap().contains("1 of 2 fail"));
    }

    #[test]
    fn unknown_ids_and_missing_anchors_are_errors_that_name_the_id() {
        let mut ledger = ledger();
        let message = block(&ledger, "gae.nonsense", "1", "a").unwrap_err();
        assert!(message.contains("gae.nonsense"), "{message}");
        ledger.anchors.clear();
        let message = block(&ledger, "gae.recursion", "1", "a").unwrap_err();
        assert!(message.contains("`// ANCHOR: gae.recursion`"), "{message}");
    }

    #[test]
    fn an_empty_block_and_bad_tex_are_errors() {
        assert!(block(&ledger(), "gae.recursion", "1", " \n").unwrap_err().contains("no formula"));
        assert!(block(&ledger(), "gae.recursion", "1", r"\frac{1}").unwrap_err().contains("gae.recursion"));
    }
}
