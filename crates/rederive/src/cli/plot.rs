//! `rederive plot`.

use super::args::PlotArgs;
use super::report::{self, Failure, grouped};
use console::Style;
use rederive::train::plot_runs;

pub fn run(args: PlotArgs) -> Result<(), Failure> {
    let curves = plot_runs(&args.runs, &args.out)?;
    let mut text = String::new();
    for curve in &curves {
        let seeds = curve.runs.len();
        let plural = if seeds == 1 { "" } else { "s" };
        let (return_, steps) = (curve.return_mean, grouped(curve.steps));
        text += &format!(
            "{} on {}: {seeds} seed{plural}, return {return_:.1} at step {steps}\n",
            curve.algo, curve.env
        );
    }
    report::stdout(&format!("{text}curves {}\n", Style::new().cyan().apply_to(args.out.display())))
}
