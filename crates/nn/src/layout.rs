use std::ops::Range;

/// A named matrix or vector inside a flat array of parameters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct View {
    /// `"w0"`, `"b0"`, ...
    pub name: String,
    /// `[in, out]` for weights, `[out]` for biases.
    pub shape: Vec<usize>,
    /// Where it lies.
    pub range: Range<usize>,
}

/// How a flat array of parameters is divided: an optimiser step, a Fisher product, a checkpoint are then one pass over one
/// array, and a layer still finds its weights by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Layout {
    views: Vec<View>,
}

impl Layout {
    /// Appends a view and returns where it lies.
    pub fn push(&mut self, name: impl Into<String>, shape: &[usize]) -> Range<usize> {
        let start = self.len();
        let range = start..start + shape.iter().product::<usize>();
        self.views.push(View { name: name.into(), shape: shape.to_vec(), range: range.clone() });
        range
    }

    /// How many parameters there are in all.
    pub fn len(&self) -> usize {
        self.views.last().map_or(0, |v| v.range.end)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All views, in order.
    pub fn views(&self) -> &[View] {
        &self.views
    }

    /// The view called `name`.
    pub fn get(&self, name: &str) -> Option<&View> {
        self.views.iter().find(|v| v.name == name)
    }
}
