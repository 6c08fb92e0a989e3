/// What a solver returns.
#[derive(Clone, Debug, PartialEq)]
pub struct Solution {
    /// The optimal value of every state `[S]`, off by at most [`error_bound`](Self::error_bound).
    pub value: Vec<f64>,
    /// The optimal value of every pair, under the same bound; `value` is its maximum over actions.
    pub q: Vec<f64>,
    /// In every state the first action that attains the maximum of `q` `[S]`.
    pub policy: Vec<u32>,
    /// How often the solver went round: sweeps, improvements, backups or trials, as its documentation says.
    pub iterations: u64,
    /// How many transitions were read, divided by how many the process has: the work in full sweeps.
    pub sweeps: f64,
    /// The largest Bellman error `|T V - V|` in the last sweep that the bound was taken from.
    pub residual: f64,
    /// How far from the optimal value any entry of `value` may be, at most. It is proven, with rounding and with rows that do
    /// not sum to 1 exactly counted in.
    pub error_bound: f64,
}
