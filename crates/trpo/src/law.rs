use ndarray::ArrayRef2;
use rederive_math::{Real, Stream, beta, categorical, fisher, gaussian};

/// The policy that collected a batch, row by row: what a step is measured against.
///
/// The rows are a network's outputs: logits, means, or the pre-activations of both shapes of Beta laws (all of `a`, then all of `b`).
/// A Gaussian has log standard deviations `[D]` besides, parameters of their own that all rows share.
#[derive(Clone, Debug)]
pub enum Law<F> {
    /// Categorical over logits.
    Categorical {
        /// A.
        num_actions: usize,
        /// `[B, A]`
        log_prob: Vec<F>,
        /// `[B, A]`
        probability: Vec<F>,
    },
    /// Diagonal Gaussian.
    Gaussian {
        /// `[B, D]`
        mean: Vec<F>,
        /// `[D]`
        log_std: Vec<F>,
    },
    /// Independent Beta laws.
    Beta {
        /// D.
        dims: usize,
        /// Shapes `[B, 2 D]`.
        shape: Vec<F>,
        /// Slopes of the shapes in the outputs `[B, 2 D]`.
        slope: Vec<F>,
        /// Fisher matrices of the shapes `[B, D]`: at `aa`, `ab` and `bb`.
        information: Vec<[F; 3]>,
    },
}

impl<F: Real> Law<F> {
    /// Categorical policies over `num_actions` actions.
    pub fn categorical(num_actions: usize) -> Self {
        Law::Categorical { num_actions, log_prob: Vec::new(), probability: Vec::new() }
    }

    /// Gaussian policies.
    pub fn gaussian() -> Self {
        Law::Gaussian { mean: Vec::new(), log_std: Vec::new() }
    }

    /// Beta policies with `dims` dimensions.
    pub fn beta(dims: usize) -> Self {
        Law::Beta { dims, shape: Vec::new(), slope: Vec::new(), information: Vec::new() }
    }

    /// Values per row of outputs.
    fn columns(&self) -> usize {
        match self {
            Law::Categorical { num_actions, .. } => *num_actions,
            Law::Gaussian { log_std, .. } => log_std.len(),
            Law::Beta { dims, .. } => 2 * dims,
        }
    }

    /// How many parameters lie outside of the network.
    pub fn own_params(&self) -> usize {
        match self {
            Law::Gaussian { log_std, .. } => log_std.len(),
            _ => 0,
        }
    }

    /// Takes the distributions with these `outputs` `[B, A]` and, for a Gaussian, `log_std` `[D]`. Allocates only if there never were
    /// as many.
    ///
    /// # Panics
    /// If a shape does not fit.
    pub fn set(&mut self, outputs: &[F], log_std: &[F]) {
        match self {
            Law::Categorical { num_actions, log_prob, probability } => {
                check_rows(outputs, *num_actions);
                log_prob.resize(outputs.len(), F::zero());
                for (to, logits) in
                    log_prob.chunks_exact_mut(*num_actions).zip(outputs.chunks_exact(*num_actions))
                {
                    categorical::log_softmax(logits, to);
                }
                probability.clear();
                probability.extend(log_prob.iter().map(|l| l.exp()));
            }
            Law::Gaussian { mean, log_std: own } => {
                check_rows(outputs, log_std.len());
                mean.clear();
                mean.extend_from_slice(outputs);
                own.clear();
                own.extend_from_slice(log_std);
            }
            Law::Beta { dims, shape, slope, information } => {
                check_rows(outputs, 2 * *dims);
                shape.clear();
                shape.extend(outputs.iter().map(|&z| beta::shape(z)));
                slope.clear();
                slope.extend(outputs.iter().map(|&z| beta::d_shape(z)));
                information.clear();
                for row in shape.chunks_exact(2 * *dims) {
                    let (a, b) = row.split_at(*dims);
                    information.extend(a.iter().zip(b).map(|(&a, &b)| {
                        let f = beta::fisher(a, b);
                        [f[0][0], f[0][1], f[1][1]]
                    }));
                }
            }
        }
    }

    /// `t <- scale F_s t` for every row of `tangent` `[B, A]`, with `F_s` the Fisher matrix in the outputs, and
    /// `own <- scale B F own` for the parameters outside of the network.
    ///
    /// # Panics
    /// If a shape does not fit.
    pub fn fisher(&self, scale: F, tangent: &mut [F], own: &mut [F]) {
        match self {
            Law::Categorical { num_actions, probability, .. } => {
                fisher::softmax_product(probability, *num_actions, scale, tangent);
            }
            Law::Gaussian { mean, log_std } => {
                assert_eq!(mean.len(), tangent.len(), "the batch of the law against tangent");
                fisher::gaussian_product(log_std, scale, tangent, own);
            }
            Law::Beta { dims, slope, information, .. } => {
                assert_eq!(slope.len(), tangent.len(), "the batch of the law against tangent");
                let rows = tangent.chunks_exact_mut(2 * dims).zip(slope.chunks_exact(2 * dims));
                for ((t, slope), f) in rows.zip(information.chunks_exact(*dims)) {
                    for (d, &[aa, ab, bb]) in f.iter().enumerate() {
                        let e = dims + d;
                        let (t_a, t_b) = (scale * slope[d] * t[d], scale * slope[e] * t[e]);
                        t[d] = slope[d] * (aa * t_a + ab * t_b);
                        t[e] = slope[e] * (ab * t_a + bb * t_b);
                    }
                }
            }
        }
    }

    /// The mean of `KL(this || other)` over the batch, nats, for the policy with these `outputs` and `log_std`.
    ///
    /// # Panics
    /// If a shape does not fit.
    pub fn mean_kl(&self, outputs: &[F], log_std: &[F]) -> f64 {
        let columns = self.columns();
        let rows = outputs.chunks_exact(columns);
        let count = rows.len() as f64;
        let total: f64 = match self {
            Law::Categorical { log_prob, probability, .. } => {
                assert_eq!(log_prob.len(), outputs.len(), "the batch of the law against outputs");
                let old = log_prob.chunks_exact(columns).zip(probability.chunks_exact(columns));
                rows.zip(old).map(|(z, (log_p, p))| Real::to_f64(categorical_kl(p, log_p, z))).sum()
            }
            Law::Gaussian { mean, log_std: old } => {
                assert_eq!(mean.len(), outputs.len(), "the batch of the law against outputs");
                let kl = |(m, x): (&[F], &[F])| Real::to_f64(gaussian::kl(m, old, x, log_std));
                mean.chunks_exact(columns).zip(rows).map(kl).sum()
            }
            Law::Beta { dims, shape, .. } => {
                assert_eq!(shape.len(), outputs.len(), "the batch of the law against outputs");
                let row = |(old, z): (&[F], &[F])| {
                    let kl = |d: usize| {
                        let (a, b) = (beta::shape(z[d]), beta::shape(z[dims + d]));
                        Real::to_f64(beta::kl(&[old[d]], &[old[dims + d]], &[a], &[b]))
                    };
                    (0..*dims).map(kl).sum::<f64>()
                };
                shape.chunks_exact(columns).zip(rows).map(row).sum()
            }
        };
        total / count
    }

    /// The score of a freshly drawn action in each of the rows from `first` on, at the outputs (`d_out`, overwritten) and at the
    /// parameters outside of the network (`d_own`, added to).
    ///
    /// # Panics
    /// If a shape does not fit.
    pub fn scores(&self, first: usize, rng: &mut Stream, d_out: &mut ArrayRef2<F>, d_own: &mut [F]) {
        let columns = self.columns();
        for (i, mut row) in d_out.rows_mut().into_iter().enumerate() {
            let row = row.as_slice_mut().expect("rows are contiguous");
            let at = (first + i) * columns;
            match self {
                Law::Categorical { probability, .. } => {
                    let p = &probability[at..at + columns];
                    for (d, &p) in row.iter_mut().zip(p) {
                        *d = -p;
                    }
                    row[draw(p, F::of(rng.unit()))] += F::one();
                }
                Law::Gaussian { log_std, .. } => {
                    for ((d, &s), own) in row.iter_mut().zip(log_std).zip(&mut *d_own) {
                        let z = F::of(rng.normal());
                        *d = z * (-s).exp();
                        *own += z * z - F::one();
                    }
                }
                Law::Beta { dims, slope, information, .. } => {
                    // Any vector with mean zero and this covariance serves; a Gaussian one by the Cholesky factor of 2 x 2.
                    let f = &information[at / 2..at / 2 + dims];
                    for (d, &[aa, ab, bb]) in f.iter().enumerate() {
                        let e = dims + d;
                        let (z, y) = (F::of(rng.normal()), F::of(rng.normal()));
                        let root = aa.sqrt();
                        let rest = (bb - ab * ab / aa).max(F::zero()).sqrt();
                        row[d] = slope[at + d] * root * z;
                        row[e] = slope[at + e] * (ab / root * z + rest * y);
                    }
                }
            }
        }
    }
}

fn check_rows<F>(outputs: &[F], columns: usize) {
    assert!(
        columns > 0 && outputs.len().is_multiple_of(columns),
        "{} outputs are no rows of {columns}",
        outputs.len()
    );
}

/// `KL(p || softmax(z))`.
fn categorical_kl<F: Real>(p: &[F], log_p: &[F], z: &[F]) -> F {
    let max = z.iter().fold(F::neg_infinity(), |m, &z| if m > z { m } else { z });
    let lse = max + z.iter().map(|&z| (z - max).vexp()).sum::<F>().vln();
    let term = |((&p, &l), &z): ((&F, &F), &F)| if p == F::zero() { F::zero() } else { p * (l - (z - lse)) };
    p.iter().zip(log_p).zip(z).map(term).sum()
}

/// The action whose slice of the probabilities contains `u`.
fn draw<F: Real>(probability: &[F], u: F) -> usize {
    let mut left = u;
    for (a, &p) in probability.iter().enumerate() {
        left -= p;
        if left < F::zero() {
            return a;
        }
    }
    // Only rounding leads here.
    categorical::mode(probability)
}
