use crate::generators::{gamma, normal, normals, simplex, unit};
use crate::measure::{EXACT, TOL_FD, TOL_ID, TOL_INEQ, TOL_SOLVE, TOL_STAT, Worst, require};
use crate::oracles::{gradient, identity_minus, solve};
use crate::{Check, Measured, fixed, panics, random};
use ndarray::{Array1, Array2, array};
use proptest::collection::vec;
use proptest::prelude::*;
use rederive_math::linear::{self, NoFixedPoint};
use rederive_math::{Real, Stream, monte_carlo, td};

/// Every check of this family.
pub fn checks() -> Vec<Check> {
    vec![
        random("fa.linear-q", "definition", TOL_ID, (normals(0..=40), normals(40)), definition),
        random(
            "fa.linear-q",
            "gradient",
            TOL_FD,
            (normals(1..=12), normals(12), normal(), 0.01..=1.0f64),
            q_gradient,
        ),
        random("fa.linear-q", "tabular", EXACT, stream_case(), |case| tabular::<f64>(&case)),
        random("fa.linear-q", "tabular-f32", EXACT, stream_case(), |case| tabular::<f32>(&case)),
        random("fa.linear-q", "edges", TOL_ID, (normals(2..=9), normals(9), normal(), unit()), q_edges),
        random("fa.feature-product", "definition", TOL_ID, product_case(), product_definition),
        random("fa.feature-product", "gradient", TOL_FD, product_case(), product_gradient),
        random("fa.feature-product", "group-means", TOL_ID, ratings(), group_means),
        random("fa.feature-product", "shared", TOL_ID, product_case(), shared_error),
        fixed("fa.feature-product", "closed", TOL_STAT, |_| product_closed()),
        random("fa.semi-gradient", "frozen", TOL_FD, error_case(), frozen_target),
        random("fa.semi-gradient", "recomputed", TOL_FD, error_case(), recomputed_target),
        random("fa.semi-gradient", "terminal", EXACT, error_case(), terminal_coincide),
        fixed("fa.semi-gradient", "closed", TOL_STAT, |_| gradient_closed()),
        random("fa.td-fixed-point", "zero", TOL_SOLVE, chain_case(), expected_step_is_zero),
        random("fa.td-fixed-point", "projection", TOL_SOLVE, chain_case(), projected_backup),
        random("fa.td-fixed-point", "bound", TOL_INEQ, chain_case(), distance_bound),
        random("fa.td-fixed-point", "definite", EXACT, chain_case(), definite),
        random("fa.td-fixed-point", "table", TOL_SOLVE, chain_case(), table_features),
        random("fa.td-fixed-point", "refusal", EXACT, chain_case(), dependent_features),
        fixed("fa.td-fixed-point", "closed", TOL_STAT, |_| fixed_point_closed()),
        random(
            "fa.offpolicy-divergence",
            "definition",
            TOL_ID,
            (unit(), unit(), normal(), 0..=60usize),
            divergence,
        ),
        random(
            "fa.offpolicy-divergence",
            "full-gradient",
            TOL_ID,
            (unit(), unit(), normal(), 0..=60usize),
            full_gradient,
        ),
        fixed("fa.offpolicy-divergence", "closed", TOL_STAT, |_| divergence_closed()),
    ]
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn definition((features, weights): (Vec<f64>, Vec<f64>)) -> Measured {
    let weights = &weights[..features.len()];
    let mut worst = Worst::new();
    worst.same(linear::value(&features, weights), dot(&features, weights));
    let longer = [weights, &[0.0]].concat();
    worst.holds(panics(|| linear::value(&features, &longer))).done()
}

/// A step is one against the gradient of `(y - Q)^2 / 2` with `y` held fixed.
fn q_gradient((features, weights, y, alpha): (Vec<f64>, Vec<f64>, f64, f64)) -> Measured {
    let weights = weights[..features.len()].to_vec();
    let slope = gradient(|w| 0.5 * (y - dot(&features, w)).powi(2), &weights);
    let mut after = weights.clone();
    linear::step(&mut after, &features, y - linear::value(&features, &weights), alpha);
    let moved: Vec<f64> = after.iter().zip(&weights).map(|(a, b)| (b - a) / alpha).collect();
    let mut worst = Worst::new();
    worst.gradient(&moved, &slope).done()
}

#[derive(Clone, Debug)]
struct StreamCase {
    states: usize,
    actions: usize,
    gamma: f64,
    alpha: f64,
    seed: u64,
}

fn stream_case() -> impl Strategy<Value = StreamCase> + Clone + Send + Sync {
    (1..=5usize, 1..=4usize, unit(), unit(), any::<u64>())
        .prop_map(|(states, actions, gamma, alpha, seed)| StreamCase { states, actions, gamma, alpha, seed })
}

/// One-hot features make the linear learner a table, bit for bit but for the sign of zero.
fn tabular<F: Real>(case: &StreamCase) -> Measured {
    let StreamCase { states, actions, seed, .. } = *case;
    let (gamma, alpha) = (F::of(case.gamma), F::of(case.alpha));
    let mut stream = Stream::new(seed, "linear-check", 0);
    let pairs = states * actions;
    let mut table: Vec<F> = (0..pairs).map(|_| F::of(stream.normal())).collect();
    let mut weights = table.clone();
    let one_hot =
        |pair: usize| (0..pairs).map(|i| if i == pair { F::one() } else { F::zero() }).collect::<Vec<F>>();
    for step in 0..60 {
        let mut below = |n: usize| stream.below(n as u32) as usize;
        let (s, a, next, ends) = (below(states), below(actions), below(states), below(5) == 0);
        let reward = F::of(stream.normal());
        td::q_update(&mut table, actions, (s, a), reward, (!ends).then_some(next), alpha, gamma);
        let features = one_hot(s * actions + a);
        let next_features = Array2::from_shape_fn((actions, pairs), |(b, i)| {
            if i == next * actions + b { F::one() } else { F::zero() }
        });
        let led_to = (!ends).then_some(&*next_features);
        let (delta, _) = linear::q_error(&weights, &features, reward, led_to, gamma);
        linear::step(&mut weights, &features, delta, alpha);
        require(weights == table, || format!("step {step}: {weights:?} and {table:?}"))?;
    }
    Ok(0.0)
}

fn q_edges((mut features, weights, delta, alpha): (Vec<f64>, Vec<f64>, f64, f64)) -> Measured {
    let n = features.len();
    // No feature: nothing moves.
    let mut still = weights[..n].to_vec();
    linear::step(&mut still, &vec![0.0; n], delta, alpha);
    require(still == weights[..n], || "no feature is present, but a weight moved".to_owned())?;
    // A feature twice: both weights move alike, and the value by their sum.
    features[1] = features[0];
    let mut after = weights[..n].to_vec();
    linear::step(&mut after, &features, delta, alpha);
    let moved = linear::value(&features, &after) - linear::value(&features, &weights[..n]);
    let square: f64 = features.iter().map(|x| x * x).sum();
    let mut worst = Worst::new();
    worst.same(after[0] - weights[0], after[1] - weights[1]);
    worst.scaled(moved, alpha * delta * square, dot(&features, &after).abs()).done()
}

#[derive(Clone, Debug)]
struct Product {
    user: Vec<f64>,
    film: Vec<f64>,
    weights: Array2<f64>,
    rating: f64,
    alpha: f64,
}

/// Features that are present (1) or not.
fn multi_hot(n: usize) -> impl Strategy<Value = Vec<f64>> + Clone + Send + Sync {
    vec(prop_oneof![Just(0.0), Just(1.0)], 1..=n)
}

fn product_case() -> impl Strategy<Value = Product> + Clone + Send + Sync {
    (multi_hot(4), multi_hot(5), normals(20), 1..=5u32, 0.01..=1.0f64).prop_map(
        |(user, film, weights, rating, alpha)| Product {
            weights: Array2::from_shape_fn((user.len(), film.len()), |(i, j)| weights[i * 5 + j]),
            user,
            film,
            rating: f64::from(rating),
            alpha,
        },
    )
}

impl Product {
    /// `vec(u m^T)`.
    fn outer(&self) -> Vec<f64> {
        self.user.iter().flat_map(|u| self.film.iter().map(move |m| u * m)).collect()
    }

    /// One step towards the rating.
    fn update(&self) -> Array2<f64> {
        let mut weights = self.weights.clone();
        let delta = self.rating - linear::product_value(&self.user, &weights, &self.film);
        linear::product_step(&mut weights, &self.user, &self.film, delta, self.alpha);
        weights
    }
}

/// The same as a linear learner on the outer product of the features.
fn product_definition(case: Product) -> Measured {
    let outer = case.outer();
    let mut flat: Vec<f64> = case.weights.iter().copied().collect();
    let value = linear::value(&outer, &flat);
    let mut worst = Worst::new();
    worst.same(linear::product_value(&case.user, &case.weights, &case.film), value);
    linear::step(&mut flat, &outer, case.rating - value, case.alpha);
    worst.all(&case.update(), &flat);
    let wide = Array2::zeros((case.user.len(), case.film.len() + 1));
    worst.holds(panics(|| linear::product_value(&case.user, &wide, &case.film))).done()
}

fn product_gradient(case: Product) -> Measured {
    let films = case.film.len();
    let loss = |w: &[f64]| {
        let mut q = 0.0;
        for (i, u) in case.user.iter().enumerate() {
            for (j, m) in case.film.iter().enumerate() {
                q += u * w[i * films + j] * m;
            }
        }
        0.5 * (case.rating - q).powi(2)
    };
    let slope = gradient(loss, &case.weights.iter().copied().collect::<Vec<f64>>());
    let moved: Vec<f64> = (&case.weights - &case.update()).iter().map(|x| x / case.alpha).collect();
    Worst::new().gradient(&moved, &slope).done()
}

/// Several active pairs share the error: the value moves by `alpha delta` times their number.
fn shared_error(case: Product) -> Measured {
    let after = case.update();
    let value = |w: &Array2<f64>| linear::product_value(&case.user, w, &case.film);
    let active = case.outer().iter().sum::<f64>();
    let mut worst = Worst::new();
    let moved = case.alpha * active * (case.rating - value(&case.weights));
    worst.same(value(&after) - value(&case.weights), moved);
    for ((i, j), &w) in after.indexed_iter() {
        let present = case.user[i] * case.film[j] != 0.0;
        worst.holds(present || w == case.weights[[i, j]]);
    }
    worst.done()
}

/// Ratings from 1 to 5 of a group of users for a group of films.
fn ratings() -> impl Strategy<Value = Vec<(usize, usize, u32)>> + Clone + Send + Sync {
    vec((0..3usize, 0..3usize, 1..=5u32), 0..=30)
}

/// One-hot features and steps of `1 / n` counted per pair: the mean rating of each group, and 0 where none was given.
fn group_means(ratings: Vec<(usize, usize, u32)>) -> Measured {
    let one_hot = |i: usize| (0..3).map(|k| f64::from(u8::from(k == i))).collect::<Vec<f64>>();
    let mut weights = Array2::zeros((3, 3));
    let mut count = Array2::<u64>::zeros((3, 3));
    for &(user, film, rating) in &ratings {
        count[[user, film]] += 1;
        let (u, m) = (one_hot(user), one_hot(film));
        let delta = f64::from(rating) - linear::product_value(&u, &weights, &m);
        linear::product_step(&mut weights, &u, &m, delta, monte_carlo::step_size(count[[user, film]], 1.0));
    }
    let mut worst = Worst::new();
    for ((user, film), &w) in weights.indexed_iter() {
        let of_pair: Vec<f64> =
            ratings.iter().filter(|r| (r.0, r.1) == (user, film)).map(|r| f64::from(r.2)).collect();
        let mean = if of_pair.is_empty() { 0.0 } else { of_pair.iter().sum::<f64>() / of_pair.len() as f64 };
        worst.same(w, mean);
    }
    worst.done()
}

fn product_closed() -> Measured {
    // Rating 5, ten steps of 0.1 from 0. The increment "average less rating" would run to -1 and on, the wrong way.
    let mut weights = array![[0.0]];
    let mut printed = 0.0;
    for _ in 0..10 {
        let delta = 5.0 - linear::product_value(&[1.0], &weights, &[1.0]);
        linear::product_step(&mut weights, &[1.0], &[1.0], delta, 0.1);
        printed += 0.1 * (4.0 - 5.0);
    }
    let mut worst = Worst::new();
    worst.printed(weights[[0, 0]], 3.2566, 4).printed(printed, -1.0, 9).done()
}

#[derive(Clone, Debug)]
struct ErrorCase {
    weights: Vec<f64>,
    features: Vec<f64>,
    next: Array2<f64>,
    reward: f64,
    gamma: f64,
}

/// Draws whose two best next actions are closer than differences can tell are redrawn.
fn error_case() -> impl Strategy<Value = ErrorCase> + Clone + Send + Sync {
    let draw = (normals(1..=6), normals(6), 1..=4usize, normals(24), normal(), unit());
    draw.prop_map(|(weights, features, actions, next, reward, gamma)| {
        let n = weights.len();
        ErrorCase {
            features: features[..n].to_vec(),
            next: Array2::from_shape_fn((actions, n), |(a, i)| next[a * 6 + i]),
            weights,
            reward,
            gamma,
        }
    })
    .prop_filter("the maximum has one place", |case| {
        let mut q: Vec<f64> = case.next.rows().into_iter().map(|x| dot(&x.to_vec(), &case.weights)).collect();
        q.sort_by(f64::total_cmp);
        q.len() < 2 || q[q.len() - 1] - q[q.len() - 2] > 1e-3
    })
}

impl ErrorCase {
    fn largest(&self, weights: &[f64]) -> f64 {
        let q = self.next.rows().into_iter().map(|x| dot(&x.to_vec(), weights));
        q.fold(f64::NEG_INFINITY, f64::max)
    }

    fn error(&self) -> (f64, usize) {
        let (delta, best) =
            linear::q_error(&self.weights, &self.features, self.reward, Some(&self.next), self.gamma);
        (delta, best.expect("the transition did not terminate"))
    }
}

fn frozen_target(case: ErrorCase) -> Measured {
    let (delta, _) = case.error();
    let y = case.reward + case.gamma * case.largest(&case.weights);
    let mut out = vec![f64::NAN; case.weights.len()];
    linear::semi_gradient(delta, &case.features, &mut out);
    let mut worst = Worst::new();
    worst.gradient(&out, &gradient(|w| 0.5 * (y - dot(&case.features, w)).powi(2), &case.weights));
    // Without the half it is twice as long.
    let double: Vec<f64> = out.iter().map(|x| 2.0 * x).collect();
    worst.gradient(&double, &gradient(|w| (y - dot(&case.features, w)).powi(2), &case.weights));
    worst.done()
}

fn recomputed_target(case: ErrorCase) -> Measured {
    let (delta, best) = case.error();
    let mut out = vec![f64::NAN; case.weights.len()];
    linear::full_gradient(delta, &case.features, Some(&case.next.row(best).to_vec()), case.gamma, &mut out);
    let loss =
        |w: &[f64]| 0.5 * (case.reward + case.gamma * case.largest(w) - dot(&case.features, w)).powi(2);
    Worst::new().gradient(&out, &gradient(loss, &case.weights)).done()
}

fn terminal_coincide(case: ErrorCase) -> Measured {
    let (delta, best) = linear::q_error(&case.weights, &case.features, case.reward, None, case.gamma);
    require(best.is_none(), || "an action is chosen after the end".to_owned())?;
    let expected = case.reward - linear::value(&case.features, &case.weights);
    require(delta == expected, || format!("{delta} instead of {expected}"))?;
    let (mut semi, mut full) = (vec![f64::NAN; case.weights.len()], vec![f64::NAN; case.weights.len()]);
    linear::semi_gradient(delta, &case.features, &mut semi);
    linear::full_gradient(delta, &case.features, None, case.gamma, &mut full);
    require(semi == full, || format!("{semi:?} and {full:?} at the end"))?;
    Ok(0.0)
}

fn gradient_closed() -> Measured {
    let (delta, _) = linear::q_error(&[1.0], &[1.0], 1.0, Some(&array![[2.0]]), 0.9);
    let (mut semi, mut full) = ([f64::NAN], [f64::NAN]);
    linear::semi_gradient(delta, &[1.0], &mut semi);
    linear::full_gradient(delta, &[1.0], Some(&[2.0]), 0.9, &mut full);
    let mut worst = Worst::new();
    worst.printed(delta, 1.8, 12).printed(semi[0], -1.8, 12).printed(full[0], 1.44, 12);
    worst.holds(semi[0] * full[0] < 0.0).done()
}

#[derive(Clone, Debug)]
struct Chain {
    kernel: Array2<f64>,
    reward: Array1<f64>,
    features: Array2<f64>,
    gamma: f64,
}

/// A chain with positive transition probabilities, and features that are far from depending on each other.
fn chain_case() -> impl Strategy<Value = Chain> + Clone + Send + Sync {
    let draw = (2..=6usize, 1..=6usize, vec(simplex(6), 6), normals(6), normals(36), gamma(0.99));
    draw.prop_map(|(states, width, rows, reward, features, gamma)| {
        let width = width.min(states);
        let kernel = Array2::from_shape_fn((states, states), |(s, k)| {
            rows[s][k] / rows[s][..states].iter().sum::<f64>()
        });
        Chain {
            kernel,
            reward: Array1::from(reward[..states].to_vec()),
            features: Array2::from_shape_fn((states, width), |(s, i)| {
                // A dominant block keeps the columns apart, whatever else is drawn.
                0.5 * features[s * 6 + i] + if s == i { 3.0 } else { 0.0 }
            }),
            gamma,
        }
    })
}

impl Chain {
    fn rows(&self) -> Vec<Vec<f64>> {
        self.kernel.rows().into_iter().map(|row| row.to_vec()).collect()
    }

    /// The stationary law, by squaring the kernel until nothing changes.
    fn law(&self) -> Vec<f64> {
        let mut power = self.kernel.clone();
        for _ in 0..60 {
            power = power.dot(&power);
            for mut row in power.rows_mut() {
                let sum = row.sum();
                row /= sum;
            }
        }
        power.row(0).to_vec()
    }

    fn value(&self) -> Vec<f64> {
        solve(identity_minus(self.gamma, &self.rows()), self.reward.to_vec())
    }

    /// The values that the features allow nearest to `target`, in the norm weighted by `law`.
    fn project(&self, law: &[f64], target: &[f64]) -> Vec<f64> {
        let (states, width) = self.features.dim();
        let phi = |s: usize, i: usize| self.features[[s, i]];
        let gram = (0..width)
            .map(|i| (0..width).map(|j| (0..states).map(|s| law[s] * phi(s, i) * phi(s, j)).sum()).collect())
            .collect();
        let right = (0..width).map(|i| (0..states).map(|s| law[s] * phi(s, i) * target[s]).sum()).collect();
        let w = solve(gram, right);
        (0..states).map(|s| (0..width).map(|i| phi(s, i) * w[i]).sum()).collect()
    }

    fn fixed_point(&self) -> Result<linear::FixedPoint<f64>, String> {
        linear::td_fixed_point(&self.kernel, &self.reward, &self.features, self.gamma)
            .map_err(|refusal| format!("refused: {refusal}"))
    }
}

fn expected_step_is_zero(case: Chain) -> Measured {
    let found = case.fixed_point()?;
    let law = Array1::from(case.law());
    let mut worst = Worst::new();
    for (found, law) in found.law.iter().zip(&law) {
        worst.same(*found, *law);
    }
    let step =
        linear::expected_step(&case.kernel, &case.reward, &law, &case.features, &found.weights, case.gamma);
    for x in step {
        worst.solved(x, 0.0, case.gamma);
    }
    // Elsewhere the step is the sum over transitions of single updates.
    let width = case.features.ncols();
    let weights = Array1::from_shape_fn(width, |i| (i as f64 - 1.3).sin());
    let mean = linear::expected_step(&case.kernel, &case.reward, &law, &case.features, &weights, case.gamma);
    let mut listed = vec![0.0; width];
    for ((s, k), prob) in case.kernel.indexed_iter() {
        let (here, there) =
            (case.features.row(s).to_vec(), case.features.row(k).insert_axis(ndarray::Axis(0)));
        let there = there.to_owned();
        let w = weights.to_vec();
        let (delta, _) = linear::q_error(&w, &here, case.reward[s], Some(&there), case.gamma);
        linear::step(&mut listed, &here, delta, law[s] * prob);
    }
    worst.all(&mean, &listed).done()
}

fn projected_backup(case: Chain) -> Measured {
    let found = case.fixed_point()?;
    let value = case.features.dot(&found.weights);
    let backup = case.kernel.dot(&value) * case.gamma + &case.reward;
    let mut worst = Worst::new();
    for (v, p) in value.iter().zip(case.project(&case.law(), &backup.to_vec())) {
        worst.solved(*v, p, case.gamma);
    }
    worst.done()
}

fn distance_bound(case: Chain) -> Measured {
    let (law, exact) = (case.law(), case.value());
    let value = case.features.dot(&case.fixed_point()?.weights);
    let norm = |x: &mut dyn Iterator<Item = f64>| x.zip(&law).map(|(x, d)| d * x * x).sum::<f64>().sqrt();
    let distance = norm(&mut value.iter().zip(&exact).map(|(v, e)| v - e));
    let best = norm(&mut case.project(&law, &exact).iter().zip(&exact).map(|(v, e)| v - e));
    let scale = exact.iter().fold(1.0, |m: f64, v| m.max(v.abs()));
    let mut worst = Worst::new();
    worst.at_most(best / scale, distance / scale);
    // The right side in full, and through the function that states the factor.
    worst.at_most(distance / scale, best / (1.0 - case.gamma.powi(2)).sqrt() / scale);
    worst.same(linear::distance_factor(case.gamma), (1.0 - case.gamma.powi(2)).powf(-0.5)).done()
}

/// All leading minors of the symmetric part are positive: Cholesky's factors exist.
fn definite(case: Chain) -> Measured {
    let m = case.fixed_point()?.matrix;
    let n = m.nrows();
    let mut factor = Array2::<f64>::zeros((n, n));
    for i in 0..n {
        for j in 0..=i {
            let known: f64 = (0..j).map(|k| factor[[i, k]] * factor[[j, k]]).sum();
            let left = 0.5 * (m[[i, j]] + m[[j, i]]) - known;
            if i == j {
                require(left > 0.0, || format!("pivot {i} is {left}"))?;
                factor[[i, i]] = left.sqrt();
            } else {
                factor[[i, j]] = left / factor[[j, j]];
            }
        }
    }
    Ok(0.0)
}

fn table_features(case: Chain) -> Measured {
    let exact = case.value();
    let table = Chain { features: Array2::eye(case.reward.len()), ..case };
    let mut worst = Worst::new();
    for (w, v) in table.fixed_point()?.weights.iter().zip(exact) {
        worst.solved(*w, v, table.gamma);
    }
    worst.done()
}

fn dependent_features(case: Chain) -> Measured {
    let (states, width) = case.features.dim();
    let twice = Array2::from_shape_fn((states, width + 1), |(s, i)| {
        if i < width { case.features[[s, i]] } else { -2.0 * case.features[[s, width - 1]] }
    });
    let refusals = [
        linear::td_fixed_point(&case.kernel, &case.reward, &twice, case.gamma).err(),
        linear::td_fixed_point(&case.kernel, &case.reward, &case.features, 1.0).err(),
        linear::td_fixed_point(&case.kernel, &case.reward, &case.features, f64::NAN).err(),
        linear::td_fixed_point(&Array2::eye(states), &case.reward, &case.features, case.gamma).err(),
    ];
    let expected =
        [NoFixedPoint::Dependent, NoFixedPoint::Discount, NoFixedPoint::Discount, NoFixedPoint::NotErgodic];
    require(refusals == expected.map(Some), || format!("refused as {refusals:?}"))?;
    Ok(0.0)
}

fn fixed_point_closed() -> Measured {
    let (kernel, features) = (array![[0.0, 1.0], [0.01, 0.99]], array![[1.0], [2.0]]);
    let found =
        linear::td_fixed_point(&kernel, &array![1.0, 1.0], &features, 0.9).map_err(|e| e.to_string())?;
    let mut worst = Worst::new();
    worst.printed(found.matrix[[0, 0]], 0.405_941, 6);
    // With uniform weights instead of the stationary law the step would run away.
    let uniform = array![0.5, 0.5];
    let step =
        |w: f64| linear::expected_step(&kernel, &array![0.0, 0.0], &uniform, &features, &array![w], 0.9)[0];
    worst.printed(step(-1.0), -0.191, 3).done()
}

/// Updates of the first of two states with features 1 and 2 from `w`, along the semi-gradient or the full one.
fn two_states(alpha: f64, gamma: f64, w: f64, steps: usize, full: bool) -> f64 {
    let mut weights = [w];
    for _ in 0..steps {
        let (delta, _) = linear::q_error(&weights, &[1.0], 0.0, Some(&array![[2.0]]), gamma);
        if full {
            let mut slope = [f64::NAN];
            linear::full_gradient(delta, &[1.0], Some(&[2.0]), gamma, &mut slope);
            weights[0] -= alpha * slope[0];
        } else {
            linear::step(&mut weights, &[1.0], delta, alpha);
        }
    }
    weights[0]
}

fn divergence((alpha, gamma, w, steps): (f64, f64, f64, usize)) -> Measured {
    let learned = two_states(alpha, gamma, w, steps, false);
    let mut worst = Worst::new();
    worst.same(learned, w * (1.0 + alpha * (2.0 * gamma - 1.0)).powi(steps as i32));
    worst.same(learned, w * linear::divergence_factor(alpha, gamma).powi(steps as i32));
    // For every step size, above one half away from zero, below towards it.
    let factor = linear::divergence_factor(alpha, gamma);
    let right_way = alpha < 1e-9
        || (gamma - 0.5).abs() < 1e-9
        || if gamma > 0.5 { factor > 1.0 } else { (0.0..1.0).contains(&factor) };
    worst.holds(right_way).done()
}

fn full_gradient((alpha, gamma, w, steps): (f64, f64, f64, usize)) -> Measured {
    let learned = two_states(alpha, gamma, w, steps, true);
    let factor = linear::full_gradient_factor(alpha, gamma);
    let mut worst = Worst::new();
    worst.same(learned, w * (1.0 - alpha * (2.0 * gamma - 1.0).powi(2)).powi(steps as i32));
    worst.same(learned, w * factor.powi(steps as i32)).at_most(learned.abs(), w.abs()).done()
}

fn divergence_closed() -> Measured {
    let mut worst = Worst::new();
    worst.printed(two_states(0.1, 0.9, 1.0, 100, false), 2199.76, 2);
    worst.printed(linear::divergence_factor(0.1, 0.9f64).powi(100), 2199.76, 2);
    worst.printed(two_states(0.1, 0.5, 1.0, 100, false), 1.0, 12);
    worst.holds(two_states(0.1, 0.4, 1.0, 100, false) < 0.14);
    worst.holds(two_states(0.1, 0.9, 1.0, 100, true) < 0.002).done()
}
