use crate::ucb;

/// A node of a [`Tree`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeId(pub(crate) u32);

/// What a tree knows of an action at a node.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Child {
    /// Its number.
    pub action: usize,
    /// How often it was chosen, n.
    pub visits: u32,
    /// The sum of the values that came back, W.
    pub total: f64,
    /// Their mean, Q = W / n, to the player who chooses here; 0 if it was never chosen.
    pub mean: f64,
}

const NONE: u32 = u32::MAX;

struct Node {
    /// Where its actions begin; [`NONE`] until one is chosen, because most leaves are visited once and never again.
    first: u32,
    actions: u32,
    /// Actions tried so far: those with a smaller number.
    tried: u32,
    /// How often an action was chosen here.
    chosen: u32,
    /// How often a simulation ended here.
    ended: u32,
    /// The next node that the same action led to.
    sibling: u32,
    /// [`ucb::spread`] of `chosen`.
    spread: f64,
}

/// An action at a node. What choosing reads stands beside what only the chosen one needs: half a cache line in all, so that
/// a large tree misses the cache once per level for both.
#[derive(Clone, Copy)]
struct Edge {
    mean: f64,
    /// [`ucb::width`] of the visits.
    width: f64,
    total: f64,
    visits: u32,
    /// The first node that the action led to.
    child: u32,
}

const UNTRIED: Edge = Edge { mean: 0.0, width: f64::INFINITY, total: 0.0, visits: 0, child: NONE };

struct Step {
    node: u32,
    edge: u32,
    reward: f64,
}

/// Statistics of a search: nodes and their actions in flat arrays, and the path of the simulation under way.
pub struct Tree {
    c: f64,
    nodes: Vec<Node>,
    edges: Vec<Edge>,
    path: Vec<Step>,
}

impl Tree {
    /// The root.
    pub const ROOT: NodeId = NodeId(0);

    /// A tree of a root with that many actions; `c` is the weight of exploration.
    pub fn new(actions: usize, c: f64) -> Self {
        let mut tree = Tree { c, nodes: Vec::new(), edges: Vec::new(), path: Vec::new() };
        tree.restart(actions);
        tree
    }

    /// Back to a root with that many actions, keeping the memory.
    pub fn restart(&mut self, actions: usize) {
        self.nodes.clear();
        self.edges.clear();
        self.path.clear();
        self.push_node(actions, NONE);
    }

    /// Makes room for that many more nodes and actions.
    pub fn reserve(&mut self, nodes: usize, actions: usize, depth: usize) {
        self.nodes.reserve(nodes);
        self.edges.reserve(actions);
        self.path.reserve(depth);
    }

    fn push_node(&mut self, actions: usize, sibling: u32) -> u32 {
        let id = u32::try_from(self.nodes.len()).expect("a tree has fewer than 2^32 nodes");
        let actions = u32::try_from(actions).expect("a node has fewer than 2^32 actions");
        let node = Node { first: NONE, actions, tried: 0, chosen: 0, ended: 0, sibling, spread: 0.0 };
        self.nodes.push(node);
        id
    }

    /// The action to take at `node`: the first that was never tried, otherwise the first with the largest score.
    ///
    /// # Panics
    /// If `node` has no action.
    #[inline]
    pub fn select(&mut self, node: NodeId) -> usize {
        let at = &mut self.nodes[node.0 as usize];
        if at.tried < at.actions {
            if at.first == NONE {
                at.first = u32::try_from(self.edges.len()).expect("a tree has fewer than 2^32 actions");
                self.edges.resize(self.edges.len() + at.actions as usize, UNTRIED);
            }
            at.tried += 1;
            return at.tried as usize - 1;
        }
        assert!(at.actions > 0, "there is nothing to choose");
        let first = at.first as usize;
        let (mut best, mut largest) = (0, f64::NEG_INFINITY);
        for (action, edge) in self.edges[first..first + at.actions as usize].iter().enumerate() {
            let score = ucb::bound(edge.mean, edge.width, at.spread);
            if score > largest {
                (best, largest) = (action, score);
            }
        }
        best
    }

    /// Notes that the simulation under way took the selected `action` at `node`, for `reward`.
    #[inline]
    pub fn descend(&mut self, node: NodeId, action: usize, reward: f64) {
        let edge = self.nodes[node.0 as usize].first + action as u32;
        self.path.push(Step { node: node.0, edge, reward });
    }

    /// The node that `action` led to, if it led to any. After a random transition there may be more ([`Tree::sibling`]).
    #[inline]
    pub fn child(&self, node: NodeId, action: usize) -> Option<NodeId> {
        let at = &self.nodes[node.0 as usize];
        assert!(action < at.actions as usize, "action {action} of {}", at.actions);
        let child = if at.first == NONE { NONE } else { self.edges[at.first as usize + action].child };
        (child != NONE).then_some(NodeId(child))
    }

    /// The next node that the same action led to.
    #[inline]
    pub fn sibling(&self, node: NodeId) -> Option<NodeId> {
        let sibling = self.nodes[node.0 as usize].sibling;
        (sibling != NONE).then_some(NodeId(sibling))
    }

    /// Adds a node with that many actions where `action`, selected before, leads to.
    #[inline]
    pub fn add(&mut self, node: NodeId, action: usize, actions: usize) -> NodeId {
        let edge = self.nodes[node.0 as usize].first as usize + action;
        let sibling = self.edges[edge].child;
        let id = self.push_node(actions, sibling);
        self.edges[edge].child = id;
        NodeId(id)
    }

    /// Notes that the simulation under way ended at `node`.
    #[inline]
    pub fn end(&mut self, node: NodeId) {
        self.nodes[node.0 as usize].ended += 1;
    }

    /// Ends the simulation under way: carries `leaf`, the value to whoever acts in its last state, back to the root.
    ///
    /// ID `mcts.backup`: along the path, from its end, `v <- r + discount v`, then `n <- n + 1`, `W <- W + v` and `Q = W / n`;
    /// `discount` is gamma for one player. In a zero-sum game of two who act in turn it is -gamma: what follows is
    /// worth to the one who acts what it costs the other.
    ///
    /// Source: R. Coulom (2006), Efficient Selectivity and Backup Operators in Monte-Carlo Tree Search.
    // ANCHOR: mcts.backup
    #[inline]
    pub fn backup(&mut self, leaf: f64, discount: f64) {
        let mut value = leaf;
        for &Step { node, edge, reward } in self.path.iter().rev() {
            value = reward + discount * value;
            let edge = &mut self.edges[edge as usize];
            edge.visits += 1;
            edge.total += value;
            edge.mean = edge.total / f64::from(edge.visits);
            edge.width = ucb::width(edge.visits);
            let parent = &mut self.nodes[node as usize];
            parent.chosen += 1;
            parent.spread = ucb::spread(parent.chosen, self.c);
        }
        self.path.clear();
    }
    // ANCHOR_END: mcts.backup

    /// How many nodes there are.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Never: there is always a root.
    pub fn is_empty(&self) -> bool {
        false
    }

    /// All nodes, in the order in which they were added.
    pub fn nodes(&self) -> impl Iterator<Item = NodeId> + use<> {
        (0..self.nodes.len() as u32).map(NodeId)
    }

    /// How many actions `node` has.
    pub fn num_actions(&self, node: NodeId) -> usize {
        self.nodes[node.0 as usize].actions as usize
    }

    /// How often a simulation came to `node`: those that ended there and those that went on.
    pub fn visits(&self, node: NodeId) -> u32 {
        self.nodes[node.0 as usize].ended + self.chosen(node)
    }

    /// How often an action was chosen at `node`, N.
    pub fn chosen(&self, node: NodeId) -> u32 {
        self.nodes[node.0 as usize].chosen
    }

    /// The actions of `node` with their statistics.
    pub fn children(&self, node: NodeId) -> impl ExactSizeIterator<Item = Child> + '_ {
        let &Node { first, actions, .. } = &self.nodes[node.0 as usize];
        (0..actions as usize).map(move |action| {
            if first == NONE {
                return Child { action, visits: 0, total: 0.0, mean: 0.0 };
            }
            let Edge { mean, total, visits, .. } = self.edges[first as usize + action];
            Child { action, visits, total, mean }
        })
    }
}
