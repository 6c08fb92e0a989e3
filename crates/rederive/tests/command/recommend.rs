//! `rederive recommend`, on generated ratings, on a file, and on files that are wrong.

use crate::rederive;
use std::fs;
use tempfile::tempdir;

#[test]
fn generated_ratings_are_learnt_better_than_by_group_means() {
    let dir = tempdir().unwrap();
    let at = dir.path();
    let args = ["recommend", "--generate", "--seed", "3", "--out", "r.csv", "--json"];
    let made = rederive(at, &args).success().json();
    let rmse = |name: &str| made["rmse"][name].as_f64().unwrap();
    assert!(rmse("recommender") < rmse("group_mean") && rmse("group_mean") < rmse("mean"), "{made}");
    assert_eq!(made["recommended"].as_array().unwrap().len(), 5);
    // The file holds the same ratings; its users come in the order of their first rating.
    let read =
        rederive(at, &["recommend", "r.csv", "--seed", "3", "--user", "user1", "--json"]).success().json();
    assert_eq!((&read["ratings"], &read["user"]), (&made["ratings"], &made["user"]));
    let person = rederive(at, &["recommend", "r.csv", "--user", "user7", "--top", "2"]).success();
    assert!(
        person.out.contains("for user7:") && person.out.contains("error on the tested ratings"),
        "{}",
        person.out
    );
}

#[test]
fn bad_ratings_are_refused_with_file_line_and_column() {
    let dir = tempdir().unwrap();
    let at = dir.path();
    for (text, parts) in [
        ("", &["bad.csv: is empty"][..]),
        ("user,film\na,b\n", &["bad.csv, line 1", "no column `rating`"]),
        ("user,film,rating\na,b,4\na,c,\n", &["bad.csv, line 3, column rating: is missing"]),
        (
            "user,film,rating\na,b,4\na,c,good\n",
            &["bad.csv, line 3, column rating", "`good`", "not a number"],
        ),
        ("user,film,rating,user_age\na,b,4,NaN\n", &["bad.csv, line 2, column user_age", "must be finite"]),
        ("user,film,rating\n\"a,b,4\n", &["bad.csv"]),
    ] {
        fs::write(at.join("bad.csv"), text).unwrap();
        let done = rederive(at, &["recommend", "bad.csv"]);
        assert_eq!((done.code, done.out.as_str()), (2, ""), "{text:?}: {}", done.err);
        for part in parts {
            assert!(done.err.contains(part), "{text:?}: {}", done.err);
        }
    }
    for (args, part) in [
        (&["recommend", "none.csv"][..], "none.csv: can't be read"),
        (&["recommend"], "required"),
        (&["recommend", "a.csv", "--generate"], "cannot be used with"),
        (&["recommend", "--generate", "--alpha", "0"], "alpha = 0: must be in (0, 1]"),
        (&["recommend", "--generate", "--user", "user0x"], "nobody of this name has rated anything"),
    ] {
        let done = rederive(at, args);
        assert_eq!((done.code, done.out.as_str()), (2, ""), "{args:?}: {}", done.err);
        assert!(done.err.contains(part), "{args:?}: {}", done.err);
    }
}
