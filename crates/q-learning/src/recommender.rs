//! A recommender: how much a user likes a film, linear in the products of their features.

use crate::ratings::{Rating, Ratings};
use ndarray::{Array2, Axis};
use rederive_env::Stream;
use rederive_math::linear;
use rederive_train::{ConfigError, Diverged, range};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;

/// The hyper-parameters of the recommender.
///
/// | Name | Default | Range | Meaning |
/// |---|---|---|---|
/// | `alpha` | 0.02 | (0, 1\] | step size, as a share of the rating's error that one step takes away |
/// | `epochs` | 50 | 1..=100000 | passes over the ratings, each in another order |
/// | `held_out` | 0.2 | \[0, 1\] | share of the ratings that is not learnt from but tested on; at least one is, and one is learnt from |
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RecommenderConfig {
    /// Step size.
    pub alpha: f64,
    /// Passes over the ratings.
    pub epochs: usize,
    /// Share of the ratings to test on.
    pub held_out: f64,
}

impl Default for RecommenderConfig {
    fn default() -> Self {
        RecommenderConfig { alpha: 0.02, epochs: 50, held_out: 0.2 }
    }
}

/// Root mean squared errors on ratings that were not learnt from.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Errors {
    /// Of the recommender.
    pub recommender: f64,
    /// Of the mean rating of the same group: users with the same features about films with the same features, or of all
    /// ratings where the group has none.
    pub group_mean: f64,
    /// Of the mean of all ratings.
    pub mean: f64,
}

/// `Q_W(u, m) = u . W m` (`fa.feature-product`), learnt from ratings one by one.
///
/// Users and films have the constant feature 1 besides their own, so that `W` also holds what is liked by everybody and who
/// likes everything. Every feature is divided by its largest size.
#[derive(Clone, Debug)]
pub struct Recommender {
    weights: Array2<f64>,
    user: Array2<f64>,
    film: Array2<f64>,
    learnt: Vec<Rating>,
    tested: Vec<Rating>,
}

/// A column of ones, and the features divided by their largest size.
fn prepared(features: &Array2<f64>) -> Array2<f64> {
    let largest =
        features.map_axis(Axis(0), |column| column.iter().fold(0.0f64, |most, x| most.max(x.abs())));
    Array2::from_shape_fn((features.nrows(), 1 + features.ncols()), |(row, column)| match column {
        0 => 1.0,
        _ if largest[column - 1] > 0.0 => features[[row, column - 1]] / largest[column - 1],
        _ => 0.0,
    })
}

impl Recommender {
    /// Learns from all ratings but those held out, which `seed` chooses.
    ///
    /// # Errors
    /// A field out of range, or fewer than two ratings.
    pub fn new(config: &RecommenderConfig, ratings: &Ratings, seed: u64) -> Result<Self, ConfigError> {
        range::positive_share("alpha", config.alpha)?;
        range::share("held_out", config.held_out)?;
        range::count("epochs", config.epochs, 100_000)?;
        if ratings.ratings.len() < 2 {
            return Err(ConfigError::new("ratings", ratings.ratings.len(), "at least 2"));
        }
        let mut rng = Stream::new(seed, "recommender", 0);
        let mut order = ratings.ratings.clone();
        shuffle(&mut order, &mut rng);
        let held = (config.held_out * order.len() as f64).round() as usize;
        let learnt = order.split_off(held.clamp(1, order.len() - 1));
        let (user, film) = (prepared(&ratings.user_features), prepared(&ratings.film_features));
        let weights = Array2::zeros((user.ncols(), film.ncols()));
        let mut this = Recommender { weights, user, film, learnt, tested: order };
        let mut order = this.learnt.clone();
        for _ in 0..config.epochs {
            shuffle(&mut order, &mut rng);
            order.iter().for_each(|rating| this.learn(rating, config.alpha));
        }
        Ok(this)
    }

    /// Moves `W` by one rating. The step is divided by the squared size of the gradient `u m^T`, so that it takes the share
    /// `alpha` of the error away, however many features there are.
    fn learn(&mut self, &Rating { user, film, rating }: &Rating, alpha: f64) {
        let (u, m) = (self.user.row(user), self.film.row(film));
        let (u, m) = (u.as_slice().expect("row"), m.as_slice().expect("row"));
        let size = |x: &[f64]| x.iter().map(|x| x * x).sum::<f64>();
        let delta = rating - linear::product_value(u, &self.weights, m);
        linear::product_step(&mut self.weights, u, m, delta, alpha / (size(u) * size(m)));
    }

    /// The weights `[1 + user features, 1 + film features]`; row and column 0 belong to the constants.
    pub fn weights(&self) -> &Array2<f64> {
        &self.weights
    }

    /// How many ratings were learnt from, and how many are for the test.
    pub fn counts(&self) -> (usize, usize) {
        (self.learnt.len(), self.tested.len())
    }

    /// How much a user is expected to like a film.
    ///
    /// # Panics
    /// If there is no such user or film.
    pub fn predict(&self, user: usize, film: usize) -> f64 {
        let (u, m) = (self.user.row(user), self.film.row(film));
        linear::product_value(u.as_slice().expect("row"), &self.weights, m.as_slice().expect("row"))
    }

    /// Errors on the ratings held out.
    ///
    /// # Errors
    /// If a prediction is not finite: the ratings are too large.
    pub fn errors(&self) -> Result<Errors, Diverged> {
        // Groups by the bits of their features.
        let key = |r: &Rating| -> Vec<u64> {
            self.user.row(r.user).iter().chain(self.film.row(r.film)).map(|x| x.to_bits()).collect()
        };
        let mut groups: HashMap<Vec<u64>, (f64, u32)> = HashMap::new();
        for rating in &self.learnt {
            let (sum, count) = groups.entry(key(rating)).or_default();
            *sum += rating.rating;
            *count += 1;
        }
        let mean = self.learnt.iter().map(|r| r.rating).sum::<f64>() / self.learnt.len() as f64;
        let group = |r: &Rating| groups.get(&key(r)).map_or(mean, |(sum, count)| sum / f64::from(*count));
        let rmse = |predict: &dyn Fn(&Rating) -> f64| {
            let squares = self.tested.iter().map(|r| (r.rating - predict(r)).powi(2));
            (squares.sum::<f64>() / self.tested.len() as f64).sqrt()
        };
        let errors = Errors {
            recommender: rmse(&|r| self.predict(r.user, r.film)),
            group_mean: rmse(&group),
            mean: rmse(&|_| mean),
        };
        match [errors.recommender, errors.group_mean, errors.mean].iter().all(|x| x.is_finite()) {
            true => Ok(errors),
            false => Err(Diverged { update: 1, term: "error on the ratings held out".to_owned() }),
        }
    }

    /// The films that a user has not rated, with how much they are expected to like them, best first.
    ///
    /// # Panics
    /// If there is no such user.
    pub fn recommend(&self, user: usize) -> Vec<(usize, f64)> {
        let rated = self.learnt.iter().chain(&self.tested).filter(|r| r.user == user);
        let mut new = vec![true; self.film.nrows()];
        rated.for_each(|r| new[r.film] = false);
        let films = (0..new.len()).filter(|&film| new[film]);
        let mut list: Vec<(usize, f64)> = films.map(|film| (film, self.predict(user, film))).collect();
        list.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        list
    }
}

fn shuffle<T>(list: &mut [T], rng: &mut Stream) {
    for i in (1..list.len()).rev() {
        list.swap(i, rng.below(i as u32 + 1) as usize);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_beats_the_group_means_and_one_that_learns_nothing_does_not() {
        for seed in 1..=5 {
            let ratings = Ratings::generate(120, 60, seed);
            let errors =
                Recommender::new(&RecommenderConfig::default(), &ratings, seed).unwrap().errors().unwrap();
            assert!(errors.recommender < 0.9 * errors.group_mean, "{errors:?}");
            assert!(errors.recommender < 0.7 * errors.mean, "{errors:?}");
            // The control: the same ratings, but of other films.
            let mut mixed = ratings.clone();
            let films = mixed.films.len();
            mixed.ratings.iter_mut().enumerate().for_each(|(i, r)| r.film = (i * 7919) % films);
            let control =
                Recommender::new(&RecommenderConfig::default(), &mixed, seed).unwrap().errors().unwrap();
            assert!(control.recommender > 0.8 * control.mean, "{control:?}");
        }
    }

    #[test]
    fn recommendations_are_new_films_best_first() {
        let ratings = Ratings::generate(30, 20, 1);
        let recommender = Recommender::new(&RecommenderConfig::default(), &ratings, 1).unwrap();
        let list = recommender.recommend(4);
        let seen: Vec<usize> = ratings.ratings.iter().filter(|r| r.user == 4).map(|r| r.film).collect();
        assert_eq!(list.len() + seen.len(), 20);
        assert!(list.iter().all(|(film, _)| !seen.contains(film)));
        assert!(list.windows(2).all(|w| w[0].1 >= w[1].1));
    }

    #[test]
    fn fields_out_of_range_are_named() {
        let ratings = Ratings::generate(5, 5, 1);
        type Change = fn(&mut RecommenderConfig);
        let cases: [(&str, Change); 3] =
            [("alpha", |c| c.alpha = 0.0), ("epochs", |c| c.epochs = 0), ("held_out", |c| c.held_out = 1.5)];
        for (field, change) in cases {
            let mut config = RecommenderConfig::default();
            change(&mut config);
            assert_eq!(Recommender::new(&config, &ratings, 1).unwrap_err().field, field);
        }
    }
}
