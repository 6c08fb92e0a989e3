//! Preferences between pairs: the Bradley-Terry model and its maximum likelihood.

use crate::special::{sigmoid, softplus};
use crate::{Real, multiversion};
use ndarray::{Array2, ArrayRef2};
use std::error::Error;
use std::fmt;

/// The probability that one player beats another.
///
/// ID `prob.bradley-terry`: `Pr(i > j) = sigma(u_i - u_j) = e^u_i / (e^u_i + e^u_j)` for abilities `u`. Only
/// differences of abilities matter, the two orders add up to 1, and logits add up along a chain of players.
///
/// Source: R. A. Bradley, M. E. Terry (1952), Rank Analysis of Incomplete Block Designs.
// ANCHOR: prob.bradley-terry
#[inline]
pub fn win_probability<F: Real>(ability: F, other: F) -> F {
    sigmoid(ability - other)
}
// ANCHOR_END: prob.bradley-terry

/// Why abilities cannot be fitted.
#[derive(Clone, Debug, PartialEq)]
pub enum Unfit {
    /// A number of wins is negative, infinite or no number, or a player beat itself.
    Wins {
        /// The row.
        winner: usize,
        /// The column.
        loser: usize,
        /// The entry.
        value: f64,
    },
    /// These players never beat any of the others, who beat them: their abilities fall without end.
    Diverges {
        /// In ascending order.
        players: Vec<usize>,
    },
    /// These players and the others never met: nothing compares their abilities.
    Apart {
        /// In ascending order.
        players: Vec<usize>,
    },
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unfit::Wins { winner, loser, value } => {
                write!(f, "player {winner} has {value} wins over player {loser}")
            }
            Unfit::Diverges { players } => {
                write!(
                    f,
                    "players {players:?} never beat any of the others: their abilities have no finite maximum"
                )
            }
            Unfit::Apart { players } => {
                write!(f, "players {players:?} never met the others: their abilities cannot be compared")
            }
        }
    }
}

impl Error for Unfit {}

/// The abilities that [`Games::fit`] found.
#[derive(Clone, Debug, PartialEq)]
pub struct Fit<F> {
    /// Per player, with mean 0.
    pub ability: Vec<F>,
    /// The largest entry of the gradient of the negative log-likelihood, by size.
    pub gradient: F,
    /// MM steps made.
    pub steps: usize,
    /// Whether the gradient fell below the tolerance.
    pub converged: bool,
}

/// Who beat whom how often: `wins[i, j]` is the number of wins of player `i` over player `j`.
#[derive(Clone, Debug, PartialEq)]
pub struct Games<F> {
    wins: Array2<F>,
    /// Wins of each player.
    won: Vec<F>,
    /// Games between each two players, symmetric.
    played: Array2<F>,
}

impl<F: Real> Games<F> {
    /// Takes the table of wins `[n, n]`; numbers need not be whole.
    ///
    /// # Errors
    /// [`Unfit::Wins`].
    ///
    /// # Panics
    /// If the table is not square.
    pub fn new(wins: &ArrayRef2<F>) -> Result<Self, Unfit> {
        let (rows, columns) = wins.dim();
        assert!(rows == columns, "wins has {rows} rows but {columns} columns");
        for ((winner, loser), &w) in wins.indexed_iter() {
            let valid = w >= F::zero() && w.is_finite() && (winner != loser || w == F::zero());
            if !valid {
                return Err(Unfit::Wins { winner, loser, value: Real::to_f64(w) });
            }
        }
        let won = wins.rows().into_iter().map(|row| row.sum()).collect();
        let played = Array2::from_shape_fn((rows, rows), |(i, j)| wins[[i, j]] + wins[[j, i]]);
        Ok(Games { wins: wins.to_owned(), won, played })
    }

    /// The number of players.
    pub fn players(&self) -> usize {
        self.won.len()
    }

    #[track_caller]
    fn check(&self, name: &str, x: &[F]) {
        let n = self.players();
        assert!(x.len() == n, "there are {n} players but {name} has {} entries", x.len());
    }

    /// The abilities of largest likelihood, by MM steps from equal ones until no entry of the gradient exceeds
    /// `tolerance` (expected less actual wins of a player), or `max_steps` are made.
    ///
    /// ID `prob.bt-mle`: a finite maximum exists and is unique up to a shift exactly if the graph of wins is strongly
    /// connected, that is, if from every player to every other there is a chain of wins.
    ///
    /// # Errors
    /// [`Unfit::Diverges`] or [`Unfit::Apart`] if that graph is not.
    ///
    /// Source: D. R. Hunter (2004), MM Algorithms for Generalized Bradley-Terry Models.
    pub fn fit(&self, tolerance: F, max_steps: usize) -> Result<Fit<F>, Unfit> {
        self.connected()?;
        let n = self.players();
        let mut strength = vec![F::one(); n];
        let mut next = strength.clone();
        let (mut gradient, mut steps) = (F::zero(), 0);
        let mut converged = n == 0;
        while !converged {
            gradient = self.mm_step(&strength, &mut next);
            converged = gradient <= tolerance;
            if converged || steps == max_steps {
                break;
            }
            // Only ratios of strengths matter: keep their mean at 1.
            let scale = F::of(n as f64) / next.iter().copied().sum::<F>();
            next.iter_mut().for_each(|x| *x *= scale);
            std::mem::swap(&mut strength, &mut next);
            steps += 1;
        }
        let mut ability: Vec<F> = strength.iter().map(|x| x.ln()).collect();
        let mean = ability.iter().copied().sum::<F>() / F::of(n.max(1) as f64);
        ability.iter_mut().for_each(|u| *u -= mean);
        Ok(Fit { ability, gradient, steps, converged })
    }

    /// Whether chains of wins lead from every player to every other.
    fn connected(&self) -> Result<(), Unfit> {
        let n = self.players();
        let beats = |winner: usize, loser: usize| self.wins[[winner, loser]] > F::zero();
        // Enough: the first player reaches everybody, and everybody the first player.
        let all = |reached: Vec<bool>| reached.into_iter().all(|x| x);
        if n == 0 || all(reachable(n, 0, beats)) && all(reachable(n, 0, |loser, winner| beats(winner, loser)))
        {
            return Ok(());
        }
        let mut apart = None;
        for start in 0..n {
            // Nobody in here ever beat anybody outside.
            let inside = reachable(n, start, beats);
            let players: Vec<usize> = (0..n).filter(|&i| inside[i]).collect();
            if (0..n).any(|i| !inside[i] && players.iter().any(|&inner| beats(i, inner))) {
                return Err(Unfit::Diverges { players });
            }
            if players.len() < n {
                apart = apart.or(Some(players));
            }
        }
        apart.map_or(Ok(()), |players| Err(Unfit::Apart { players }))
    }
}

/// Which of `n` nodes a path of `edge`s leads to from `start`.
fn reachable(n: usize, start: usize, edge: impl Fn(usize, usize) -> bool) -> Vec<bool> {
    let mut reached = vec![false; n];
    reached[start] = true;
    let mut open = vec![start];
    while let Some(from) = open.pop() {
        for (to, reached) in reached.iter_mut().enumerate() {
            if !*reached && edge(from, to) {
                *reached = true;
                open.push(to);
            }
        }
    }
    reached
}

// ANCHOR: prob.bt-mle
impl<F: Real> Games<F> {
    /// The negative log-likelihood of abilities `[n]`.
    ///
    /// ID `prob.bt-mle`: `NLL = -sum_ij w_ij log sigma(u_i - u_j)`.
    ///
    /// # Panics
    /// If the length is not the number of players.
    ///
    /// Source: R. A. Bradley, M. E. Terry (1952), Rank Analysis of Incomplete Block Designs.
    pub fn nll(&self, ability: &[F]) -> F {
        self.check("ability", ability);
        let terms = self.wins.indexed_iter().filter(|(_, w)| **w > F::zero());
        terms.map(|((i, j), &w)| w * softplus(ability[j] - ability[i])).sum()
    }

    /// The gradient of [`nll`](Self::nll), written to `out` `[n]`.
    ///
    /// ID `prob.bt-mle`: `dNLL/du_i = -sum_j (w_ij - n_ij sigma(u_i - u_j))`, expected less actual wins. The entries
    /// add up to 0.
    ///
    /// # Panics
    /// If a length is not the number of players.
    ///
    /// Source: R. A. Bradley, M. E. Terry (1952), Rank Analysis of Incomplete Block Designs.
    pub fn d_nll(&self, ability: &[F], out: &mut [F]) {
        self.check("ability", ability);
        self.check("out", out);
        for (i, (out, played)) in out.iter_mut().zip(self.played.rows()).enumerate() {
            let expected =
                played.iter().zip(ability).map(|(&n, &u)| n * win_probability(ability[i], u)).sum::<F>();
            *out = expected - self.won[i];
        }
    }

    /// One step of minorisation and maximisation on strengths `lambda = e^u` `[n]`, written to `out` `[n]`; never
    /// lowers the likelihood. Returns the largest entry of the gradient at `strength`, by size.
    ///
    /// ID `prob.bt-mle`: `lambda_i <- sum_j w_ij / sum_j (n_ij / (lambda_i + lambda_j))`. A player without a win falls
    /// to 0, an ability of minus infinity; [`fit`](Self::fit) reports that beforehand.
    ///
    /// # Panics
    /// If a length is not the number of players.
    ///
    /// Source: D. R. Hunter (2004), MM Algorithms for Generalized Bradley-Terry Models.
    pub fn mm_step(&self, strength: &[F], out: &mut [F]) -> F {
        self.check("strength", strength);
        self.check("out", out);
        let played = self.played.as_slice().expect("built in row-major order");
        if played.is_empty() { F::zero() } else { mm_rows(&self.won, played, strength, out) }
    }
}

multiversion! {
    /// [`Games::mm_step`] on all rows of the table of games.
    fn mm_rows<F: Real>(won: &[F], played: &[F], strength: &[F], out: &mut [F]) -> F {
        let mut gradient = F::zero();
        for (i, played) in played.chunks_exact(won.len()).enumerate() {
            let per_strength = games_per_strength(played, strength, strength[i]);
            out[i] = if per_strength > F::zero() { won[i] / per_strength } else { strength[i] };
            gradient = gradient.max((strength[i] * per_strength - won[i]).abs());
        }
        gradient
    }
}

/// `sum_j n_j / (lambda_j + lambda)`, in sixteen partial sums that fill the vector registers.
#[inline(always)]
fn games_per_strength<F: Real>(played: &[F], strength: &[F], own: F) -> F {
    let mut partial = [F::zero(); 16];
    let (played, rest) = played.as_chunks::<16>();
    let (strength, rest_of_strength) = strength.as_chunks::<16>();
    for (played, strength) in played.iter().zip(strength) {
        for ((sum, &n), &other) in partial.iter_mut().zip(played).zip(strength) {
            *sum += n / (other + own);
        }
    }
    for ((sum, &n), &other) in partial.iter_mut().zip(rest).zip(rest_of_strength) {
        *sum += n / (other + own);
    }
    partial.into_iter().sum()
}
// ANCHOR_END: prob.bt-mle

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    #[test]
    fn extreme_differences_are_sure() {
        assert_eq!((win_probability(400.0f64, -400.0), win_probability(-400.0f64, 400.0)), (1.0, 0.0));
        assert_eq!(win_probability(1e5f32, 0.0), 1.0);
        assert!((win_probability(1.0f64, 0.0) + win_probability(0.0f64, 1.0) - 1.0).abs() < 1e-15);
    }

    #[test]
    fn two_players_split_by_their_wins() {
        let games = Games::new(&array![[0.0f64, 3.0], [1.0, 0.0]]).unwrap();
        let fit = games.fit(1e-12, 1000).unwrap();
        assert!(fit.converged && (fit.ability[0] - 0.5 * 3.0f64.ln()).abs() < 1e-12, "{fit:?}");
        assert!((fit.ability[0] + fit.ability[1]).abs() < 1e-15);
    }

    #[test]
    fn likelihood_rises_until_the_gradient_is_gone() {
        let wins =
            array![[0.0f64, 3.0, 1.0, 2.0], [1.0, 0.0, 4.0, 1.0], [2.0, 1.0, 0.0, 5.0], [1.0, 1.0, 1.0, 0.0]];
        let games = Games::new(&wins).unwrap();
        let (mut strength, mut next, mut nll) = (vec![1.0f64; 4], vec![0.0; 4], f64::INFINITY);
        for _ in 0..200 {
            let ability: Vec<f64> = strength.iter().map(|x| x.ln()).collect();
            let now = games.nll(&ability);
            assert!(now <= nll + 1e-12);
            nll = now;
            games.mm_step(&strength, &mut next);
            strength.copy_from_slice(&next);
        }
        let fit = games.fit(1e-9, 10_000).unwrap();
        let mut gradient = vec![f64::NAN; 4];
        games.d_nll(&fit.ability, &mut gradient);
        assert!(fit.converged && gradient.iter().all(|g| g.abs() < 1e-8), "{fit:?} {gradient:?}");
        assert!((games.nll(&fit.ability) - nll).abs() < 1e-9);
        let rough = games.fit(0.0, 3).unwrap();
        assert!(!rough.converged && rough.steps == 3 && rough.gradient > 0.0);
    }

    #[test]
    fn abilities_without_a_maximum_are_reported() {
        let fault = |wins: Array2<f64>| Games::new(&wins).and_then(|games| games.fit(1e-9, 100)).unwrap_err();
        let no_wins = fault(array![[0.0f64, 2.0, 1.0], [1.0, 0.0, 1.0], [0.0, 0.0, 0.0]]);
        assert_eq!(no_wins, Unfit::Diverges { players: vec![2] });
        let unbeaten = fault(array![[0.0f64, 2.0, 1.0], [0.0, 0.0, 1.0], [0.0, 1.0, 0.0]]);
        assert_eq!(unbeaten, Unfit::Diverges { players: vec![1, 2] });
        let pair =
            array![[0.0f64, 1.0, 0.0, 0.0], [1.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 1.0], [0.0, 0.0, 1.0, 0.0]];
        assert_eq!(fault(pair), Unfit::Apart { players: vec![0, 1] });
        let negative = fault(array![[0.0f64, -1.0], [1.0, 0.0]]);
        assert_eq!(negative, Unfit::Wins { winner: 0, loser: 1, value: -1.0 });
        assert!(matches!(fault(array![[1.0f64]]), Unfit::Wins { .. }));
    }

    #[test]
    fn a_player_without_a_win_falls_to_nothing() {
        let games = Games::new(&array![[0.0f32, 2.0], [0.0, 0.0]]).unwrap();
        let mut out = [f32::NAN; 2];
        games.mm_step(&[1.0, 1.0], &mut out);
        assert_eq!(out, [2.0, 0.0]);
    }
}
