//! What is kept of the kernels' mutation (`examples/mutate`) is of the sources as they are, and says of every mutant
//! that no case noticed why.

// A test that cannot go on has failed.
#![allow(clippy::unwrap_used)]

#[path = "../examples/mutate/results.rs"]
#[allow(dead_code)]
mod results;
#[path = "../build/sources.rs"]
#[allow(dead_code)]
mod sources;
#[path = "../examples/mutate/words.rs"]
#[allow(dead_code)]
mod words;

use results::{Results, Survivor};
use std::collections::BTreeMap;
use std::path::Path;

/// Why the kernels' sources cannot be read.
#[derive(Debug)]
pub struct Failure(pub String);

fn kernels() -> Vec<sources::Source> {
    sources::scan(Path::new(sources::FOLDER)).unwrap()
}

#[test]
fn every_kernel_that_synchronises_was_mutated_as_it_is() {
    let mut complaints = Vec::new();
    for source in kernels() {
        let (name, files) = (&source.name, sources::with_includes(&source.path).unwrap());
        let results = Results::read(name).unwrap();
        let synchronises = results::own(&files).any(|(_, text)| !words::calls(text).is_empty());
        match results {
            None if synchronises => complaints.push(format!("{name}: it was never mutated")),
            Some(results) if results.sha256 != results::digest(&files) => {
                complaints.push(format!("{name}: its source has changed since it was mutated"));
            }
            _ => {}
        }
    }
    let hint = "run: cargo run --release --example mutate -- NAME";
    assert!(complaints.is_empty(), "{}\n{hint}", complaints.join("\n"));
}

#[test]
fn every_result_is_of_a_kernel_and_explains_what_survived() {
    let sources = kernels();
    let mut complaints = Vec::new();
    for path in sources::files(Path::new(results::FOLDER), "json").unwrap() {
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        assert!(sources.iter().any(|source| source.name == name), "{}: of no kernel", path.display());
        let found = Results::read(&name).unwrap().unwrap().complaints();
        complaints.extend(found.into_iter().map(|complaint| format!("{name}: {complaint}")));
    }
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}

fn survivor(line: usize, equivalent: bool, explanation: &str) -> Survivor {
    let context = vec!["a();".to_owned(), "block::sync();".to_owned(), "b();".to_owned()];
    let (file, word, explanation) =
        ("kernels/a.cu".to_owned(), "block::sync".to_owned(), explanation.to_owned());
    Survivor { file, line, word, context, equivalent, explanation }
}

fn results(mutants: usize, survivors: Vec<Survivor>) -> Results {
    let killed = BTreeMap::from([("values".to_owned(), mutants - survivors.len())]);
    Results { sha256: String::new(), mutants, killed, survivors }
}

#[test]
fn survivors_need_an_explanation_and_count_unless_they_are_equivalent() {
    assert!(results(3, vec![survivor(1, true, "nobody reads it")]).complaints().is_empty());
    assert_eq!(results(3, vec![survivor(1, true, " ")]).complaints().len(), 1);
    assert_eq!(
        results(3, vec![survivor(1, false, "too rare")]).complaints(),
        ["2 of 3 mutants were killed, too few"]
    );
    assert!(results(20, vec![survivor(1, false, "too rare")]).complaints().is_empty());
}

#[test]
fn explanations_follow_a_call_that_moves() {
    let mut found = results(3, vec![survivor(12, false, "")]);
    found.explain_as(&results(3, vec![survivor(7, true, "nobody reads it")]));
    assert_eq!(found.survivors, [survivor(12, true, "nobody reads it")]);
    let mut other = survivor(7, false, "");
    other.context[2] = "c();".to_owned();
    let mut found = results(3, vec![other.clone()]);
    found.explain_as(&results(3, vec![survivor(7, true, "nobody reads it")]));
    assert_eq!(found.survivors, [other]);
}

const SOURCE: &str = "\
__device__ void f(int n) {
  // block::sync() is not called here; é.

  cp_async::commit();
  cp_async::wait<STAGES - 2>();  /* warp::sync() */ block::sync();
  block::sum(n);
  named_barrier::sync(1,
                      32 * (n + 1));
  my_block::sync();
  if (warp::any(n)) warp::sync();
  ring.wait_full();
  ring.next();
}
";

#[test]
fn calls_that_synchronise_are_found() {
    let found = words::calls(SOURCE);
    let places: Vec<(usize, &str)> = found.iter().map(|call| (call.line, call.word.as_str())).collect();
    let expected = [
        (4, "cp_async::commit"),
        (5, "cp_async::wait<STAGES - 2>"),
        (5, "block::sync"),
        (7, "named_barrier::sync"),
        (10, "warp::sync"),
        (11, "ring.wait_full"),
    ];
    assert_eq!(places, expected);
    assert_eq!(found[0].context[0], "// block::sync() is not called here; é.");
    assert_eq!(found[0].context[1], "cp_async::commit();");
    assert_eq!(found[5].context[2], "ring.next();");
}

#[test]
fn a_deleted_call_leaves_every_other_line_where_it_was() {
    let call = &words::calls(SOURCE)[3];
    assert_eq!(call.line, 7);
    let mutant = call.deleted_from(SOURCE);
    assert_eq!(mutant.lines().count(), SOURCE.lines().count());
    assert_eq!(mutant.lines().nth(6), Some("  (void)0"));
    assert_eq!(mutant.lines().nth(7), Some(";"));
    let without = |text: &str| {
        text.lines()
            .enumerate()
            .filter(|(at, _)| !(6..8).contains(at))
            .map(|(_, line)| line.to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(without(&mutant), without(SOURCE));
}
