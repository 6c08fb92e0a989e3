//! `rederive plot`.

use super::args::PlotArgs;
use super::report::{self, Failure, counted, grouped};
use console::Style;
use rederive::train::plot_runs;

pub fn run(args: PlotArgs) -> Result<(), Failure> {
    let curves = plot_runs(&args.runs, &args.out)?;
    let mut text = String::new();
    for curve in &curves {
        let seeds = counted(curve.runs.len(), "seed");
        let (return_, steps) = (curve.return_mean, grouped(curve.steps));
        text += &format!("{} on {}: {seeds}, return {return_:.1} at step {steps}\n", curve.algo, curve.env);
    }
    report::stdout(&format!("{text}curves {}\n", Style::new().cyan().apply_to(args.out.display())))
}
