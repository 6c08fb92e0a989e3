//! Finite processes in files: what Gymnasium and NumPy write, round trips, and everything that is refused.

use rederive_env::{AnyMdp, Mdp, MdpArrays, finite_table, read_mdp};
use rederive_math::Real;
use std::io::{Cursor, Write};
use std::path::{Path, PathBuf};
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

fn recorded(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/gymnasium/data").join(name)
}

/// Asserts that two processes have the same rows, with numbers that differ by rounding only.
fn assert_same<P: Real>(what: &str, mdp: &Mdp<P>, expected: &Mdp<f64>, tolerance: f64) {
    assert_eq!(mdp.first_pair(), expected.first_pair(), "{what}");
    assert_eq!(mdp.first_entry(), expected.first_entry(), "{what}");
    assert_eq!(mdp.next(), expected.next(), "{what}");
    assert_eq!(mdp.ends(), expected.ends(), "{what}");
    let close = |a: f64, b: f64| (a - b).abs() <= tolerance;
    for (&a, &b) in mdp.prob().iter().zip(expected.prob()) {
        assert!(close(Real::to_f64(a), b), "{what}: probability {a} where {b} is expected");
    }
    for (&a, &b) in mdp.reward().iter().zip(expected.reward()) {
        assert!(close(a, b), "{what}: reward {a} where {b} is expected");
    }
}

#[test]
fn files_that_gymnasium_and_numpy_write_hold_the_table_of_the_environment() {
    for id in ["FrozenLake-v1", "CliffWalking-v1"] {
        let expected = Mdp::from_table(&finite_table(id).unwrap());
        for (name, single) in [("-P.json", false), (".npz", false), ("-f32.npz", true)] {
            let name = format!("{id}{name}");
            match read_mdp(&recorded(&name)).unwrap_or_else(|error| panic!("{error}")) {
                AnyMdp::F64(mdp) if !single => assert_same(&name, &mdp, &expected, 1e-15),
                AnyMdp::F32(mdp) if single => assert_same(&name, &mdp, &expected, 1e-7),
                _ => panic!("{name}: the wrong precision"),
            }
        }
    }
}

/// Two states: the first with two actions, the second with one, with an ending, a reward that depends on what happens, and
/// probabilities that are exact in both precisions.
fn small<P: Real>() -> Mdp<P> {
    let prob = [0.5, 0.25, 0.25, 1.0, 0.125, 0.875].map(P::of).to_vec();
    Mdp::from_arrays(MdpArrays {
        first_pair: vec![0, 2, 3],
        first_entry: vec![0, 3, 4, 6],
        prob,
        next: vec![0, 1, 1, 1, 0, 1],
        reward: vec![1.0, 2.0, 4.0, -1.0, 0.5, 0.0],
        terminated: Some(vec![false, false, true, false, false, true]),
    })
    .unwrap()
}

fn npz<P: Real>(mdp: &Mdp<P>) -> Vec<u8> {
    let mut bytes = Vec::new();
    mdp.to_npz(&mut bytes).unwrap();
    bytes
}

#[test]
fn arrays_become_rows_of_mean_rewards_without_the_entries_that_end() {
    let mdp = small::<f64>();
    assert_eq!((mdp.num_states(), mdp.num_pairs(), mdp.num_actions()), (2, 3, 2));
    assert_eq!((mdp.first_entry(), mdp.next()), (&[0, 2, 3, 4][..], &[0, 1, 1, 0][..]));
    assert_eq!((mdp.prob(), mdp.reward()), (&[0.5, 0.25, 1.0, 0.125][..], &[2.0, -1.0, 0.0625][..]));
    assert!(mdp.ends() && mdp.defect() == 0.0);
}

#[test]
fn what_is_written_reads_back_the_same() {
    let (single, double) = (small::<f32>(), small::<f64>());
    assert_eq!(AnyMdp::from_npz(Cursor::new(npz(&double))).unwrap(), AnyMdp::F64(double.clone()));
    assert_eq!(AnyMdp::from_npz(Cursor::new(npz(&single))).unwrap(), AnyMdp::F32(single.clone()));
    let mut text = Vec::new();
    double.to_json(&mut text).unwrap();
    let json = String::from_utf8(text.clone()).unwrap();
    assert!(
        json.starts_with(
            "{\"0\": {\"0\": [[0.5, 0, 2.0, false], [0.25, 1, 2.0, false], [0.25, 0, 2.0, true]], \"1\""
        ),
        "{json}"
    );
    assert_eq!(Mdp::from_json(&text).unwrap(), double);

    for id in ["FrozenLake8x8-v1", "CliffWalking-v1", "Taxi-v3", "Blackjack-v1", "GridWorld-v0"] {
        let table = finite_table(id).unwrap();
        let mdp = Mdp::<f64>::from_table(&table);
        let mut text = Vec::new();
        table.to_json(&mut text).unwrap();
        assert_eq!(Mdp::from_json(&text).unwrap(), mdp, "{id}");
        text.clear();
        mdp.to_json(&mut text).unwrap();
        assert_same(id, &Mdp::from_json(&text).unwrap(), &mdp, 1e-15);
        match AnyMdp::from_npz(Cursor::new(npz(&mdp))).unwrap() {
            AnyMdp::F64(read) => assert_same(id, &read, &mdp, 0.0),
            AnyMdp::F32(_) => panic!("{id}: the wrong precision"),
        }
    }
}

#[test]
fn json_may_have_any_order_and_layout() {
    let text = br#"
        { "1" : {"0": [[0.125, 0, 0.5, 0], [8.75e-1, 1.0, 0, 1]]},
          "0" : {"1": [[1, 1, -1, false]], "0": [[0.5, 0, 1, false], [0.25, 1, 2, false], [0.25, 1, 4, true], [0, 1, 9, true]]} }"#;
    assert_eq!(Mdp::from_json(text).unwrap(), small::<f64>());
}

#[test]
fn bad_json_is_refused_with_line_state_and_action() {
    let ok = "[[1.0, 0, 0.0, false]]";
    let row = |row: &str| format!("{{\"0\": {{\"0\": {ok},\n \"1\": {row}}}}}");
    let cases = [
        ("".to_owned(), "line 1, column 0: the file ends too early"),
        ("{".to_owned(), "line 1, column 1: the file ends too early"),
        ("{}".to_owned(), "there are no states"),
        ("[]".to_owned(), "line 1, column 0: invalid type: sequence, expected an object of states"),
        ("{\"0\": {}}".to_owned(), "line 1, column 8: state 0: there is no action"),
        ("{\"0\": []}".to_owned(), "state 0: invalid type: sequence, expected an object of actions"),
        ("{\"a\": {}}".to_owned(), "`a` is no number of a state: must be a whole number from 0"),
        ("{\"-1\": {}}".to_owned(), "`-1` is no number of a state"),
        ("{\"00\": {}}".to_owned(), "`00` is no number of a state"),
        ("{\"4294967295\": {}}".to_owned(), "`4294967295` is no number of a state"),
        (format!("{{\"0\": {{\"0\": {ok}}}, \"4000000000\": {{\"0\": {ok}}}}}"), "state 1 is missing"),
        (format!("{{\"1\": {{\"0\": {ok}}}}}"), "state 0 is missing"),
        (
            format!("{{\"0\": {{\"0\": {ok}}},\n\"0\": {{\"0\": {ok}}}}}"),
            "line 2, column 3: state 0 is given twice",
        ),
        (format!("{{\"0\": {{\"0\": {ok}, \"0\": {ok}}}}}"), "state 0: action 0 is given twice"),
        (format!("{{\"0\": {{\"0\": {ok}, \"2\": {ok}}}}}"), "state 0: action 1 is missing"),
        (format!("{{\"0\": {{\"x\": {ok}}}}}"), "state 0: `x` is no number of an action"),
        (format!("{{\"0\": {{\"0\": {ok}}}}} x"), "line 1, column 38: trailing characters"),
        (
            row("[[1.0, 0, 0.0, false]"),
            "line 2, column 28: state 0, action 1, outcome 1: expected `,` or `]`",
        ),
        (row("[]"), "state 0, action 1: the probabilities sum to 0, must be 1 within 1e-9"),
        (
            row("3"),
            "line 2, column 7: state 0, action 1: invalid type: integer `3`, expected a list of outcomes",
        ),
        (
            row("[1.0, 0, 0.0, false]"),
            "state 0, action 1, outcome 0: invalid type: floating point `1.0`, expected an outcome",
        ),
        (
            row("[[1.0, 0, 0.0]]"),
            "line 2, column 20: state 0, action 1, outcome 0: invalid length 3, expected an outcome [probability",
        ),
        (
            row("[[1.0, 0, 0.0, false, 7]]"),
            "state 0, action 1, outcome 0: invalid length 5, expected an outcome",
        ),
        (row("[[\"a\", 0, 0.0, false]]"), "outcome 0: invalid type: string \"a\", expected f64"),
        (row("[[null, 0, 0.0, false]]"), "outcome 0: invalid type: null, expected f64"),
        (
            row("[[NaN, 0, 0.0, false]]"),
            "line 2, column 9: state 0, action 1, outcome 0: NaN and Infinity are not numbers in JSON",
        ),
        (
            row("[[1.0, 0, -Infinity, false]]"),
            "state 0, action 1, outcome 0: NaN and Infinity are not numbers in JSON",
        ),
        (row("[[1e999, 0, 0.0, false]]"), "outcome 0: number out of range"),
        (
            row("[[1.0, -1, 0.0, false]]"),
            "invalid value: integer `-1`, expected a next state, a whole number from 0",
        ),
        (row("[[1.0, 0.5, 0.0, false]]"), "invalid value: floating point `0.5`, expected a next state"),
        (
            row("[[1.0, 5000000000, 0.0, false]]"),
            "invalid value: integer `5000000000`, expected a next state",
        ),
        (
            row("[[1.0, 0, 0.0, 2]]"),
            "invalid value: integer `2`, expected terminated, which is true or false",
        ),
        (row("[[1.0, 0, 0.0, \"no\"]]"), "invalid type: string \"no\", expected terminated"),
        (row("[[1.0, 1, 0.0, false]]"), "state 0, action 1: the next state is 1, must be in 0..=0"),
        (
            row("[[-0.5, 0, 0.0, false], [1.5, 0, 0.0, false]]"),
            "state 0, action 1: a probability is -0.5, must be in [0, 1]",
        ),
        (row("[[1.5, 0, 0.0, false]]"), "state 0, action 1: a probability is 1.5, must be in [0, 1]"),
        (
            row("[[0.4, 0, 0.0, false], [0.5, 0, 1.0, true]]"),
            "state 0, action 1: the probabilities sum to 0.9, must be 1 within 1e-9",
        ),
        (row("[[0.4999999, 0, 0.0, false], [0.5, 0, 1.0, true]]"), "the probabilities sum to 0.99999989"),
    ];
    let mut wrong = Vec::new();
    for (text, message) in cases {
        let error = Mdp::from_json(text.as_bytes()).expect_err(&text).to_string();
        if !error.contains(message) {
            wrong.push(format!("{text}: {message:?} is not in {error:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// A file cut off anywhere, or with any of its bytes changed, is refused or read; nothing panics.
#[test]
fn damaged_files_do_not_panic() {
    let mut text = Vec::new();
    finite_table("GridWorld").unwrap().to_json(&mut text).unwrap();
    let text = text.trim_ascii_end();
    for end in 0..text.len() {
        assert!(Mdp::from_json(&text[..end]).is_err(), "the first {end} bytes");
    }
    let whole = std::fs::read(recorded("FrozenLake-v1-f32.npz")).unwrap();
    for end in 0..whole.len() {
        assert!(AnyMdp::from_npz(Cursor::new(&whole[..end])).is_err(), "the first {end} bytes");
    }
    let whole = npz(&small::<f64>());
    for i in 0..whole.len() {
        for change in [1, 0x80, 0xff] {
            let mut bytes = whole.clone();
            bytes[i] ^= change;
            let _ = AnyMdp::from_npz(Cursor::new(bytes));
        }
    }
}

/// An array of NumPy from its type, its shape as Python writes it, and its bytes.
fn npy(descr: &str, shape: &str, data: &[u8]) -> Vec<u8> {
    let header = format!("{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}\n");
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((header.len() as u16).to_le_bytes());
    bytes.extend(header.as_bytes());
    bytes.extend(data);
    bytes
}

fn i64s(values: &[i64]) -> Vec<u8> {
    npy(
        "'<i8'",
        &format!("({},)", values.len()),
        &values.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<_>>(),
    )
}

fn f64s(values: &[f64]) -> Vec<u8> {
    npy(
        "'<f8'",
        &format!("({},)", values.len()),
        &values.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<_>>(),
    )
}

fn archive(arrays: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, bytes) in arrays {
        let options = SimpleFileOptions::default().compression_method(CompressionMethod::Deflated);
        zip.start_file(format!("{name}.npy"), options).unwrap();
        zip.write_all(bytes).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

/// Two states with two actions each; one outcome of each pair, and two of the last.
fn good() -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("first_pair", i64s(&[0, 2, 4])),
        ("first_entry", i64s(&[0, 1, 2, 3, 5])),
        ("prob", f64s(&[1.0, 1.0, 1.0, 0.5, 0.5])),
        ("next", i64s(&[0, 1, 0, 1, 0])),
        ("reward", f64s(&[0.0, 1.0, 2.0, 3.0])),
        ("terminated", npy("'|b1'", "(5,)", &[0, 0, 0, 0, 1])),
    ]
}

/// The message for a file in which one array is replaced.
fn refusal(name: &'static str, array: Vec<u8>) -> String {
    let mut arrays = good();
    arrays.retain(|(n, _)| *n != name);
    arrays.push((name, array));
    AnyMdp::from_npz(Cursor::new(archive(&arrays))).expect_err(name).to_string()
}

#[test]
fn bad_arrays_are_refused_by_name() {
    let expected = AnyMdp::from_npz(Cursor::new(archive(&good()))).unwrap();
    // The same with the number of actions, which is a number or an array of one.
    for (shape, bytes) in [("()", 2u16.to_le_bytes()), ("(1,)", 2u16.to_le_bytes())] {
        let mut arrays = good();
        arrays[0] = ("num_actions", npy("'<u2'", shape, &bytes));
        assert_eq!(AnyMdp::from_npz(Cursor::new(archive(&arrays))).unwrap(), expected);
    }
    for (name, array, message) in [
        ("first_pair", i64s(&[0]), "there are no states"),
        ("first_pair", i64s(&[]), "array first_pair: first_pair is empty, must begin with 0"),
        ("first_pair", i64s(&[1, 2, 4]), "array first_pair: element 0 of first_pair is 1, must be 0"),
        ("first_pair", i64s(&[0, 3, 2]), "element 2 of first_pair is 2, must be at least 3"),
        ("first_pair", i64s(&[0, 0, 4]), "state 0 has no action"),
        ("first_pair", i64s(&[0, 2, -4]), "array first_pair: element 2 is -4, must be in 0..=4294967295"),
        ("first_pair", i64s(&[0, 2, 1 << 40]), "array first_pair: element 2 is 1099511627776"),
        ("first_pair", i64s(&[0, 2, 5]), "array first_entry: the length of first_entry is 5, must be 6"),
        (
            "first_entry",
            i64s(&[0, 2, 1, 3, 5]),
            "element 2 of first_entry is 1, must be at least 2, like the one before it",
        ),
        ("first_entry", i64s(&[0, 1, 1, 3, 5]), "state 0, action 1: the probabilities sum to 0, must be 1"),
        ("first_entry", i64s(&[0, 1, 2, 3, 6]), "array next: the length of next is 5, must be 6"),
        ("prob", f64s(&[1.0; 4]), "array prob: the length of prob is 4, must be 5"),
        (
            "prob",
            f64s(&[1.0, 1.0, f64::NAN, 0.5, 0.5]),
            "state 1, action 0: a probability is NaN, must be in [0, 1]",
        ),
        (
            "prob",
            f64s(&[1.0, 1.0, 1.0, 1.5, -0.5]),
            "state 1, action 1: a probability is 1.5, must be in [0, 1]",
        ),
        (
            "prob",
            f64s(&[1.0, 0.25, 1.0, 0.5, 0.5]),
            "state 0, action 1: the probabilities sum to 0.25, must be 1 within 1e-9",
        ),
        ("prob", i64s(&[1; 5]), "array prob: its type is <i8, must be float32 or float64 (<f4, <f8)"),
        ("prob", npy("'>f8'", "(5,)", &[0; 40]), "array prob: its type is >f8, must be float32 or float64"),
        ("prob", npy("[('a', '<f8')]", "(5,)", &[0; 40]), "array prob: its type is [('a', '<f8')], must be"),
        (
            "prob",
            npy("'<f8'", "(5, 1)", &[0; 40]),
            "array prob: has the shape (5, 1), must have one dimension",
        ),
        ("prob", npy("'<f8'", "()", &[0; 8]), "array prob: has the shape (), must have one dimension"),
        ("prob", npy("'<f8'", "(5,)", &[0; 39]), "array prob: is cut short: its shape says 5 elements"),
        (
            "prob",
            npy("'<f8'", "(5,)", &[0; 41]),
            "array prob: has more data than the 5 elements of its shape",
        ),
        (
            "prob",
            npy("'<f8'", "(4294967295,)", &[0; 40]),
            "array prob: is cut short: its shape says 4294967295 elements",
        ),
        (
            "prob",
            npy("'<f8'", "(99999999999999,)", &[0; 40]),
            "its length is 99999999999999, must be at most 4294967295",
        ),
        (
            "prob",
            npy("'<f8'", "(-1,)", &[0; 40]),
            "array prob: is no array of NumPy: its header has no descr or shape",
        ),
        ("prob", b"prob".to_vec(), "array prob: is no array of NumPy: its header is cut short"),
        ("prob", b"probabilities".to_vec(), "array prob: is no array of NumPy: it does not begin with"),
        (
            "prob",
            b"\x93NUMPY\x07\x00aaaa".to_vec(),
            "array prob: is no array of NumPy: its version is 7, must be 1, 2 or 3",
        ),
        ("prob", b"\x93NUMPY\x02\x00\xff\xff\xff\xff".to_vec(), "its header is longer than 65536 bytes"),
        (
            "next",
            i64s(&[0, 1, 0, 2, 0]),
            "array next: state 1, action 1: the next state is 2, must be in 0..=1",
        ),
        (
            "next",
            i64s(&[0, -1, 0, 1, 0]),
            "array next: state 0, action 1: the next state is -1, must be in 0..=1",
        ),
        ("next", f64s(&[0.0; 5]), "array next: its type is <f8, must be an integer type"),
        ("reward", f64s(&[0.0; 3]), "array reward: the length of reward is 3, must be 4 or 5"),
        (
            "reward",
            f64s(&[0.0, f64::INFINITY, 0.0, 0.0]),
            "state 0, action 1: the reward is inf, must be finite",
        ),
        (
            "reward",
            f64s(&[0.0, 0.0, 0.0, 0.0, f64::NAN]),
            "state 1, action 1: the reward is NaN, must be finite",
        ),
        ("terminated", i64s(&[0; 4]), "array terminated: the length of terminated is 4, must be 5"),
        ("terminated", i64s(&[0, 0, 7, 0, 0]), "array terminated: state 1, action 0: is 7, must be 0 or 1"),
        ("terminate", i64s(&[0; 5]), "has an array \"terminate\", which is none of first_pair, num_actions,"),
        ("num_actions", i64s(&[2]), "has both first_pair and num_actions"),
    ] {
        let error = refusal(name, array);
        assert!(error.contains(message), "{name}: {message:?} is not in {error:?}");
    }
    for (name, message) in [
        ("first_pair", "has no array first_pair (or num_actions)"),
        ("first_entry", "has no array first_entry"),
        ("prob", "has no array prob"),
        ("next", "has no array next"),
        ("reward", "has no array reward"),
    ] {
        let mut arrays = good();
        arrays.retain(|(n, _)| *n != name);
        let error = AnyMdp::from_npz(Cursor::new(archive(&arrays))).expect_err(name).to_string();
        assert_eq!(error, message);
    }
    let with_actions = |values: &[i64]| {
        let mut arrays = good();
        arrays[0] = ("num_actions", i64s(values));
        AnyMdp::from_npz(Cursor::new(archive(&arrays))).unwrap_err().to_string()
    };
    assert_eq!(
        with_actions(&[3]),
        "array first_entry: its length is 5, must be 1 more than a multiple of num_actions = 3"
    );
    assert_eq!(with_actions(&[0]), "array num_actions: is 0, must be in 1..=4294967295");
    assert_eq!(with_actions(&[2, 2]), "array num_actions: has the shape (2,), must be one number");
}

#[test]
fn single_precision_may_miss_a_sum_of_1_by_more() {
    let mut arrays = good();
    let third: Vec<u8> =
        [1.0f32, 1.0, 1.0, 0.3333333, 0.6666665].iter().flat_map(|p| p.to_le_bytes()).collect();
    arrays[2] = ("prob", npy("'<f4'", "(5,)", &third));
    assert!(
        matches!(AnyMdp::from_npz(Cursor::new(archive(&arrays))).unwrap(), AnyMdp::F32(mdp) if mdp.defect() > 1e-7)
    );
    arrays[2] = ("prob", f64s(&[1.0, 1.0, 1.0, 0.3333333, 0.6666665]));
    let error = AnyMdp::from_npz(Cursor::new(archive(&arrays))).unwrap_err().to_string();
    assert!(error.contains("sum to 0.9999998"), "{error}");
}

#[test]
fn files_that_are_none_are_refused() {
    let error = |path: &str| read_mdp(Path::new(path)).unwrap_err().to_string();
    assert_eq!(error("mdp.txt"), "mdp.txt: must end in .json or .npz");
    assert!(error("nowhere.json").starts_with("nowhere.json: can't be read: "));
    assert!(error("nowhere.npz").starts_with("nowhere.npz: can't be read: "));
    for bytes in [&b""[..], b"not an archive", b"PK\x05\x06"] {
        let error = AnyMdp::from_npz(Cursor::new(bytes)).unwrap_err().to_string();
        assert!(error.starts_with("is no .npz file, or is cut short ("), "{error}");
    }
    // A damaged byte fails the checksum.
    let mut bytes = npz(&small::<f64>());
    let at = bytes.windows(8).position(|w| w == 0.875f64.to_le_bytes()).expect("stored as it is");
    bytes[at] ^= 1;
    let error = AnyMdp::from_npz(Cursor::new(bytes)).unwrap_err().to_string();
    assert!(
        error.starts_with("array prob: can't be read: ") && error.to_lowercase().contains("checksum"),
        "{error}"
    );
}
