use crate::generators::normals;
use crate::measure::{EXACT, TOL_ID, TOL_STAT, Worst, require};
use crate::oracles;
use crate::{Check, Measured, fixed, random};
use ndarray::Array2;
use proptest::prelude::*;
use rederive_math::calculus;

/// Every check of this family.
pub fn checks() -> Vec<Check> {
    vec![
        // How far the remainder's factor is from 8 when the step is halved.
        random("tools.taylor", "order", 1.0, direction(), taylor_order),
        random("tools.taylor", "quadratic", TOL_ID, (normals(6), normals(3), normals(3)), taylor_quadratic),
        random("tools.taylor", "mean-value", TOL_ID, polynomial(), mean_value),
        fixed("tools.taylor", "edges", EXACT, |_| mean_value_edges()),
        random("tools.implicit-diff", "definition", 1e-7, 0.5..0.9f64, implicit),
        fixed("tools.implicit-diff", "closed", TOL_STAT, |_| implicit_closed()),
        fixed("tools.implicit-diff", "edges", EXACT, |_| implicit_edges()),
    ]
}

fn log_sum_exp(x: &[f64]) -> f64 {
    let max = x.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    max + x.iter().map(|x| (x - max).exp()).sum::<f64>().ln()
}

fn softmax(x: &[f64]) -> Vec<f64> {
    let top = log_sum_exp(x);
    x.iter().map(|x| (x - top).exp()).collect()
}

/// A point and a unit direction along which the third derivative of log-sum-exp (the third central moment of the direction
/// under the softmax weights) is at least 0.05: with a smaller one the remainder is of fourth order, and the factor 16.
fn direction() -> impl Strategy<Value = (Vec<f64>, Vec<f64>)> + Clone + Send + Sync {
    (normals(3), normals(3)).prop_filter_map("the third derivative is too small", |(x, d)| {
        let norm = d.iter().map(|d| d * d).sum::<f64>().sqrt();
        let d: Vec<f64> = d.iter().map(|d| d / norm).collect();
        let p = softmax(&x);
        let mean: f64 = p.iter().zip(&d).map(|(p, d)| p * d).sum();
        let third: f64 = p.iter().zip(&d).map(|(p, d)| p * (d - mean).powi(3)).sum();
        (third.abs() >= 0.05).then_some((x, d))
    })
}

/// The remainder falls eightfold when the step is halved; without the factor 1/2 of the curvature it would fall fourfold.
fn taylor_order((x, d): (Vec<f64>, Vec<f64>)) -> Measured {
    let p = softmax(&x);
    let hessian =
        Array2::from_shape_fn((3, 3), |(i, j)| if i == j { p[i] - p[i] * p[i] } else { -p[i] * p[j] });
    let remainder = |h: f64| {
        let step: Vec<f64> = d.iter().map(|d| h * d).collect();
        let there: Vec<f64> = x.iter().zip(&step).map(|(x, s)| x + s).collect();
        log_sum_exp(&there) - calculus::taylor(log_sum_exp(&x), &p, &hessian, &step)
    };
    let [one, half, quarter] = [0.05, 0.025, 0.0125].map(remainder);
    let mut worst = Worst::new();
    worst.add((one / half - 8.0).abs()).add((half / quarter - 8.0).abs());
    worst.done()
}

/// A quadratic function is its own expansion, however long the step.
fn taylor_quadratic((c, x, h): (Vec<f64>, Vec<f64>, Vec<f64>)) -> Measured {
    let f = |x: &[f64]| {
        c[0] * x[0] * x[0] + c[1] * x[1] * x[2] + c[2] * x[0] * x[1] + c[3] * x[2] * x[2] + c[4] * x[1] + c[5]
    };
    let slope =
        [2.0 * c[0] * x[0] + c[2] * x[1], c[1] * x[2] + c[2] * x[0] + c[4], c[1] * x[1] + 2.0 * c[3] * x[2]];
    let hessian = ndarray::array![[2.0 * c[0], c[2], 0.0], [c[2], 0.0, c[1]], [0.0, c[1], 2.0 * c[3]]];
    let there: Vec<f64> = x.iter().zip(&h).map(|(x, h)| x + h).collect();
    let scale = c.iter().chain(&x).chain(&h).fold(1.0, |m: f64, v| m.max(v.abs())).powi(3);
    Worst::new().scaled(calculus::taylor(f(&x), &slope, &hessian, &h), f(&there), scale).done()
}

/// A polynomial `c_1 x + c_2 x^2 + c_3 x^3 + c_4 x^5` on an interval where its derivative is strictly monotone.
fn polynomial() -> impl Strategy<Value = ([f64; 4], f64, f64)> + Clone + Send + Sync {
    let positive = || 0.1..2.0f64;
    (-2.0..2.0f64, positive(), positive(), positive(), any::<bool>(), 0.0..1.0f64, 0.1..2.0f64).prop_map(
        |(linear, square, cube, fifth, falling, a, width)| {
            let sign = if falling { -1.0 } else { 1.0 };
            ([linear, sign * square, sign * cube, sign * fifth], a, a + width)
        },
    )
}

fn mean_value((c, a, b): ([f64; 4], f64, f64)) -> Measured {
    let f = |x: f64| c[0] * x + c[1] * x * x + c[2] * x.powi(3) + c[3] * x.powi(5);
    let slope = |x: f64| c[0] + 2.0 * c[1] * x + 3.0 * c[2] * x * x + 5.0 * c[3] * x.powi(4);
    let point = calculus::mean_value_point(f, slope, a, b).ok_or("no point found")?;
    require(a < point && point < b, || format!("{point} is not between {a} and {b}"))?;
    let scale = f(a).abs() + f(b).abs();
    Worst::new().scaled(slope(point) * (b - a), f(b) - f(a), scale).done()
}

fn mean_value_edges() -> Measured {
    // A straight line has its mean slope everywhere.
    let line = calculus::mean_value_point(|x: f64| 2.0 * x, |_| 2.0, 0.0, 1.0);
    require(line.is_some_and(|c| 0.0 < c && c < 1.0), || format!("{line:?} on a straight line"))?;
    let unknown = calculus::mean_value_point(|x: f64| x, |_| f64::NAN, 0.0, 1.0);
    require(unknown.is_none(), || format!("{unknown:?} from a derivative that is NaN"))?;
    Ok(0.0)
}

/// The `y` with `x^2 + x y + y^3 = 7`, by Newton's method.
fn root(x: f64) -> f64 {
    let mut y = 1.8;
    for _ in 0..60 {
        y -= (x * x + x * y + y * y * y - 7.0) / (x + 3.0 * y * y);
    }
    y
}

fn implicit(x: f64) -> Measured {
    let y = root(x);
    let formula = calculus::implicit_derivative(2.0 * x + y, x + 3.0 * y * y).ok_or("refused")?;
    let difference = oracles::derivative(root, x);
    let mut worst = Worst::new();
    worst.add((formula - difference).abs());
    // The second example, solved by hand: x y^3 = arcsin(1 - x^2), as F = sin(x y^3) + x^2 - 1 = 0.
    let branch = |x: f64| ((1.0 - x * x).asin() / x).cbrt();
    let y = branch(x);
    let inner = (x * y.powi(3)).cos();
    let formula = calculus::implicit_derivative(inner * y.powi(3) + 2.0 * x, inner * 3.0 * x * y * y)
        .ok_or("refused")?;
    worst.add((formula - oracles::derivative(branch, x)).abs() / (1.0 + formula.abs()));
    worst.done()
}

fn implicit_closed() -> Measured {
    let mut worst = Worst::new();
    // On the circle x^2 + y^2 = 25 the slope at (3, 4) is -3/4.
    worst.printed(calculus::implicit_derivative(6.0, 8.0).ok_or("refused")?, -0.75, 10);
    // The equation said to have no solution for y has one, exact at x = 0.7.
    let x: f64 = 0.7;
    let y = ((1.0 - x * x).asin() / x).cbrt();
    worst.printed((x * y.powi(3)).sin() + x * x - 1.0, 0.0, 14);
    worst.done()
}

fn implicit_edges() -> Measured {
    for (f_x, f_y) in [(1.0, 0.0), (0.0, 0.0), (f64::NAN, 1.0), (1.0, f64::NAN), (1.0, f64::INFINITY)] {
        let slope = calculus::implicit_derivative(f_x, f_y);
        require(slope.is_none(), || format!("{slope:?} from the slopes {f_x} and {f_y}"))?;
    }
    Ok(0.0)
}
