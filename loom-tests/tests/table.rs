//! The mutants of the core, of `mutants.toml` and of the table in `README.md` are the same. Whether they die is for the
//! script `mutants`.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// The words between `before` and `after`, wherever they stand in `text`.
fn between<'t>(text: &'t str, before: &'t str, after: char) -> impl Iterator<Item = String> + 't {
    text.split(before).skip(1).filter_map(move |rest| Some(rest.split_once(after)?.0.to_owned()))
}

fn is_name(name: &str) -> bool {
    !name.is_empty() && name.chars().all(|c| c.is_ascii_lowercase() || c == '_')
}

fn in_source(dir: &Path, names: &mut BTreeSet<String>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            in_source(&path, names);
        } else {
            let code = fs::read_to_string(path).unwrap();
            names.extend(between(&code, "mutant!(\"", '"').filter(|name| is_name(name)));
        }
    }
}

#[test]
fn source_list_and_readme_name_the_same_mutants() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut source = BTreeSet::new();
    in_source(&here.join("../core/src"), &mut source);
    source.retain(|name| !name.starts_with("accept_")); // Of the acceptance rule; `tests/mutants` has these.
    assert!(source.len() > 40, "{source:?}");

    let list = fs::read_to_string(here.join("mutants.toml")).unwrap();
    let mut listed: BTreeSet<_> = between(&list, "\n[", ']').collect();
    assert!(listed.remove("relaxed_by_design"));
    assert_eq!(source, listed, "core/src and mutants.toml");

    let readme = fs::read_to_string(here.join("README.md")).unwrap();
    let tabled: BTreeSet<_> = between(&readme, "\n| `", '`').filter(|name| listed.contains(name)).collect();
    assert_eq!(listed, tabled, "mutants.toml and README.md; loom-tests/mutants --write makes the table");
}
