//! Monte Carlo tree search: UCT with playouts or a value function at the leaf, for one and two players.
