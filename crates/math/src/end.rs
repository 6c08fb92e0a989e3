use serde::{Deserialize, Serialize};

/// How a transition ends: the two flags of Gymnasium in one byte, so that no combination is ambiguous.
///
/// `terminated` means that the next state is worth nothing; `truncated` means that a limit cut the episode and the next
/// state keeps its value. Both end the episode (`done`), and so cut the chain of an advantage estimator.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[repr(u8)]
pub enum End {
    /// The episode goes on.
    #[default]
    No = 0,
    /// The Markov chain reached a terminal state: no bootstrap.
    Terminated = 1,
    /// A limit outside the Markov chain cut the episode: bootstrap from the true next state.
    Truncated = 2,
}

impl End {
    /// From Gymnasium's two flags; where both are set, termination wins (the true value of the next state is zero).
    #[inline]
    pub fn from_flags(terminated: bool, truncated: bool) -> Self {
        match (terminated, truncated) {
            (true, _) => End::Terminated,
            (false, true) => End::Truncated,
            (false, false) => End::No,
        }
    }

    /// Whether the next state is worth nothing.
    #[inline(always)]
    pub fn terminated(self) -> bool {
        self as u8 == End::Terminated as u8
    }

    /// Whether a limit cut the episode.
    #[inline(always)]
    pub fn truncated(self) -> bool {
        self as u8 == End::Truncated as u8
    }

    /// Whether the episode is over, for either reason.
    #[inline(always)]
    pub fn done(self) -> bool {
        self as u8 != End::No as u8
    }
}
