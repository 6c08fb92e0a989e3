//! `rederive plot`.

use super::args::PlotArgs;
use super::report::{self, Failure};
use console::Style;
use rederive::train::plot_runs;

pub fn run(args: PlotArgs) -> Result<(), Failure> {
    let curves = plot_runs(&args.runs, &args.out)?;
    let mut text = String::new();
    for curve in &curves {
        let seeds = curve.runs.len();
        text +=
            &format!("{} on {}: {seeds} seed{}\n", curve.algo, curve.env, if seeds == 1 { "" } else { "s" });
    }
    report::stdout(&format!("{text}curves {}\n", Style::new().cyan().apply_to(args.out.display())))
}
