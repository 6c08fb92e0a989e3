//! A drawing as a list of shapes, which the terminal and the SVG renderer share.

/// A drawing in its own coordinates: x to the right, y up.
#[derive(Clone, Debug, PartialEq)]
pub struct Scene {
    /// Left, bottom, right, top.
    pub bounds: [f32; 4],
    /// What is drawn, back to front.
    pub shapes: Vec<Shape>,
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
