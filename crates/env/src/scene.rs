//! A drawing as a list of shapes, which the terminal and the SVG renderer share.

/// A drawing in its own coordinates: x to the right, y up.
#[derive(Clone, Debug, PartialEq)]
pub struct Scene {
    /// Left, bottom, right, top.
    pub bounds: [f32; 4],
    /// What is drawn, back to front.
    pub shapes: Vec<Shape>,
}

pub(crate) const BLACK: [u8; 3] = [20, 20, 20];
pub(crate) const GREY: [u8; 3] = [150, 150, 150];
pub(crate) const PALE: [u8; 3] = [232, 236, 240];
pub(crate) const BROWN: [u8; 3] = [202, 152, 101];
pub(crate) const BLUE: [u8; 3] = [70, 110, 200];
pub(crate) const RED: [u8; 3] = [205, 60, 50];
pub(crate) const GREEN: [u8; 3] = [50, 150, 80];
pub(crate) const YELLOW: [u8; 3] = [225, 175, 30];

impl Scene {
    /// An empty drawing; lengths, widths and radii are all in the units of `bounds`.
    pub fn new(bounds: [f32; 4]) -> Self {
        Scene { bounds, shapes: Vec::new() }
    }

    /// Adds a polyline.
    pub fn line(&mut self, points: Vec<[f32; 2]>, width: f32, color: [u8; 3]) {
        self.shapes.push(Shape::Line { points, width, color });
    }

    /// Adds a filled rectangle from its left, bottom, right and top.
    pub fn rectangle(&mut self, [left, bottom, right, top]: [f32; 4], color: [u8; 3]) {
        let points = vec![[left, bottom], [right, bottom], [right, top], [left, top]];
        self.shapes.push(Shape::Polygon { points, color });
    }

    /// Adds a filled circle.
    pub fn circle(&mut self, center: [f32; 2], radius: f32, color: [u8; 3]) {
        self.shapes.push(Shape::Circle { center, radius, color });
    }

    /// Adds a short text.
    pub fn text(&mut self, center: [f32; 2], text: impl Into<String>, color: [u8; 3]) {
        self.shapes.push(Shape::Text { center, text: text.into(), color });
    }

    /// A board of unit cells, row 0 at the top: `cell` gives a cell's colour and its text (empty for none). The cell of
    /// the agent shows a disc and `@` in place of its own text, so that the texts alone also draw the board.
    pub(crate) fn board(
        rows: usize,
        columns: usize,
        agent: Option<(usize, usize)>,
        cell: impl Fn(usize, usize) -> ([u8; 3], String),
    ) -> Self {
        let mut scene = Scene::new([0.0, 0.0, columns as f32, rows as f32]);
        for row in 0..rows {
            for column in 0..columns {
                let (left, bottom) = (column as f32, (rows - 1 - row) as f32);
                let center = [left + 0.5, bottom + 0.5];
                let (color, text) = cell(row, column);
                scene.rectangle([left, bottom, left + 1.0, bottom + 1.0], color);
                if agent == Some((row, column)) {
                    scene.circle(center, 0.32, BLUE);
                    scene.text(center, "@", [255, 255, 255]);
                } else if !text.is_empty() {
                    scene.text(center, text, BLACK);
                }
            }
        }
        for row in 0..=rows {
            scene.line(vec![[0.0, row as f32], [columns as f32, row as f32]], 0.03, GREY);
        }
        for column in 0..=columns {
            scene.line(vec![[column as f32, 0.0], [column as f32, rows as f32]], 0.03, GREY);
        }
        scene
    }
}

/// One shape of a [`Scene`].
#[derive(Clone, Debug, PartialEq)]
pub enum Shape {
    /// A polyline.
    Line {
        /// Its corners.
        points: Vec<[f32; 2]>,
        /// Its width.
        width: f32,
        /// Its colour, RGB.
        color: [u8; 3],
    },
    /// A filled polygon.
    Polygon {
        /// Its corners.
        points: Vec<[f32; 2]>,
        /// Its colour, RGB.
        color: [u8; 3],
    },
    /// A filled circle.
    Circle {
        /// Its centre.
        center: [f32; 2],
        /// Its radius.
        radius: f32,
        /// Its colour, RGB.
        color: [u8; 3],
    },
    /// A short text.
    Text {
        /// Where its centre is.
        center: [f32; 2],
        /// What it says.
        text: String,
        /// Its colour, RGB.
        color: [u8; 3],
    },
}
