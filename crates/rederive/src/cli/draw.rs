//! Episodes as a film, and the film as an animated SVG file that needs nothing else (SMIL animation, no script).

use super::report::short;
use rederive::env::scene::{Scene, Shape};
use rederive::env::{Action, End, Env, Space, StateError, Stream};
use std::fmt::Write;
use std::sync::{Arc, Mutex, PoisonError};

/// A light paper, for which the environments' colours are chosen.
pub const PAPER: [u8; 3] = [250, 250, 248];

/// What was seen, frame by frame.
#[derive(Clone, Debug, Default)]
pub struct Film {
    pub title: String,
    pub frames: Vec<Frame>,
    /// Frames per second at natural speed.
    pub rate: f64,
}

#[derive(Clone, Debug)]
pub struct Frame {
    pub scene: Scene,
    /// Counted from 1.
    pub episode: u64,
    pub step: u64,
    /// The return so far.
    pub return_: f64,
}

/// An environment that is filmed while it is stepped.
pub struct Filmed {
    env: Box<dyn Env>,
    camera: Camera,
}

/// The frames that a [`Filmed`] environment has left so far.
#[derive(Clone, Default)]
pub struct Camera(Arc<Mutex<Vec<Frame>>>);

impl Filmed {
    pub fn new(env: Box<dyn Env>) -> (Self, Camera) {
        let camera = Camera::default();
        (Filmed { env, camera: camera.clone() }, camera)
    }
}

impl Camera {
    fn frames<R>(&self, f: impl FnOnce(&mut Vec<Frame>) -> R) -> R {
        f(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Starts an episode. One in which nothing happened is forgotten: at the end of an episode an environment is reset, and
    /// before the next one again.
    fn reset(&self, scene: Option<Scene>) {
        self.frames(|frames| {
            while frames.last().is_some_and(|frame| frame.step == 0) {
                frames.pop();
            }
            let episode = frames.last().map_or(1, |frame| frame.episode + 1);
            frames.extend(scene.map(|scene| Frame { scene, episode, step: 0, return_: 0.0 }));
        });
    }

    fn step(&self, scene: Option<Scene>, reward: f32) {
        self.frames(|frames| {
            if let (Some(last), Some(scene)) = (frames.last(), scene) {
                let (episode, step) = (last.episode, last.step + 1);
                frames.push(Frame { scene, episode, step, return_: last.return_ + f64::from(reward) });
            }
        });
    }

    /// Whether the environment, which has been reset, has a drawing.
    pub fn has_scene(&self) -> bool {
        self.frames(|frames| !frames.is_empty())
    }

    /// The film so far.
    pub fn develop(&self, title: &str, rate: f64) -> Film {
        self.reset(None);
        Film { title: title.to_owned(), frames: self.frames(std::mem::take), rate }
    }
}

impl Env for Filmed {
    fn observation_space(&self) -> Space {
        self.env.observation_space()
    }

    fn action_space(&self) -> Space {
        self.env.action_space()
    }

    fn reset(&mut self, rng: &mut Stream, obs: &mut [f32]) {
        self.env.reset(rng, obs);
        self.camera.reset(self.env.scene());
    }

    fn step(&mut self, action: Action<'_>, rng: &mut Stream, obs: &mut [f32]) -> (f32, End) {
        let (reward, end) = self.env.step(action, rng, obs);
        self.camera.step(self.env.scene(), reward);
        (reward, end)
    }

    fn save(&self) -> serde_json::Value {
        self.env.save()
    }

    fn load(&mut self, state: &serde_json::Value) -> Result<(), StateError> {
        self.env.load(state)
    }

    fn scene(&self) -> Option<Scene> {
        self.env.scene()
    }
}

/// The largest width and height of the drawing in an SVG file, in pixels.
const SIZE: [f32; 2] = [600.0, 420.0];
/// Room for the caption above the drawing.
const HEAD: f32 = 28.0;
/// A longer film loses every second frame until it fits, so that a file stays under a few hundred kilobytes.
const MAX_FRAMES: usize = 1500;

impl Film {
    /// Left, bottom, right, top of all frames together.
    pub fn bounds(&self) -> [f32; 4] {
        let mut all = [f32::INFINITY, f32::INFINITY, f32::NEG_INFINITY, f32::NEG_INFINITY];
        for [left, bottom, right, top] in self.frames.iter().map(|f| f.scene.bounds) {
            all = [all[0].min(left), all[1].min(bottom), all[2].max(right), all[3].max(top)];
        }
        all
    }

    /// At most `max` frames, evenly spread, the last one among them.
    pub fn sample(&self, max: usize) -> Vec<&Frame> {
        let n = self.frames.len();
        if n <= max {
            return self.frames.iter().collect();
        }
        (0..max).map(|i| &self.frames[(i * (n - 1)) / (max - 1).max(1)]).collect()
    }

    /// The film as an SVG document that repeats for ever.
    pub fn to_svg(&self) -> String {
        let mut step = 1;
        while self.frames.len().div_ceil(step) > MAX_FRAMES {
            step *= 2;
        }
        let frames: Vec<&Frame> = self.frames.iter().step_by(step).collect();
        let seconds = (frames.len() * step) as f64 / self.rate;
        let [left, bottom, right, top] = self.bounds();
        let scale = (SIZE[0] / (right - left)).min(SIZE[1] / (top - bottom));
        let (width, height) = ((right - left) * scale, (top - bottom) * scale);
        let pen = Pen { left, top, scale, seconds, frames: frames.len() };

        let mut svg = String::new();
        let [r, g, b] = PAPER;
        let total = height + HEAD;
        let _ = write!(
            svg,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width:.0} {total:.0}\" width=\"{width:.0}\" \
             height=\"{total:.0}\" font-family=\"system-ui, sans-serif\">\n\
             <title>{title}</title>\n\
             <rect width=\"{width:.0}\" height=\"{total:.0}\" fill=\"rgb({r},{g},{b})\"/>\n",
            title = escape(&self.title),
        );
        // The share of the film that has passed, as a thin line.
        let _ = writeln!(
            svg,
            "<rect y=\"{y}\" height=\"2\" width=\"0\" fill=\"#4477aa\"><animate attributeName=\"width\" from=\"0\" \
             to=\"{width:.0}\" dur=\"{seconds:.3}s\" repeatCount=\"indefinite\"/></rect>",
            y = HEAD - 2.0,
        );
        for (episode, visible) in appearances(frames.iter().map(|frame| [frame.episode])) {
            let last = frames[visible[visible.len() - 1].1 - 1];
            let text = format!("{} · episode {episode} · return {}", self.title, short(last.return_));
            let _ = writeln!(
                svg,
                "<text x=\"10\" y=\"19\" font-size=\"14\" fill=\"#333\">{}{}</text>",
                escape(&text),
                pen.visible(&visible)
            );
        }
        let _ = writeln!(
            svg,
            "<g transform=\"translate(0 {HEAD})\" stroke-linecap=\"round\" stroke-linejoin=\"round\">"
        );
        let alike =
            |a: &Frame, b: &Frame| a.scene.shapes.iter().map(kind).eq(b.scene.shapes.iter().map(kind));
        if frames.windows(2).all(|pair| alike(pair[0], pair[1])) {
            // The same shapes all the time: each is an element that moves.
            for i in 0..frames[0].scene.shapes.len() {
                let track: Vec<&Shape> = frames.iter().map(|frame| &frame.scene.shapes[i]).collect();
                pen.draw(&mut svg, &track, "");
            }
        } else {
            // Shapes come and go: each is an element that stands still and is shown at times.
            for (shape, visible) in appearances(frames.iter().map(|frame| &frame.scene.shapes)) {
                pen.draw(&mut svg, &[shape], &pen.visible(&visible));
            }
        }
        svg.push_str("</g>\n</svg>\n");
        svg
    }
}

/// The different things in a sequence of lists, in an order that agrees with those of the lists, each with the half-open ranges of
/// positions in the sequence where it occurs.
fn appearances<T: PartialEq>(
    lists: impl IntoIterator<Item = impl IntoIterator<Item = T>>,
) -> Vec<(T, Vec<(usize, usize)>)> {
    let mut all: Vec<(T, Vec<(usize, usize)>)> = Vec::new();
    for (i, list) in lists.into_iter().enumerate() {
        let mut next = 0;
        for thing in list {
            let at = match all.iter().position(|(known, _)| *known == thing) {
                Some(at) => at,
                None => {
                    all.insert(next, (thing, Vec::new()));
                    next
                }
            };
            match all[at].1.last_mut() {
                Some(range) if range.1 >= i => range.1 = i + 1,
                _ => all[at].1.push((i, i + 1)),
            }
            next = at + 1;
        }
    }
    all
}

/// What must stay the same for two shapes to be one element that moves.
fn kind(shape: &Shape) -> (u8, usize, &str) {
    match shape {
        Shape::Line { points, .. } => (0, points.len(), ""),
        Shape::Polygon { points, .. } => (1, points.len(), ""),
        Shape::Circle { .. } => (2, 0, ""),
        Shape::Text { text, .. } => (3, 0, text),
    }
}

struct Pen {
    left: f32,
    top: f32,
    scale: f32,
    seconds: f64,
    frames: usize,
}

impl Pen {
    fn x(&self, x: f32) -> String {
        number((x - self.left) * self.scale)
    }

    fn y(&self, y: f32) -> String {
        number((self.top - y) * self.scale)
    }

    fn points(&self, points: &[[f32; 2]]) -> String {
        points.iter().map(|&[x, y]| format!("{},{}", self.x(x), self.y(y))).collect::<Vec<_>>().join(" ")
    }

    /// Writes one element: a shape in every frame, or in one that stands for all. `extra` goes into the element.
    fn draw(&self, svg: &mut String, track: &[&Shape], extra: &str) {
        let attributes: Vec<(&str, Vec<String>)> = match track[0] {
            Shape::Line { .. } => vec![
                ("points", self.each(track, |pen, shape| pen.points(points(shape)))),
                ("stroke", self.each(track, |_, shape| color(shape))),
                ("stroke-width", self.each(track, |pen, shape| number(size(shape) * pen.scale))),
            ],
            Shape::Polygon { .. } => vec![
                ("points", self.each(track, |pen, shape| pen.points(points(shape)))),
                ("fill", self.each(track, |_, shape| color(shape))),
            ],
            Shape::Circle { .. } => vec![
                ("cx", self.each(track, |pen, shape| pen.x(center(shape)[0]))),
                ("cy", self.each(track, |pen, shape| pen.y(center(shape)[1]))),
                ("r", self.each(track, |pen, shape| number(size(shape) * pen.scale))),
                ("fill", self.each(track, |_, shape| color(shape))),
            ],
            Shape::Text { .. } => vec![
                ("x", self.each(track, |pen, shape| pen.x(center(shape)[0]))),
                ("y", self.each(track, |pen, shape| pen.y(center(shape)[1]))),
                ("fill", self.each(track, |_, shape| color(shape))),
            ],
        };
        let (name, fixed, content) = match track[0] {
            Shape::Line { .. } => ("polyline", "fill=\"none\" ", String::new()),
            Shape::Polygon { .. } => ("polygon", "", String::new()),
            Shape::Circle { .. } => ("circle", "", String::new()),
            Shape::Text { text, .. } => (
                "text",
                "text-anchor=\"middle\" dominant-baseline=\"central\" font-size=\"15\" ",
                escape(text),
            ),
        };
        let mut head = String::new();
        let mut moving = String::new();
        for (attribute, values) in attributes {
            let _ = write!(head, "{attribute}=\"{}\" ", values[0]);
            if values.iter().any(|v| *v != values[0]) {
                moving.push_str(&self.animation(attribute, &values));
            }
        }
        let _ = writeln!(svg, "<{name} {fixed}{}>{content}{moving}{extra}</{name}>", head.trim_end());
    }

    fn each(&self, track: &[&Shape], f: impl Fn(&Self, &Shape) -> String) -> Vec<String> {
        track.iter().map(|shape| f(self, shape)).collect()
    }

    /// An attribute that takes one value per frame; repeated values are written once.
    fn animation(&self, attribute: &str, values: &[String]) -> String {
        let mut kept: Vec<(usize, &str)> = Vec::new();
        for (i, value) in values.iter().enumerate() {
            if kept.last().is_none_or(|(_, last)| last != value) {
                kept.push((i, value));
            }
        }
        self.animate(attribute, &kept)
    }

    /// Shows an element during some ranges of frames only.
    fn visible(&self, ranges: &[(usize, usize)]) -> String {
        let mut changes = vec![];
        if ranges.first().is_none_or(|range| range.0 > 0) {
            changes.push((0, "none"));
        }
        for &(from, to) in ranges {
            changes.push((from, "inline"));
            if to < self.frames {
                changes.push((to, "none"));
            }
        }
        if changes.len() > 1 { self.animate("display", &changes) } else { String::new() }
    }

    /// An attribute that changes at some frames, the first of them 0.
    fn animate(&self, attribute: &str, changes: &[(usize, &str)]) -> String {
        let values: Vec<&str> = changes.iter().map(|(_, value)| *value).collect();
        // Without times the values are spread evenly, which is right when every frame has its own.
        let times = if changes.len() == self.frames {
            String::new()
        } else {
            let times = changes.iter().map(|(frame, _)| format!("{:.5}", *frame as f64 / self.frames as f64));
            format!(" keyTimes=\"{}\"", times.collect::<Vec<_>>().join(";"))
        };
        format!(
            "<animate attributeName=\"{attribute}\" calcMode=\"discrete\" dur=\"{:.3}s\" repeatCount=\"indefinite\"\
             {times} values=\"{}\"/>",
            self.seconds,
            values.join(";")
        )
    }
}

fn points(shape: &Shape) -> &[[f32; 2]] {
    match shape {
        Shape::Line { points, .. } | Shape::Polygon { points, .. } => points,
        Shape::Circle { .. } | Shape::Text { .. } => &[],
    }
}

fn center(shape: &Shape) -> [f32; 2] {
    match shape {
        Shape::Circle { center, .. } | Shape::Text { center, .. } => *center,
        Shape::Line { .. } | Shape::Polygon { .. } => [0.0, 0.0],
    }
}

/// A line's width or a circle's radius.
fn size(shape: &Shape) -> f32 {
    match shape {
        Shape::Line { width, .. } => *width,
        Shape::Circle { radius, .. } => *radius,
        Shape::Polygon { .. } | Shape::Text { .. } => 0.0,
    }
}

fn color(shape: &Shape) -> String {
    let (Shape::Line { color: [r, g, b], .. }
    | Shape::Polygon { color: [r, g, b], .. }
    | Shape::Circle { color: [r, g, b], .. }
    | Shape::Text { color: [r, g, b], .. }) = shape;
    format!("#{r:02x}{g:02x}{b:02x}")
}

/// One decimal, and none where it would be zero.
fn number(x: f32) -> String {
    let text = format!("{x:.1}");
    text.strip_suffix(".0").map(str::to_owned).unwrap_or(text)
}

pub fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn film(text: impl Fn(u16) -> String) -> Film {
        let frame = |i: u16| Frame {
            scene: Scene {
                bounds: [-1.0, -1.0, 1.0, 1.0],
                shapes: vec![
                    Shape::Polygon { points: vec![[-1.0, -1.0], [1.0, -1.0], [0.0, 1.0]], color: [1, 2, 3] },
                    Shape::Circle { center: [f32::from(i) / 10.0, 0.0], radius: 0.1, color: [255, 0, 0] },
                    Shape::Text { center: [0.0, 0.0], text: text(i), color: [0, 0, 0] },
                ],
            },
            episode: 1 + u64::from(i / 3),
            step: u64::from(i),
            return_: f64::from(i),
        };
        Film { title: "A & B".to_owned(), frames: (0..4).map(frame).collect(), rate: 2.0 }
    }

    #[test]
    fn what_stands_still_is_drawn_once_and_what_moves_is_animated() {
        let svg = film(|_| "<x>".to_owned()).to_svg();
        assert_eq!((svg.matches("<polygon").count(), svg.matches("<circle").count()), (1, 1));
        assert_eq!(svg.matches("&lt;x&gt;").count(), 1);
        assert!(svg.contains("attributeName=\"cx\" calcMode=\"discrete\" dur=\"2.000s\""), "{svg}");
        assert!(svg.contains("values=\"210;231;252;273\""), "{svg}");
        assert!(svg.contains("A &amp; B · episode 1 · return 2.000<animate"), "{svg}");
        assert!(svg.contains("keyTimes=\"0.00000;0.75000\" values=\"inline;none\""), "{svg}");
    }

    #[test]
    fn what_comes_and_goes_is_shown_at_its_times() {
        let svg = film(|i| (i / 2).to_string()).to_svg();
        assert_eq!((svg.matches("<polygon").count(), svg.matches("<circle").count()), (1, 4));
        assert!(svg.contains(">0<animate attributeName=\"display\""), "{svg}");
        assert!(svg.contains("keyTimes=\"0.00000;0.50000\" values=\"inline;none\""), "{svg}");
        assert!(svg.contains("keyTimes=\"0.00000;0.50000\" values=\"none;inline\""), "{svg}");
    }

    #[test]
    fn appearances_keep_the_order_and_join_neighbours() {
        let found = appearances([vec!["a", "c"], vec!["a", "b", "c"], vec!["a", "c"], vec!["b"]]);
        assert_eq!(found, [("a", vec![(0, 3)]), ("b", vec![(1, 2), (3, 4)]), ("c", vec![(0, 3)])]);
    }

    #[test]
    fn a_sample_keeps_the_first_and_the_last_frame() {
        let film = film(|_| String::new());
        let steps: Vec<u64> = film.sample(2).iter().map(|f| f.step).collect();
        assert_eq!(steps, [0, 3]);
        assert_eq!(film.sample(9).len(), 4);
    }
}
