//! Conjugate gradients (`cg.solve`): a linear system `A x = b` with a symmetric positive definite matrix that is known only by
//! its products with vectors.

use rederive_math::{Real, multiversion};

/// When to stop.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limits {
    /// At most so many products with the matrix.
    pub max_iterations: usize,
    /// Stops once `|b - A x| <= tolerance |b|`, in the residual that the recurrence carries; or once that is nothing but rounding,
    /// 4e-6 of `|b|` in `f32` and 7e-15 in `f64`: directions made of it lead into the null space of a singular matrix.
    pub tolerance: f64,
}

/// Why it stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// The residual is small enough.
    Converged,
    /// The iterations are used up.
    Limit,
    /// A direction without positive curvature: `p^T A p <= 0`, or so close to 0 that it is rounding, or not finite. The matrix is
    /// singular or indefinite there, and `x` is what it was before that direction.
    Breakdown,
}

/// What [`ConjugateGradient::solve`] did.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Solved {
    /// Steps taken.
    pub iterations: usize,
    /// `|b - A x| / |b|` in the residual that the recurrence carries; 0 for `b = 0`.
    pub residual: f64,
    /// Why it stopped.
    pub stop: Stop,
}

/// Room for solving systems of one size; nothing is allocated in a solve.
#[derive(Clone, Debug)]
pub struct ConjugateGradient<F> {
    residual: Vec<F>,
    direction: Vec<F>,
    image: Vec<F>,
}

/// Curvature along a direction below this many roundings of the largest seen is taken for 0, and so is a residual below as many of
/// the right-hand side.
const ROUNDINGS: f64 = 32.0;

impl<F: Real> ConjugateGradient<F> {
    /// Room for systems of `n` equations.
    pub fn new(n: usize) -> Self {
        ConjugateGradient {
            residual: vec![F::zero(); n],
            direction: vec![F::zero(); n],
            image: vec![F::zero(); n],
        }
    }

    // ANCHOR: cg.solve
    /// Solves `A x = b` from `x = 0`.
    ///
    /// ID `cg.solve`: from `r = b` and `p = z = M^-1 r`, each iteration takes the step `alpha = r^T z / p^T A p` along `p`,
    /// `x += alpha p`, `r -= alpha A p`, and the next direction `p = z + beta p` with
    /// `beta = r^T z (new) / r^T z (old)`, conjugate to all before. Without rounding it ends after at most `n` steps, and the
    /// error in the norm of `A` never grows. `M = I` unless `inverse_diagonal`, the diagonal of `M^-1` with entries `> 0`, is
    /// given (Jacobi's preconditioner). It solves a linear system and nothing more: it is no optimiser of policies.
    ///
    /// A singular matrix is no problem as long as `b` lies in its range: the solution of least norm is found. Otherwise there is no
    /// solution; the iterates drift along the null space, and as soon as nothing but rounding is left of a direction's
    /// curvature the solve ends with the `x` of before, which still has `b^T x >= 0`.
    /// Inner products are summed in `f64` whatever `F` is, in one fixed order.
    ///
    /// Shapes: `b`, `x` and `inverse_diagonal` are `[n]`; `matrix(v, out)` overwrites `out` `[n]` with `A v`; `x` is overwritten.
    ///
    /// # Panics
    /// If a length is not `n`.
    ///
    /// Source: M. R. Hestenes, E. Stiefel (1952), Methods of Conjugate Gradients for Solving Linear Systems.
    pub fn solve(
        &mut self,
        mut matrix: impl FnMut(&[F], &mut [F]),
        b: &[F],
        inverse_diagonal: Option<&[F]>,
        limits: Limits,
        x: &mut [F],
    ) -> Solved {
        let Self { residual: r, direction: p, image } = self;
        assert_eq!(b.len(), r.len(), "b against the system");
        assert_eq!(x.len(), r.len(), "x against the system");
        if let Some(m) = inverse_diagonal {
            assert_eq!(m.len(), r.len(), "inverse_diagonal against the system");
        }
        x.fill(F::zero());
        r.copy_from_slice(b);
        let norm_b = dot(b, b).sqrt();
        let rounding = ROUNDINGS * Real::to_f64(F::epsilon());
        let enough = limits.tolerance.max(rounding) * norm_b;
        let done = |iterations, norm: f64, stop| {
            let residual = if norm_b == 0.0 { 0.0 } else { norm / norm_b };
            Solved { iterations, residual, stop }
        };
        if norm_b == 0.0 {
            return done(0, 0.0, Stop::Converged);
        }
        precondition(inverse_diagonal, r, p);
        let mut r_z = dot(r, p);
        let (mut norm, mut largest) = (norm_b, 0.0f64);
        for iteration in 0..limits.max_iterations {
            matrix(p, image);
            let (curvature, p_p) = (dot(p, image), dot(p, p));
            largest = largest.max(curvature / p_p);
            let alpha = r_z / curvature;
            // Written so that NaN is refused, and infinity too.
            let positive = curvature > rounding * largest * p_p;
            if !(positive && alpha > 0.0 && F::of(alpha).is_finite()) {
                return done(iteration, norm, Stop::Breakdown);
            }
            add_scaled(x, F::of(alpha), p);
            add_scaled(r, F::of(-alpha), image);
            norm = dot(r, r).sqrt();
            if norm <= enough {
                return done(iteration + 1, norm, Stop::Converged);
            }
            // The image is free until the next product: z = M^-1 r.
            precondition(inverse_diagonal, r, image);
            let before = std::mem::replace(&mut r_z, dot(r, image));
            scale_and_add(p, F::of(r_z / before), image);
        }
        done(limits.max_iterations, norm, Stop::Limit)
    }
    // ANCHOR_END: cg.solve
}

/// `z = M^-1 r`.
fn precondition<F: Real>(inverse_diagonal: Option<&[F]>, r: &[F], z: &mut [F]) {
    match inverse_diagonal {
        Some(m) => {
            for ((z, &r), &m) in z.iter_mut().zip(r).zip(m) {
                *z = m * r;
            }
        }
        None => z.copy_from_slice(r),
    }
}

multiversion! {
    /// `a^T b`, summed in `f64` in 32 partial sums: vectorised, and in one fixed order.
    ///
    /// # Panics
    /// If the lengths differ.
    pub fn dot<F: Real>(a: &[F], b: &[F]) -> f64 {
        assert_eq!(a.len(), b.len(), "a against b");
        let mut partial = [0.0f64; 32];
        let (whole_a, whole_b) = (a.chunks_exact(32), b.chunks_exact(32));
        let rest = whole_a.remainder().iter().zip(whole_b.remainder());
        for (a, b) in whole_a.zip(whole_b) {
            for ((s, a), b) in partial.iter_mut().zip(a).zip(b) {
                *s += Real::to_f64(*a) * Real::to_f64(*b);
            }
        }
        for (s, (a, b)) in partial.iter_mut().zip(rest) {
            *s += Real::to_f64(*a) * Real::to_f64(*b);
        }
        let mut total = 0.0;
        for s in partial {
            total += s;
        }
        total
    }
}

multiversion! {
    /// `x += factor y`
    fn add_scaled<F: Real>(x: &mut [F], factor: F, y: &[F]) {
        for (x, &y) in x.iter_mut().zip(y) {
            *x += factor * y;
        }
    }
}

multiversion! {
    /// `x = factor x + y`
    fn scale_and_add<F: Real>(x: &mut [F], factor: F, y: &[F]) {
        for (x, &y) in x.iter_mut().zip(y) {
            *x = factor * *x + y;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { max_iterations: 10, tolerance: 1e-12 };

    fn diagonal(d: &'static [f64]) -> impl FnMut(&[f64], &mut [f64]) {
        move |v, out| {
            for ((o, v), d) in out.iter_mut().zip(v).zip(d) {
                *o = v * d;
            }
        }
    }

    #[test]
    fn the_identity_takes_one_step_and_zero_none() {
        let mut cg = ConjugateGradient::new(3);
        let mut x = [9.0; 3];
        let solved = cg.solve(diagonal(&[1.0; 3]), &[1.0, -2.0, 3.0], None, LIMITS, &mut x);
        assert_eq!((x, solved.iterations, solved.stop), ([1.0, -2.0, 3.0], 1, Stop::Converged));
        let solved = cg.solve(diagonal(&[1.0; 3]), &[0.0; 3], None, LIMITS, &mut x);
        assert_eq!((x, solved.iterations, solved.residual), ([0.0; 3], 0, 0.0));
    }

    #[test]
    fn its_own_diagonal_makes_any_diagonal_matrix_one_step() {
        let mut cg = ConjugateGradient::new(3);
        let mut x = [0.0; 3];
        let inverse = [0.5, 0.01, 10.0];
        let solved =
            cg.solve(diagonal(&[2.0, 100.0, 0.1]), &[2.0, 50.0, 1.0], Some(&inverse), LIMITS, &mut x);
        assert_eq!((solved.iterations, solved.stop), (1, Stop::Converged));
        for (x, want) in x.iter().zip([1.0, 0.5, 10.0]) {
            assert!((x - want).abs() < 1e-14, "{x} against {want}");
        }
    }

    #[test]
    fn no_positive_curvature_leaves_the_solution_as_it_was() {
        let mut cg = ConjugateGradient::new(2);
        let mut x = [0.0; 2];
        for bad in [&[0.0, 0.0], &[-1.0, -2.0], &[f64::NAN, 1.0], &[f64::INFINITY, 1.0]] {
            let solved = cg.solve(diagonal(bad), &[1.0, 1.0], None, LIMITS, &mut x);
            assert_eq!((x, solved.iterations, solved.stop), ([0.0; 2], 0, Stop::Breakdown), "{bad:?}");
            assert_eq!(solved.residual, 1.0);
        }
        // Singular, but b lies in the range: the solution of least norm.
        let solved = cg.solve(diagonal(&[4.0, 0.0]), &[2.0, 0.0], None, LIMITS, &mut x);
        assert_eq!((x, solved.stop), ([0.5, 0.0], Stop::Converged));
        // Outside the range: the part in the null space never goes away, and the iterates stay finite.
        let solved = cg.solve(diagonal(&[4.0, 0.0]), &[2.0, 1.0], None, LIMITS, &mut x);
        assert!(solved.stop == Stop::Breakdown && x.iter().all(|x| x.is_finite()), "{solved:?} {x:?}");
    }

    #[test]
    fn single_precision_sums_in_double() {
        let mut a = vec![1e-4f32; 100_001];
        a[0] = 1e4;
        let want = 1e8 + 100_000.0 * f64::from(1e-4f32).powi(2);
        assert!((dot(&a, &a) - want).abs() < 1e-4, "{}", dot(&a, &a));
    }
}
