//! Ratings of films by users, with features of both: read from CSV, or generated.

use ndarray::Array2;
use rederive_env::Stream;
use rederive_train::FormatError;
use std::collections::HashMap;
use std::fmt::Write;
use std::path::Path;

/// One rating.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rating {
    /// Who rated, as an index into [`Ratings::users`].
    pub user: usize,
    /// What, as an index into [`Ratings::films`].
    pub film: usize,
    /// How much they liked it.
    pub rating: f64,
}

/// Ratings, with the features of users and films.
///
/// As CSV: a header, then one rating per line. The columns `user`, `film` and `rating` have to be there; every other column is a
/// number that describes the user, if its name begins with `user_`, or the film, if it begins with `film_`, and is the same in
/// all lines of that user or film. Without such a column users (or films) are told apart by their names alone, which then are
/// the features.
///
/// ```text
/// user,film,rating,user_young,user_old,film_drama,film_space
/// Ada,Stars,5,1,0,0,1
/// Ben,Stars,2,0,1,0,1
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Ratings {
    /// Names of the users, in the order in which they first occur.
    pub users: Vec<String>,
    /// Names of the films, in the order in which they first occur.
    pub films: Vec<String>,
    /// What describes a user.
    pub user_columns: Vec<String>,
    /// What describes a film.
    pub film_columns: Vec<String>,
    /// `[users, user_columns]`.
    pub user_features: Array2<f64>,
    /// `[films, film_columns]`.
    pub film_features: Array2<f64>,
    /// All ratings, in the order of the file.
    pub ratings: Vec<Rating>,
}

/// Users or films while a file is read.
#[derive(Default)]
struct Things {
    kind: &'static str,
    /// The columns of the features.
    columns: Vec<(usize, String)>,
    names: Vec<String>,
    index: HashMap<String, usize>,
    features: Vec<f64>,
    /// The line where each was first described.
    line: Vec<u64>,
}

impl Things {
    fn new(kind: &'static str, header: &[String]) -> Self {
        let prefix = format!("{kind}_");
        let columns = header.iter().enumerate().filter(|(_, name)| name.starts_with(&prefix));
        Things { kind, columns: columns.map(|(i, name)| (i, name.clone())).collect(), ..Default::default() }
    }

    /// The index of a name, which must have the same features as before.
    fn add(&mut self, name: &str, features: &[f64], row: &Row<'_>) -> Result<usize, FormatError> {
        if let Some(&known) = self.index.get(name) {
            let before = &self.features[known * features.len()..][..features.len()];
            if let Some(i) = (0..features.len()).find(|&i| before[i] != features[i]) {
                let (column, first) = (&self.columns[i].1, self.line[known]);
                let problem =
                    format!("is {} for {} {name}, but {} in line {first}", features[i], self.kind, before[i]);
                return Err(row.error(column, problem));
            }
            return Ok(known);
        }
        let new = self.names.len();
        self.names.push(name.to_owned());
        self.index.insert(name.to_owned(), new);
        self.features.extend(features);
        self.line.push(row.line);
        Ok(new)
    }

    /// Names, columns and features `[things, columns]`; without columns each name is a feature of its own.
    fn finish(self) -> (Vec<String>, Vec<String>, Array2<f64>) {
        let things = self.names.len();
        if self.columns.is_empty() {
            let columns = self.names.clone();
            return (self.names, columns, Array2::eye(things));
        }
        let columns: Vec<String> = self.columns.into_iter().map(|(_, name)| name).collect();
        let shape = (things, columns.len());
        let features = Array2::from_shape_vec(shape, self.features).expect("a row per thing");
        (self.names, columns, features)
    }
}

/// A line of the file.
struct Row<'a> {
    path: &'a Path,
    line: u64,
    cells: csv::StringRecord,
}

impl Row<'_> {
    fn error(&self, column: &str, problem: impl std::fmt::Display) -> FormatError {
        FormatError::at(self.path, format_args!("line {}, column {column}", self.line), problem)
    }

    fn text(&self, index: usize, column: &str) -> Result<&str, FormatError> {
        match self.cells.get(index) {
            Some(text) if !text.is_empty() => Ok(text),
            _ => Err(self.error(column, "is missing")),
        }
    }

    fn number(&self, index: usize, column: &str) -> Result<f64, FormatError> {
        let text = self.text(index, column)?;
        match text.parse::<f64>() {
            Ok(x) if x.is_finite() => Ok(x),
            Ok(_) => Err(self.error(column, format_args!("is {text}, must be finite"))),
            Err(_) => Err(self.error(column, format_args!("is `{text}`, which is not a number"))),
        }
    }
}

impl Ratings {
    /// Reads a CSV file.
    ///
    /// # Errors
    /// A file that can't be read or has no rating, a column that is missing, unknown or given twice, a cell that is missing
    /// or not a finite number, a line of another length than the header, a feature that changes between the lines of a user
    /// or film; with line and column.
    pub fn read(path: &Path) -> Result<Self, FormatError> {
        let text = std::fs::read_to_string(path).map_err(|e| FormatError::io(path, "can't be read", &e))?;
        Ratings::parse(path, &text)
    }

    /// Reads the text of a CSV file; `path` is for messages.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn parse(path: &Path, text: &str) -> Result<Self, FormatError> {
        if text.trim().is_empty() {
            return Err(FormatError::new(path, "is empty; a header with user, film and rating is needed"));
        }
        let mut reader =
            csv::ReaderBuilder::new().flexible(true).trim(csv::Trim::All).from_reader(text.as_bytes());
        let unreadable = |e: csv::Error| {
            let line = e.position().map_or(1, |position| position.line());
            FormatError::at(path, format_args!("line {line}"), e)
        };
        let header = reader.headers().map_err(unreadable)?;
        let header: Vec<String> =
            header.iter().map(|name| name.trim_start_matches('\u{feff}').to_owned()).collect();
        let column = |wanted: &str| {
            header.iter().position(|name| name == wanted).ok_or_else(|| {
                let found = header.join(", ");
                FormatError::at(path, "line 1", format_args!("has no column `{wanted}` (there are: {found})"))
            })
        };
        let (user_at, film_at, rating_at) = (column("user")?, column("film")?, column("rating")?);
        for (i, name) in header.iter().enumerate() {
            let known = ["user", "film", "rating"].contains(&name.as_str())
                || ["user_", "film_"].iter().any(|prefix| name.starts_with(prefix));
            let place = format!("line 1, column {}", i + 1);
            if !known {
                let rule = "a feature's name begins with `user_` or `film_`";
                return Err(FormatError::at(path, place, format_args!("`{name}` is unknown: {rule}")));
            }
            if header[..i].contains(name) {
                return Err(FormatError::at(path, place, format_args!("`{name}` is there twice")));
            }
        }
        let (mut users, mut films) = (Things::new("user", &header), Things::new("film", &header));
        let mut ratings = Vec::new();
        for record in reader.records() {
            let cells = record.map_err(unreadable)?;
            let line = cells.position().map_or(0, |position| position.line());
            let row = Row { path, line, cells };
            if row.cells.len() > header.len() {
                let problem = format!("has {} cells, the header {}", row.cells.len(), header.len());
                return Err(FormatError::at(path, format_args!("line {line}"), problem));
            }
            let features = |things: &Things| -> Result<Vec<f64>, FormatError> {
                things.columns.iter().map(|(i, name)| row.number(*i, name)).collect()
            };
            let (user_features, film_features) = (features(&users)?, features(&films)?);
            let user = users.add(row.text(user_at, "user")?, &user_features, &row)?;
            let film = films.add(row.text(film_at, "film")?, &film_features, &row)?;
            ratings.push(Rating { user, film, rating: row.number(rating_at, "rating")? });
        }
        if ratings.len() < 2 {
            let problem = format!(
                "has {} ratings; at least 2 are needed, one to learn from and one to test",
                ratings.len()
            );
            return Err(FormatError::new(path, problem));
        }
        let (users, user_columns, user_features) = users.finish();
        let (films, film_columns, film_features) = films.finish();
        Ok(Ratings { users, films, user_columns, film_columns, user_features, film_features, ratings })
    }

    /// Ratings of `films` films by `users` users, each of whom has seen about a third of them.
    ///
    /// A user is of one of three ages and may like reading, sport, games and travelling; a film is of one of four genres and
    /// may be long, old, loud and sad. Tastes are drawn once per pair of features, and a rating is their sum with normal
    /// noise, rounded to half points from 1 to 5.
    ///
    /// # Panics
    /// If there are fewer than two users or films.
    pub fn generate(users: usize, films: usize, seed: u64) -> Self {
        assert!(
            users >= 2 && films >= 2,
            "{users} users and {films} films: there must be at least two of each"
        );
        let mut rng = Stream::new(seed, "ratings", 0);
        let names = |list: &[&str]| list.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let user_columns = names(&[
            "user_young",
            "user_middle",
            "user_old",
            "user_reads",
            "user_sport",
            "user_games",
            "user_travels",
        ]);
        let film_columns = names(&[
            "film_drama",
            "film_comedy",
            "film_space",
            "film_crime",
            "film_long",
            "film_old",
            "film_loud",
            "film_sad",
        ]);
        let mut features = |things: usize, kinds: u32, columns: usize| {
            let mut features = Array2::zeros((things, columns));
            for mut row in features.rows_mut() {
                row[rng.below(kinds) as usize] = 1.0;
                for trait_ in kinds as usize..columns {
                    row[trait_] = if rng.unit() < 0.4 { 1.0 } else { 0.0 };
                }
            }
            features
        };
        let user_features = features(users, 3, user_columns.len());
        let film_features = features(films, 4, film_columns.len());
        let taste = Array2::from_shape_fn((user_columns.len(), film_columns.len()), |(u, f)| {
            // Age and genre decide; the rest adds or takes away.
            if u < 3 && f < 4 { rng.uniform(1.5, 4.5) } else { rng.uniform(-0.4, 0.4) }
        });
        let mut ratings = Vec::new();
        for user in 0..users {
            for film in 0..films {
                if rng.unit() < 1.0 / 3.0 || (user < 2 && film == user) {
                    let liked = user_features.row(user).dot(&taste).dot(&film_features.row(film));
                    let rating = ((2.0 * (liked + 0.4 * rng.normal())).round() / 2.0).clamp(1.0, 5.0);
                    ratings.push(Rating { user, film, rating });
                }
            }
        }
        let number = |kind: &str, n: usize| (1..=n).map(|i| format!("{kind}{i}")).collect();
        let (users, films) = (number("user", users), number("film", films));
        Ratings { users, films, user_columns, film_columns, user_features, film_features, ratings }
    }

    /// The ratings as a CSV file that [`read`](Self::read) takes. Names must be free of commas, quotes and line breaks.
    pub fn to_csv(&self) -> String {
        let mut text =
            format!("user,film,rating,{},{}\n", self.user_columns.join(","), self.film_columns.join(","));
        for Rating { user, film, rating } in &self.ratings {
            let _ = write!(text, "{},{},{rating}", self.users[*user], self.films[*film]);
            for x in self.user_features.row(*user).iter().chain(self.film_features.row(*film)) {
                let _ = write!(text, ",{x}");
            }
            text.push('\n');
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Ratings, String> {
        Ratings::parse(Path::new("r.csv"), text).map_err(|e| e.to_string())
    }

    #[test]
    fn generated_ratings_are_read_back() {
        let ratings = Ratings::generate(20, 40, 3);
        assert_eq!(ratings, Ratings::generate(20, 40, 3));
        assert_ne!(ratings, Ratings::generate(20, 40, 4));
        assert!(ratings.ratings.iter().all(|r| (1.0..=5.0).contains(&r.rating)));
        let read = parse(&ratings.to_csv()).unwrap();
        let rated = |r: &Ratings| -> Vec<(String, String, f64)> {
            r.ratings.iter().map(|x| (r.users[x.user].clone(), r.films[x.film].clone(), x.rating)).collect()
        };
        assert_eq!(rated(&read), rated(&ratings));
        let ada = read.users.iter().position(|user| *user == ratings.users[7]).unwrap();
        assert_eq!(read.user_features.row(ada), ratings.user_features.row(7));
    }

    #[test]
    fn names_are_the_features_where_there_are_no_others() {
        let ratings = parse("rating,film,user\n5,a,x\n3, b ,x\n4,a,y\n").unwrap();
        assert_eq!(
            (ratings.users, ratings.films),
            (vec!["x".into(), "y".into()], vec!["a".into(), "b".into()])
        );
        assert_eq!(ratings.user_features, Array2::<f64>::eye(2));
        assert_eq!(ratings.ratings[2], Rating { user: 1, film: 0, rating: 4.0 });
    }

    #[test]
    fn what_is_wrong_is_said_with_line_and_column() {
        let header = "user,film,rating,user_age\n";
        for (text, expected) in [
            ("", "r.csv: is empty"),
            ("user,film\na,b\n", "r.csv, line 1: has no column `rating` (there are: user, film)"),
            ("user,film,rating,age\n", "line 1, column 4: `age` is unknown"),
            ("user,film,rating,film\n", "line 1, column 4: `film` is there twice"),
            (header, "r.csv: has 0 ratings; at least 2"),
            ("user,film,rating,user_age\na,b,4,20\n", "r.csv: has 1 ratings; at least 2"),
            ("user,film,rating,user_age\na,b,4,20\na,c,,20\n", "r.csv, line 3, column rating: is missing"),
            ("user,film,rating,user_age\na,b,4,20\n,c,1,20\n", "line 3, column user: is missing"),
            ("user,film,rating,user_age\na,b,4\n", "line 2, column user_age: is missing"),
            (
                "user,film,rating,user_age\na,b,good,20\n",
                "line 2, column rating: is `good`, which is not a number",
            ),
            ("user,film,rating,user_age\na,b,4,inf\n", "line 2, column user_age: is inf, must be finite"),
            ("user,film,rating,user_age\na,b,4,20,7\n", "line 2: has 5 cells, the header 4"),
            (
                "user,film,rating,user_age\na,b,4,20\nx,b,4,30\na,c,4,21\n",
                "line 4, column user_age: is 21 for user a, but 20 in line 2",
            ),
        ] {
            let error = parse(text).expect_err(text);
            assert!(error.contains(expected), "{text:?}: {error}");
        }
    }
}
