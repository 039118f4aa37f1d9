//! The workflow for public runners does what `.ci/run` does, and names only what exists.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn read(file: &str) -> String {
    fs::read_to_string(root().join(file)).unwrap_or_else(|e| panic!("cannot read {file}: {e}"))
}

fn workflow() -> String {
    read(".github/workflows/ci.yml")
}

/// The commands that its steps run, with each value of a matrix put in.
fn commands(workflow: &str) -> Vec<String> {
    let values = |key: &str| -> Vec<String> {
        let list = |text: &str| text.trim_matches(['[', ']']).split(", ").map(str::to_owned).collect();
        let mut lines = workflow.lines().skip_while(|line| !line.trim().starts_with(&format!("{key}:")));
        let first = lines.next().unwrap_or_else(|| panic!("no matrix of {key}"));
        let (_, inline) = first.split_once(": ").unwrap_or((first, ""));
        if !inline.is_empty() {
            return list(inline.trim());
        }
        lines.map_while(|line| line.trim().strip_prefix("- ").map(str::to_owned)).collect()
    };
    let mut commands = Vec::new();
    for command in workflow.lines().filter_map(|line| line.trim().strip_prefix("- run: ")) {
        match command.split_once("${{ matrix.") {
            None => commands.push(command.to_owned()),
            Some((before, after)) => {
                let (key, after) = after.split_once(" }}").expect("the end of a placeholder");
                commands.extend(values(key).iter().map(|value| format!("{before}{value}{after}")));
            }
        }
    }
    commands
}

fn is_script(command: &str) -> bool {
    let script = command.split(' ').next().unwrap_or_default();
    let path = root().join(script);
    script.contains('/') && path.metadata().is_ok_and(|it| it.is_file() && it.permissions().mode() & 0o111 != 0)
}

#[test]
fn each_step_of_the_workflow_is_a_script_that_exists() {
    let commands = commands(&workflow());
    assert!(commands.len() > 15, "{commands:?}");
    for command in &commands {
        assert!(is_script(command), "the workflow runs {command:?}, and that is no script of this project");
    }
    assert!(commands.iter().any(|command| command == ".ci/run"), "{commands:?}");
}

/// The steps of `.ci/run` that are scripts: their path and arguments.
fn steps() -> Vec<String> {
    let ci = read(".ci/run");
    let steps = ci.lines().filter_map(|line| line.strip_prefix("run \"")).filter_map(|step| step.split_once("\" "));
    steps.map(|(_, command)| command.to_owned()).filter(|command| command.contains('/') && is_script(command)).collect()
}

/// What runs at night is the long form of what runs each time.
#[test]
fn what_runs_at_night_is_a_step_of_ci() {
    let steps: BTreeSet<_> = steps().iter().map(|step| step.split(' ').next().expect("a script").to_owned()).collect();
    assert!(steps.len() > 15, "{steps:?}");
    for script in commands(&workflow()).iter().map(|command| command.split(' ').next().expect("a script")) {
        // The workflow's own; the whole suite again and again, which is no step of itself; and what takes too long for each time.
        let others = [".github/prepare", ".ci/run", "tests/loaded", "tests/leaks", "tests/asan", "tests/mutation"];
        if others.contains(&script) {
            continue;
        }
        assert!(steps.contains(script), "{script} is no step of .ci/run: {steps:?}");
    }
}

/// The matrices have all that there is.
#[test]
fn the_matrices_are_whole() {
    let commands = commands(&workflow());
    let of = |script: &str| -> BTreeSet<String> {
        let last = |command: &String| command.rsplit(' ').next().expect("a word").to_owned();
        commands.iter().filter(|command| command.starts_with(script)).map(last).collect()
    };
    let targets: BTreeSet<String> = fs::read_dir(root().join("fuzz/fuzz_targets"))
        .expect("the targets")
        .map(|entry| entry.expect("a target").path().file_stem().expect("a name").to_string_lossy().into_owned())
        .collect();
    assert_eq!(of("fuzz/run"), targets);
    let script = read("fuzz/run");
    let default = script.lines().find_map(|line| line.strip_prefix("targets=${2:-")).expect("the targets of fuzz/run");
    assert_eq!(default.trim_end_matches('}').split(' ').map(str::to_owned).collect::<BTreeSet<_>>(), targets);
    let machines = read("tests/targets");
    for machine in of("tests/targets") {
        assert!(machines.lines().any(|line| line.starts_with(&format!("{machine}() {{"))), "{machine}");
    }
}
