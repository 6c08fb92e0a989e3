use std::fmt;

/// A list of moves that is no game.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MovesError {
    /// Which move, counted from 1.
    pub number: usize,
    /// What is wrong with it.
    pub problem: String,
}

impl fmt::Display for MovesError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "move {}: {}", self.number, self.problem)
    }
}

impl std::error::Error for MovesError {}

/// Makes the moves that `text` lists as digits from 1 to `places`, each of which is a `place`; `play` says why it refuses one.
pub(crate) fn follow(
    text: &str,
    place: &str,
    places: u32,
    mut play: impl FnMut(usize) -> Result<(), String>,
) -> Result<(), MovesError> {
    for (i, digit) in text.chars().enumerate() {
        let made = match digit.to_digit(10) {
            Some(number) if (1..=places).contains(&number) => play(number as usize - 1),
            _ => Err(format!("`{digit}` is no {place}: must be in 1..={places}")),
        };
        made.map_err(|problem| MovesError { number: i + 1, problem })?;
    }
    Ok(())
}
