//! All mutants of one kernel source.

use crate::library::{self, Files};
use crate::results::{self, Results, Survivor};
use crate::sources::Source;
use crate::trial::{self, Outcome, Trial};
use crate::variant::{CHECKED, PLAIN, Variant};
use crate::words::{self, Call};
use rayon::prelude::*;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// What a trial may take, as a multiple of the unchanged kernel's, and beyond that: other programs run too.
const PATIENCE: u32 = 4;
const GRACE: Duration = Duration::from_secs(30);

/// A source with one call less.
struct Mutant {
    file: PathBuf,
    call: Call,
}

/// What all mutants of one source share.
struct Subject<'a> {
    source: &'a Source,
    files: Files,
    /// The unchanged source, compiled.
    library: Vec<u8>,
    cases: Vec<usize>,
    limit: Duration,
}

/// Tries all mutants of `source`, says what became of them, and writes it down.
pub fn mutate(source: &Source) -> Result<(), String> {
    let files = library::files(source)?;
    let mutants = mutants(&files);
    if mutants.is_empty() {
        return Ok(());
    }
    let subject = Subject::new(source, files)?;
    let try_one = |mutant: &Mutant| {
        let outcome = subject.try_out(mutant)?;
        if let Some(outcome) = &outcome {
            println!("{}", line(mutant, outcome));
        }
        Ok(outcome)
    };
    let outcomes: Vec<Option<Outcome>> = mutants.par_iter().map(try_one).collect::<Result<_, String>>()?;
    let mut found = summary(&subject, &mutants, &outcomes);
    if let Some(earlier) = Results::read(&source.name)? {
        found.explain_as(&earlier);
    }
    found.write(&source.name)?;
    let killed: usize = found.killed.values().sum();
    println!("{}: {killed} of {} killed", source.name, found.mutants);
    found.complaints().iter().for_each(|complaint| println!("{complaint}"));
    Ok(())
}

/// Every mutant of a kernel's own files.
fn mutants(files: &Files) -> Vec<Mutant> {
    let of_file = |(path, text): (&Path, &str)| {
        let file = path.to_owned();
        words::calls(text)
            .into_iter()
            .map(move |call| Mutant { file: file.clone(), call })
            .collect::<Vec<_>>()
    };
    results::own(files).flat_map(of_file).collect()
}

impl<'a> Subject<'a> {
    /// Compiles the unchanged source and sees that its cases pass.
    fn new(source: &'a Source, files: Files) -> Result<Self, String> {
        let name = &source.name;
        let cases = trial::cases_of(&source.symbols)?;
        if cases.is_empty() {
            return Err(format!("{name}: no small case launches a kernel of it"));
        }
        println!("{name}: {} cases", cases.len());
        let mut subject = Self { source, files, library: Vec::new(), cases, limit: Duration::MAX };
        let start = Instant::now();
        for variant in [CHECKED, PLAIN] {
            let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
            let library = library::compile(source, &subject.files, &variant, folder.path())?;
            subject.library = std::fs::read(&library).map_err(|error| error.to_string())?;
            if let Outcome::Killed(_, how) = subject.hold(library, &variant)? {
                return Err(format!("{name}, {}: the unchanged kernel fails: {how}", variant.name));
            }
        }
        subject.limit = start.elapsed() * PATIENCE + GRACE;
        Ok(subject)
    }

    /// What becomes of a mutant; none if it is no other than the unchanged kernel, which does not use that line.
    fn try_out(&self, mutant: &Mutant) -> Result<Option<Outcome>, String> {
        let mut files = self.files.clone();
        files.entry(mutant.file.clone()).and_modify(|text| *text = mutant.call.deleted_from(text));
        for variant in [PLAIN, CHECKED] {
            let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
            let library = match library::compile(self.source, &files, &variant, folder.path()) {
                Ok(library) => library,
                Err(said) => return Ok(Some(Outcome::killed("compiler", said))),
            };
            if std::fs::read(&library).is_ok_and(|bytes| bytes == self.library) {
                return Ok(None);
            }
            let outcome = self.hold(library, &variant)?;
            if outcome != Outcome::Survived {
                return Ok(Some(outcome));
            }
        }
        Ok(Some(Outcome::Survived))
    }

    fn hold(&self, library: PathBuf, variant: &Variant) -> Result<Outcome, String> {
        let checked = variant.name == CHECKED.name;
        Trial { library, cases: self.cases.clone(), checked }.hold(self.limit)
    }
}

fn line(Mutant { file, call }: &Mutant, outcome: &Outcome) -> String {
    let place = format!("{}:{} {}", file.display(), call.line, call.word);
    match outcome {
        Outcome::Survived => format!("{place}: SURVIVED"),
        Outcome::Killed(by, how) => format!("{place}: {by}: {}", how.lines().next().unwrap_or_default()),
    }
}

fn summary(subject: &Subject<'_>, mutants: &[Mutant], outcomes: &[Option<Outcome>]) -> Results {
    let sha256 = results::digest(&subject.files);
    let mut found = Results { sha256, mutants: 0, killed: Default::default(), survivors: Vec::new() };
    for (Mutant { file, call }, outcome) in mutants.iter().zip(outcomes) {
        let Some(outcome) = outcome else { continue };
        found.mutants += 1;
        match outcome {
            Outcome::Killed(by, _) => *found.killed.entry(by.clone()).or_default() += 1,
            Outcome::Survived => found.survivors.push(Survivor {
                file: file.display().to_string(),
                line: call.line,
                word: call.word.clone(),
                context: call.context.clone(),
                equivalent: false,
                explanation: String::new(),
            }),
        }
    }
    found
}
