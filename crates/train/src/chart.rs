//! Learning curves as SVG.

use plotters::coord::Shift;
use plotters::prelude::*;
use std::fmt::Display;

/// One plot with its axes: return over environment steps.
#[derive(Clone, Debug, Default)]
pub(crate) struct Panel {
    pub(crate) title: String,
    /// What the y axis shows.
    pub(crate) y_label: &'static str,
    /// Where the x axis ends.
    pub(crate) steps: u64,
    /// A dashed line.
    pub(crate) threshold: Option<f64>,
    /// A thin, light line behind the curves: (steps, return).
    pub(crate) raw: Vec<(f64, f64)>,
    pub(crate) curves: Vec<Curve>,
}

/// One line with its band.
#[derive(Clone, Debug, Default)]
pub(crate) struct Curve {
    pub(crate) label: String,
    /// Which colour of the palette.
    pub(crate) color: usize,
    /// (steps, return)
    pub(crate) line: Vec<(f64, f64)>,
    /// (steps, low, high)
    pub(crate) band: Vec<(f64, f64, f64)>,
}

/// Okabe and Ito's palette, which the colour-blind can tell apart.
const PALETTE: [RGBColor; 7] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(230, 159, 0),
    RGBColor(86, 180, 233),
    RGBColor(60, 60, 60),
];
const INK: RGBColor = RGBColor(40, 40, 40);
const FAINT: RGBColor = RGBColor(225, 225, 225);
const WIDTH: u32 = 800;
const HEIGHT: u32 = 450;

/// Draws the panels in rows of two. An error would be the drawing library's own: a string has room for everything.
pub(crate) fn draw(panels: &[Panel]) -> Result<String, String> {
    let columns = panels.len().clamp(1, 2);
    let rows = panels.len().div_ceil(columns).max(1);
    let mut svg = String::new();
    {
        let size = (WIDTH * columns as u32, HEIGHT * rows as u32);
        let root = SVGBackend::with_string(&mut svg, size).into_drawing_area();
        let fail = |e: &dyn Display| e.to_string();
        root.fill(&WHITE).map_err(|e| fail(&e))?;
        for (area, panel) in root.split_evenly((rows, columns)).iter().zip(panels) {
            draw_panel(area, panel).map_err(|e| fail(&e))?;
        }
        root.present().map_err(|e| fail(&e))?;
    }
    Ok(svg)
}

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type DrawError = DrawingAreaErrorKind<std::io::Error>;

fn draw_panel(area: &Area<'_>, panel: &Panel) -> Result<(), DrawError> {
    let (low, high) = panel.y_range();
    let clamp = |y: f64| y.clamp(low, high);
    let text = |size: u32| ("sans-serif", size).into_font().color(&INK);
    let mut chart = ChartBuilder::on(area)
        .caption(&panel.title, text(22))
        .margin(14)
        .margin_right(28)
        .x_label_area_size(48)
        .y_label_area_size(68)
        .build_cartesian_2d(0.0..panel.steps.max(1) as f64, low..high)?;
    let y_decimals = decimals(high - low);
    chart
        .configure_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(FAINT)
        .axis_style(INK.mix(0.6))
        .x_labels(8)
        .y_labels(8)
        .x_label_formatter(&|x| steps_label(*x))
        .y_label_formatter(&|y| format!("{:.*}", y_decimals, if *y == 0.0 { 0.0 } else { *y }))
        .x_desc("environment steps")
        .y_desc(panel.y_label)
        .label_style(text(14))
        .axis_desc_style(text(15))
        .draw()?;

    let mut labels = 0;
    if let Some(threshold) = panel.threshold.filter(|t| (low..=high).contains(t)) {
        let ends = [(0.0, threshold), (panel.steps.max(1) as f64, threshold)];
        let line = DashedLineSeries::new(ends, 6, 5, INK.mix(0.7).stroke_width(1));
        chart.draw_series(line)?.label(format!("threshold {threshold}")).legend(|(x, y)| {
            let dash = |from: i32| PathElement::new([(x + from, y), (x + from + 7, y)], INK.mix(0.7));
            EmptyElement::at((0, 0)) + dash(0) + dash(13)
        });
        labels += 1;
    }
    for curve in &panel.curves {
        let color = PALETTE[curve.color % PALETTE.len()];
        if !curve.band.is_empty() {
            let above = curve.band.iter().map(|&(x, _, high)| (x, clamp(high)));
            let below = curve.band.iter().rev().map(|&(x, low, _)| (x, clamp(low)));
            let outline: Vec<(f64, f64)> = above.chain(below).collect();
            chart.draw_series([Polygon::new(outline, color.mix(0.18))])?;
        }
    }
    if !panel.raw.is_empty() {
        let color = PALETTE[0].mix(0.25);
        chart
            .draw_series(LineSeries::new(panel.raw.iter().map(|&(x, y)| (x, clamp(y))), color))?
            .label("episodes")
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 20, y)], color.stroke_width(2)));
        labels += 1;
    }
    for curve in &panel.curves {
        let color = PALETTE[curve.color % PALETTE.len()];
        chart
            .draw_series(LineSeries::new(
                curve.line.iter().map(|&(x, y)| (x, clamp(y))),
                color.stroke_width(2),
            ))?
            .label(&curve.label)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 20, y)], color.stroke_width(2)));
        labels += 1;
    }
    if panel.is_empty() {
        let middle = (0.5 * panel.steps.max(1) as f64, 0.5 * (low + high));
        chart.draw_series([Text::new("no episode has ended", middle, text(16))])?;
    }
    if labels > 0 {
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::LowerRight)
            .background_style(WHITE.mix(0.8))
            .border_style(TRANSPARENT)
            .label_font(text(14))
            .legend_area_size(26)
            .margin(12)
            .draw()?;
    }
    Ok(())
}

impl Panel {
    fn is_empty(&self) -> bool {
        self.raw.is_empty() && self.curves.iter().all(|c| c.line.is_empty())
    }

    /// The y axis: all of the curves and most of what is behind them. What does not fit is drawn on the edge.
    fn y_range(&self) -> (f64, f64) {
        let mut range = (f64::INFINITY, f64::NEG_INFINITY);
        let mut include = |y: f64| range = (range.0.min(y), range.1.max(y));
        self.curves.iter().flat_map(|c| &c.line).for_each(|&(_, y)| include(y));
        let mut raw: Vec<f64> = self.raw.iter().map(|&(_, y)| y).collect();
        raw.sort_by(f64::total_cmp);
        let mut bands: Vec<f64> =
            self.curves.iter().flat_map(|c| &c.band).flat_map(|&(_, low, high)| [low, high]).collect();
        bands.sort_by(f64::total_cmp);
        for (values, tail) in [(raw, 0.01), (bands, 0.05)] {
            if !values.is_empty() {
                include(crate::stats::quantile(&values, tail));
                include(crate::stats::quantile(&values, 1.0 - tail));
            }
        }
        if !self.is_empty()
            && let Some(threshold) = self.threshold
        {
            include(threshold);
        }
        let (low, high) = range;
        if low > high {
            return (0.0, 1.0);
        }
        let room = if high > low { 0.05 * (high - low) } else { 0.5 * low.abs().max(1.0) };
        (low - room, high + room)
    }
}

/// Decimals that tell labels of an axis of this length apart.
fn decimals(length: f64) -> usize {
    (1.0 - length.log10().floor()).clamp(0.0, 12.0) as usize
}

/// `100k`, `2.5M`.
fn steps_label(x: f64) -> String {
    let (scaled, unit) = match x.abs() {
        x if x >= 1e9 => (1e9, "G"),
        x if x >= 1e6 => (1e6, "M"),
        x if x >= 1e3 => (1e3, "k"),
        _ => (1.0, ""),
    };
    let text = format!("{:.2}", x / scaled);
    format!("{}{unit}", text.trim_end_matches('0').trim_end_matches('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_labelled_shortly() {
        for (x, expected) in [(0.0, "0"), (50.0, "50"), (100_000.0, "100k"), (2.5e6, "2.5M"), (1e9, "1G")] {
            assert_eq!(steps_label(x), expected);
        }
    }

    #[test]
    fn every_panel_can_be_drawn() {
        let flat = Curve { label: "ppo".into(), line: vec![(1.0, 5.0), (2.0, 5.0)], ..Default::default() };
        for panel in [
            Panel::default(),
            Panel { steps: 10, threshold: Some(475.0), ..Default::default() },
            Panel { steps: 2, curves: vec![flat.clone()], ..Default::default() },
            Panel { steps: 2, curves: vec![flat], threshold: Some(-1e-9), ..Default::default() },
            Panel { steps: 5, raw: vec![(3.0, -1e300), (4.0, 1e300)], ..Default::default() },
        ] {
            let svg = draw(&[panel]).unwrap();
            assert!(svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>"), "{svg}");
            assert!(!svg.contains("NaN"), "{svg}");
        }
    }

    #[test]
    fn a_title_is_escaped() {
        let svg = draw(&[Panel { title: "a < b & c".into(), ..Default::default() }]).unwrap();
        assert!(svg.contains("a &lt; b &amp; c"), "{svg}");
    }
}
