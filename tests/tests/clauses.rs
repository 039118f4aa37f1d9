//! Every clause of the layout is checked by something that is there.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use smstream_tests::kit;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn read(path: impl AsRef<Path>) -> String {
    let path = path.as_ref();
    fs::read_to_string(path).unwrap_or_else(|e| panic!("cannot read {}: {e}", path.display()))
}

/// The clauses that LAYOUT has, each once.
fn clauses() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for bold in read(root().join("docs/LAYOUT.md")).split("**").skip(1).step_by(2) {
        let is_clause =
            bold.len() > 1 && bold[1..].bytes().all(|b| b.is_ascii_digit()) && bold.as_bytes()[0].is_ascii_uppercase();
        if is_clause {
            assert!(found.insert(bold.to_owned()), "LAYOUT has two clauses {bold}");
        }
    }
    assert!(found.len() > 80, "only {} clauses", found.len());
    found
}

/// The lines of the kit's table: the clauses, and what is said to check them.
fn rows(clauses: &BTreeSet<String>) -> Vec<(Vec<String>, String)> {
    let text = read(kit::folder().join("README.md"));
    let cells = |line: &str| line.split('|').map(|cell| cell.trim().to_owned()).collect::<Vec<_>>();
    let lines = text.lines().filter(|line| line.starts_with("| ")).map(cells);
    let names = |cell: &str| cell.split(' ').map(str::to_owned).collect::<Vec<_>>();
    let rows = lines.filter(|cells| cells.len() > 2).map(|cells| (names(&cells[1]), cells[2].clone()));
    rows.filter(|(names, _)| names.iter().all(|name| clauses.contains(name))).collect()
}

/// The names in the first column of a table of the kit.
fn first_column(file: &str) -> Vec<String> {
    let text = read(kit::folder().join(file));
    text.lines().filter(|l| !l.starts_with('#')).filter_map(|l| Some(l.split(';').next()?.to_owned())).collect()
}

/// What is wrong with a pointer of a line about these clauses.
fn wrong(pointer: &str, about: &[String]) -> Option<String> {
    let any = |names: &[String], wanted: &str| match wanted.strip_suffix('*') {
        Some(prefix) => names.iter().any(|name| name.starts_with(prefix)),
        None => names.iter().any(|name| name == wanted),
    };
    let found = match pointer.split_once(' ') {
        Some(("case", name)) => any(&first_column("cases.csv"), name),
        Some(("message", name)) => any(&first_column("messages.csv"), name),
        Some(("vector", name)) => kit::folder().join("vectors").join(format!("{name}.csv")).exists(),
        Some(("pair", mode)) => {
            let script = read(root().join("tests/interop/peers"));
            let modes = script.lines().find(|line| line.starts_with("MODES = ")).expect("a list of modes");
            modes.contains(&format!("\"{mode}\""))
        }
        None if pointer == "conform" => {
            let folder = root().join("std-adapter/cli/src/conform/play");
            let files = fs::read_dir(&folder).expect("the plays").map(|entry| read(entry.expect("an entry").path()));
            let plays = files.collect::<String>();
            about.iter().any(|name| plays.contains(&format!("\"{name}\"")))
        }
        _ => match pointer.split_once("::") {
            Some((file, test)) => {
                let path = root().join(file);
                // With the type or the keyword before it: a definition, and no call.
                let begin = [" fn ", "\nfn ", "\nfunc ", "\nstatic void ", "\nstatic void *", "\ndef "];
                path.exists() && begin.iter().any(|begin| read(&path).contains(&format!("{begin}{test}(")))
            }
            None => false,
        },
    };
    (!found).then(|| format!("{}: there is no {pointer}", about.join(" ")))
}

/// Each clause has a line in the kit's table, with a pointer to a test at least; and each pointer leads to one.
#[test]
fn every_clause_is_checked_by_something() {
    let clauses = clauses();
    let (mut listed, mut trouble) = (BTreeSet::new(), Vec::new());
    for (names, text) in rows(&clauses) {
        let pointers: Vec<&str> = text.split('`').skip(1).step_by(2).collect();
        if pointers.is_empty() {
            trouble.push(format!("{}: checked by nothing", names.join(" ")));
        }
        trouble.extend(pointers.iter().filter_map(|pointer| wrong(pointer, &names)));
        for name in names {
            assert!(listed.insert(name.clone()), "tests/conformance/README.md has two lines for {name}");
        }
    }
    trouble.extend(clauses.difference(&listed).map(|name| format!("{name}: no line")));
    assert!(trouble.is_empty(), "tests/conformance/README.md: {}", trouble.join("\n"));
}

/// A pointer that leads to nothing is found.
#[test]
fn pointers_are_looked_up() {
    let about = ["W4".to_owned()];
    for good in ["case memfds-0", "case fault-*", "message hello-twice", "vector diff", "pair sum", "conform"] {
        assert_eq!(wrong(good, &about), None);
    }
    assert_eq!(wrong("tests/tests/clauses.rs::pointers_are_looked_up", &about), None);
    for bad in ["case memfds", "case no-*", "vector no", "pair no", "tests/tests/clauses.rs::no", "no.rs::no", "words"]
    {
        assert!(wrong(bad, &about).is_some(), "{bad}");
    }
    assert!(wrong("conform", &["C3".to_owned()]).is_some());
}

/// The tables of the kit name clauses that there are.
#[test]
fn the_tables_name_clauses() {
    let clauses = clauses();
    for file in ["cases.csv", "messages.csv"] {
        for line in read(kit::folder().join(file)).lines().filter(|l| !l.starts_with('#')) {
            for rule in line.split(';').nth(1).unwrap_or_default().split(' ') {
                assert!(clauses.contains(rule), "{file}: {line}: LAYOUT has no clause {rule}");
            }
        }
    }
}
