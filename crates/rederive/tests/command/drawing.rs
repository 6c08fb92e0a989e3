//! `eval --render`.

use crate::{rederive, tiny};
use std::fs;
use tempfile::tempdir;

#[test]
fn a_film_is_one_file_that_needs_nothing_else() {
    let dir = tempdir().unwrap();
    let at = dir.path();
    tiny(at, &["--out", "run"]).success();
    let done = rederive(at, &["eval", "run", "--render", "film.svg", "--episodes", "2", "--json"]).success();
    assert_eq!(done.json()["episodes"], 2);
    assert!(done.err.contains("frames drawn to film.svg"), "{}", done.err);
    let svg = fs::read_to_string(at.join("film.svg")).unwrap();
    assert!(svg.starts_with("<svg xmlns=\"http://www.w3.org/2000/svg\"") && svg.ends_with("</svg>\n"));
    assert!(svg.contains("<animate ") && svg.contains("episode 2"), "{svg}");
    assert_eq!(svg.matches("http").count(), 1, "only the namespace is an address");
    assert!(!svg.contains("<script") && !svg.contains("href"));
    // What is drawn is what is evaluated.
    let plain = rederive(at, &["eval", "run", "--render", "film.svg", "--episodes", "2"]).success();
    assert!(plain.out.contains("over 2 episodes"), "{}", plain.out);
}

#[test]
fn without_a_terminal_frames_come_one_after_another() {
    let dir = tempdir().unwrap();
    let at = dir.path();
    tiny(at, &["--out", "run"]).success();
    let done = rederive(at, &["eval", "run", "--render", "--random"]).success();
    let captions = done.out.matches("CartPole-v1, random actions · episode 1 · step ").count();
    assert!((2..=24).contains(&captions), "{captions} frames");
    assert!(done.out.contains('⠀') && !done.out.contains('\x1b'), "dots, and no escape codes");
    assert!(done.out.contains("over 1 episode\n"), "{}", done.out);
    // The drawing makes room for the document.
    let json = rederive(at, &["eval", "--render", "run", "--json"]).success();
    assert_eq!(json.json()["episodes"], 1);
    assert!(json.err.contains("· step 0 ·"), "{}", json.err);
}

#[test]
fn every_environment_has_a_drawing() {
    let dir = tempdir().unwrap();
    let at = dir.path();
    for env in rederive::env::IDS {
        let out = format!("run-{}", env.id);
        let tiny = ["--steps", "1", "--set", "num_envs=1", "--set", "num_steps=1", "--set", "hidden=[4]"];
        rederive(at, &[&["train", "ppo", env.id, "--out", &out], &tiny[..]].concat()).success();
        rederive(at, &["eval", &out, "--random", "--render", "film.svg"]).success();
        let svg = fs::read_to_string(at.join("film.svg")).unwrap();
        assert!(svg.contains(env.id) && !svg.contains("NaN") && !svg.contains("inf"), "{}", env.id);
        assert!(svg.len() < 400_000, "{}: {} bytes", env.id, svg.len());
        rederive(at, &["eval", &out, "--random", "--render"]).success();
    }
}
