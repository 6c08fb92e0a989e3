//! `play`: games against the search, by hand, by script and by themselves.

use crate::{Done, command, keys, rederive};
use std::io::Write;
use std::path::Path;
use std::process::Stdio;

/// Runs `play` with that standard input.
fn play(args: &[&str], input: &[u8]) -> Done {
    let mut child = command(Path::new("."))
        .arg("play")
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the command starts");
    // A command that refuses its arguments may be gone before it has read anything.
    let _ = child.stdin.take().expect("a pipe").write_all(input);
    child.wait_with_output().expect("the command ends").into()
}

fn refused(args: &[&str], input: &str, parts: &[&str]) {
    let done = play(args, input.as_bytes());
    assert_eq!(done.code, 2, "{args:?}: {}{}", done.out, done.err);
    for part in parts {
        assert!(done.err.contains(part), "{args:?}: {part:?} is not in {:?}", done.err);
    }
}

#[test]
fn a_piped_game_shows_the_board_and_the_visits() {
    let done = play(&["connect4", "--playouts", "2000"], b"4\n\n ? \n5\nq\n").success();
    for part in [
        "Connect Four: You ● against the computer ○, 2 000 playouts per move",
        "The computer plays column",
        "A hint: column",
    ] {
        assert!(done.out.contains(part), "{part}: {}", done.out);
    }
    let bars = done.out.lines().filter(|line| line.contains(" visits  Q ")).count();
    assert_eq!(bars, 3 * 7, "{}", done.out);
    assert!(!done.out.contains('\x1b'), "no escape codes");
    assert!(done.err.contains("stopped before the end; `rederive play connect4 --moves 4"), "{}", done.err);
    // The end of the input is no mistake either.
    let done = play(&["tictactoe", "--playouts", "500"], b"5").success();
    assert!(
        done.out.contains("Tic-tac-toe: You ●") && done.err.contains("--moves 5"),
        "{}{}",
        done.out,
        done.err
    );
    play(&["tictactoe"], b"").success();
}

#[test]
fn colours_are_given_on_request_only() {
    let run = |name: &str, value: &str| -> Done {
        let mut command = command(Path::new("."));
        command.args(["play", "tictactoe", "--against", "random", "--playouts", "50"]).env(name, value);
        command.output().expect("the command starts").into()
    };
    assert!(run("CLICOLOR_FORCE", "1").out.contains("\x1b[3"));
    assert!(!run("NO_COLOR", "1").out.contains('\x1b'));
}

#[test]
fn games_come_to_an_end() {
    // Whoever plays the columns from the left loses against the search.
    let input: String = (1..=7).flat_map(|c| [c; 6]).map(|c| format!("{c}\n")).collect();
    let done = play(&["connect4", "--playouts", "5000", "--first", "computer"], input.as_bytes());
    assert!(done.code == 2 || done.out.contains("The computer wins."), "{}{}", done.out, done.err);
    for args in [
        &["connect4", "--against", "random"][..],
        &["connect4", "--against", "random", "--first", "computer"],
        &["tictactoe", "--against", "computer"],
        &["tictactoe", "--against", "computer", "--first", "computer"],
    ] {
        let done = play(&[args, &["--playouts", "3000"]].concat(), b"").success();
        let ending = if args[0] == "connect4" { "The computer wins." } else { "A draw." };
        assert!(done.out.contains(ending) && done.out.contains("Moves: "), "{args:?}: {}", done.out);
        let times = |text: &str| {
            text.lines().filter(|line| !line.contains(" playouts in ")).collect::<Vec<_>>().join("\n")
        };
        let again = play(&[args, &["--playouts", "3000"]].concat(), b"").success();
        assert_eq!(times(&done.out), times(&again.out), "the seed decides everything");
    }
    // A position in which one move ends it.
    let done = play(&["connect4", "--moves", "414141"], b"4\n").success();
    assert!(done.out.contains("You win.\nMoves: 4141414\n"), "{}", done.out);
}

#[test]
fn one_search_is_one_document() {
    let here = Path::new(".");
    let search =
        |more: &[&str]| rederive(here, &[&["play", "connect4", "--json"], more].concat()).success().json();
    let found = search(&["--moves", "334455", "--playouts", "4000"]);
    assert_eq!(
        keys(&found),
        ["best", "children", "game", "line", "moves", "playouts", "seed", "value", "wall_seconds"]
    );
    assert_eq!(
        (&found["game"], &found["playouts"], &found["seed"]),
        (&"connect4".into(), &4000.into(), &1.into())
    );
    assert!([2, 6].contains(&found["best"].as_u64().unwrap()), "{found}");
    let children = found["children"].as_array().unwrap();
    assert_eq!((children.len(), keys(&children[0])), (7, vec!["move", "q", "share", "visits"]));
    assert_eq!(children.iter().map(|c| c["visits"].as_u64().unwrap()).sum::<u64>(), 4000);
    let by_time = search(&["--seconds", "0.05"]);
    assert!(by_time["playouts"].as_u64().unwrap() >= 1000 && by_time["wall_seconds"].as_f64().unwrap() < 5.0);
    let tictactoe = rederive(here, &["play", "tictactoe", "--json", "--moves", "1524"]).success().json();
    assert_eq!((&tictactoe["best"], tictactoe["children"].as_array().unwrap().len()), (&3.into(), 5));
}

#[test]
fn mistakes_are_explained() {
    refused(&["conect4"], "", &["unknown game `conect4`", "connect4, tictactoe", "did you mean `connect4`?"]);
    refused(&[], "", &["<GAME>"]);
    refused(&["connect4", "--playouts", "0"], "", &["--playouts", "from 1 to 1000M"]);
    refused(&["connect4", "--playouts", "2000M"], "", &["--playouts", "from 1 to 1000M"]);
    for seconds in ["0", "-1", "nan", "inf", "soon", "1e9"] {
        refused(&["connect4", &format!("--seconds={seconds}")], "", &["--seconds", "greater than 0"]);
    }
    refused(&["connect4", "--playouts", "9", "--seconds", "1"], "", &["cannot be used with"]);
    refused(&["connect4", "--json", "--against", "random"], "", &["cannot be used with"]);
    refused(&["connect4", "--first", "them"], "", &["--first", "computer"]);
    refused(&["connect4", "--moves", "48"], "", &["--moves 48: move 2: `8` is no column: must be in 1..=7"]);
    refused(&["connect4", "--moves", "4444444"], "", &["--moves 4444444: move 7: column 4 is full"]);
    refused(&["connect4", "--moves", "12121213"], "", &["move 8: the game is over"]);
    refused(&["connect4", "--moves", "1212121"], "", &["--moves 1212121: the game is over"]);
    refused(&["tictactoe", "--moves", "55", "--json"], "", &["--moves 55: move 2: cell 5 is taken"]);
    refused(&["tictactoe", "--moves", "5x"], "", &["move 2: `x` is no cell: must be in 1..=9"]);
    let quick = ["connect4", "--playouts", "50"];
    for (input, parts) in [
        ("8\n", &["standard input, line 1: `8` is no column: must be in 1..=7, ? or q"][..]),
        ("0\n", &["line 1: `0` is no column"]),
        ("-3\n", &["line 1: `-3` is no column"]),
        ("\nvier\n", &["line 2: `vier` is no column"]),
        ("99999999999999999999\n", &["line 1: `99999999999999999999` is no column"]),
    ] {
        refused(&quick, input, parts);
    }
    refused(&["connect4", "--moves", "444444", "--playouts", "50"], "4\n", &["line 1: column 4 is full"]);
    refused(&["tictactoe", "--moves", "51", "--playouts", "50"], "1\n", &["line 1: cell 1 is taken"]);
    let done = play(&["connect4"], b"\xff\xfe\n");
    assert!(done.code == 2 && done.err.contains("standard input, line 1: "), "{}", done.err);
}
