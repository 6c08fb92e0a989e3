//! `rederive recommend`.

use super::args::RecommendArgs;
use super::report::{self, Failure, grouped};
use super::suggest::did_you_mean;
use console::Style;
use rederive::q_learning::{Ratings, Recommender, RecommenderConfig};
use rederive::train::FormatError;
use serde_json::json;

/// How many users and films are generated.
const GENERATED: (usize, usize) = (200, 80);

pub fn run(args: RecommendArgs) -> Result<(), Failure> {
    let ratings = match &args.ratings {
        Some(path) => Ratings::read(path)?,
        None => Ratings::generate(GENERATED.0, GENERATED.1, args.seed),
    };
    if let Some(path) = &args.out {
        std::fs::write(path, ratings.to_csv()).map_err(|e| FormatError::io(path, "can't be written", &e))?;
    }
    let user = match &args.user {
        None => 0,
        Some(name) => ratings.users.iter().position(|user| user == name).ok_or_else(|| {
            let near = did_you_mean(name, ratings.users.iter().map(String::as_str));
            Failure::Input(format!("--user {name}: nobody of this name has rated anything{near}"))
        })?,
    };
    let config = RecommenderConfig { alpha: args.alpha, epochs: args.epochs, held_out: args.held_out };
    let recommender = Recommender::new(&config, &ratings, args.seed)?;
    let errors = recommender.errors()?;
    let list = recommender.recommend(user);
    let list = &list[..list.len().min(args.top)];
    let (learnt, tested) = recommender.counts();
    if args.json {
        let films: Vec<_> = list
            .iter()
            .map(|&(film, rating)| json!({ "film": ratings.films[film], "rating": rating }))
            .collect();
        return report::json(&json!({
            "users": ratings.users.len(),
            "films": ratings.films.len(),
            "ratings": ratings.ratings.len(),
            "learnt": learnt,
            "tested": tested,
            "rmse": errors,
            "user": ratings.users[user],
            "recommended": films,
        }));
    }
    let bold = Style::new().bold();
    let mut text = format!(
        "{} ratings of {} films by {} users: learnt from {}, tested on {}\n",
        grouped(ratings.ratings.len() as u64),
        ratings.films.len(),
        ratings.users.len(),
        grouped(learnt as u64),
        grouped(tested as u64),
    );
    text += &format!(
        "error on the tested ratings: {} (mean of the same group {:.3}, mean of all {:.3})\n",
        bold.apply_to(format!("{:.3}", errors.recommender)),
        errors.group_mean,
        errors.mean
    );
    text += &match list.is_empty() {
        true => format!("{} has rated every film\n", ratings.users[user]),
        false => format!("for {}:\n", bold.apply_to(&ratings.users[user])),
    };
    for &(film, rating) in list {
        text += &format!("  {rating:5.2}  {}\n", ratings.films[film]);
    }
    report::stdout(&text)
}
