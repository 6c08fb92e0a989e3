use crate::leaf::evaluate;
use crate::model::discount;
use crate::{Child, Config, Leaf, Model, NodeId, Playout, Tree, ucb};
use rederive_math::Stream;
use rederive_train::ConfigError;

/// UCT: a tree that grows where it pays, node by node.
///
/// Each simulation walks down by the scores of [`ucb`], adds the first state that is not in the tree, lets the leaf `L` say
/// what that state is worth, and carries the value back. The same seed and calls give the same tree.
///
/// Source: L. Kocsis, C. Szepesvári (2006), Bandit Based Monte-Carlo Planning.
pub struct Search<M: Model, L = Playout> {
    model: M,
    leaf: L,
    config: Config,
    rng: Stream,
    root: Option<M::State>,
    tree: Tree,
    /// The state of each node, where chance may decide which node an action leads to; empty otherwise.
    states: Vec<M::State>,
}

/// Room for this many actions is made beforehand at most; a tree that outgrows it grows in steps.
const MAX_RESERVED: usize = 1 << 23;

impl<M: Model> Search<M> {
    /// A search with random playouts.
    pub fn new(model: M, config: Config, seed: u64) -> Result<Self, ConfigError> {
        Search::with_leaf(model, Playout, config, seed)
    }
}

impl<M: Model, L: Leaf<M>> Search<M, L> {
    /// A search that asks `leaf` what new states are worth.
    pub fn with_leaf(model: M, leaf: L, config: Config, seed: u64) -> Result<Self, ConfigError> {
        config.validate()?;
        let tree = Tree::new(0, ucb::scale(config.c, config.range));
        let rng = Stream::new(seed, "search", 0);
        Ok(Search { model, leaf, config, rng, root: None, tree, states: Vec::new() })
    }

    /// Searches anew from `root`, with as many simulations as the configuration says.
    pub fn plan(&mut self, root: &M::State) {
        self.restart(root);
        self.run(self.config.simulations);
    }

    /// Forgets the tree and begins one at `root`.
    pub fn restart(&mut self, root: &M::State) {
        let actions = self.model.num_actions(root);
        self.tree.restart(actions);
        self.states.clear();
        if M::CHANCE {
            self.states.push(root.clone());
        }
        self.root = Some(root.clone());
    }

    /// Goes on with that many simulations.
    ///
    /// # Panics
    /// If there is no root yet.
    pub fn run(&mut self, simulations: u64) {
        let root = self.root.clone().expect("a search begins with `plan` or `restart`");
        // Each simulation adds one node at most, and gives at most one node its actions.
        let room = usize::try_from(simulations).unwrap_or(usize::MAX).min(self.config.max_nodes);
        let actions = room.saturating_mul(self.model.num_actions(&root)).min(MAX_RESERVED);
        self.tree.reserve(room.min(MAX_RESERVED), actions, 64);
        if M::CHANCE {
            self.states.reserve(room.min(MAX_RESERVED));
        }
        for _ in 0..simulations {
            self.simulate(root.clone());
        }
    }

    /// One simulation from the root's state.
    ///
    /// ID `mcts.expansion`: it adds one node at most. The walk stops where an action leads out of the tree, which
    /// happens at the first node that has an untried one, or where nothing can be done any more.
    ///
    /// ID `mcts.uct-consistency`: with `c > 0` and bounded returns on a finite tree, every action of every node is taken again
    /// and again, and the share of simulations that take a best action of the root tends to 1.
    // ANCHOR: mcts.uct-consistency
    // ANCHOR: mcts.expansion
    #[inline]
    fn simulate(&mut self, mut state: M::State) {
        let Config { gamma, max_depth, max_nodes, .. } = self.config;
        let mut node = Tree::ROOT;
        let mut left = max_depth;
        let value = loop {
            if left == 0 || self.tree.num_actions(node) == 0 {
                self.tree.end(node);
                break 0.0;
            }
            let action = self.tree.select(node);
            let reward = self.model.step(&mut state, action, &mut self.rng);
            self.tree.descend(node, action, reward);
            left -= 1;
            if let Some(child) = self.known(node, action, &state) {
                node = child;
                continue;
            }
            if self.tree.len() < max_nodes {
                let child = self.tree.add(node, action, self.model.num_actions(&state));
                self.tree.end(child);
                if M::CHANCE {
                    self.states.push(state.clone());
                }
            }
            break evaluate(&mut self.leaf, &self.model, &state, gamma, left, &mut self.rng);
        };
        self.tree.backup(value, discount::<M>(gamma));
    }
    // ANCHOR_END: mcts.expansion
    // ANCHOR_END: mcts.uct-consistency

    /// The node of `state`, where `action` has just led from `node`.
    #[inline]
    fn known(&self, node: NodeId, action: usize, state: &M::State) -> Option<NodeId> {
        let mut child = self.tree.child(node, action);
        if M::CHANCE {
            while let Some(met) = child
                && self.states[met.0 as usize] != *state
            {
                child = self.tree.sibling(met);
            }
        }
        child
    }

    /// The action that was taken most often at the root; the first of equals.
    ///
    /// # Panics
    /// If the root has no action.
    pub fn best(&self) -> usize {
        most_visited(&self.tree, Tree::ROOT).expect("the root has an action")
    }

    /// The actions of the root with their statistics.
    pub fn children(&self) -> impl ExactSizeIterator<Item = Child> + '_ {
        self.tree.children(Tree::ROOT)
    }

    /// What the simulations have brought on average, to the player to act at the root; 0 before the first.
    pub fn value(&self) -> f64 {
        let total: f64 = self.children().map(|child| child.total).sum();
        total / f64::from(self.tree.chosen(Tree::ROOT).max(1))
    }

    /// The most visited action from the root on, again and again, as far as the tree reaches. After a random transition it
    /// follows the most visited state.
    pub fn line(&self) -> Vec<usize> {
        let (mut line, mut node) = (Vec::new(), Tree::ROOT);
        while let Some(action) = most_visited(&self.tree, node) {
            line.push(action);
            let mut met = self.tree.child(node, action);
            let Some(mut next) = met else { break };
            while let Some(other) = met {
                if self.tree.visits(other) > self.tree.visits(next) {
                    next = other;
                }
                met = self.tree.sibling(other);
            }
            node = next;
        }
        line
    }

    /// The tree.
    pub fn tree(&self) -> &Tree {
        &self.tree
    }

    /// The model.
    pub fn model(&self) -> &M {
        &self.model
    }

    /// The configuration.
    pub fn config(&self) -> &Config {
        &self.config
    }
}

fn most_visited(tree: &Tree, node: NodeId) -> Option<usize> {
    let visited = tree.children(node).filter(|child| child.visits > 0 || node == Tree::ROOT);
    visited.reduce(|best, child| if child.visits > best.visits { child } else { best }).map(|c| c.action)
}
