//! `smstream gc`: removes what crashed processes of smstream have left.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::Args;
use smstream::reap::{Leftover, LeftoverKind, Location, ReapOutcome, Reaper};

use crate::failure::Failure;
use crate::json::Json;
use crate::stdio::Output;
use crate::style::{Paint, Role};

/// What the help says beside the options.
pub const MORE: &str = "\
The command removes the names of listeners that died, and shared memory that smstream has marked,
if its creator is proven to be gone, no process uses it, and it belongs to this user. A socket is
removed with its lock file. The command lists what smstream has made and it leaves, and why. It
looks at the files of a directory, not at those of directories below: by default in /dev/shm,
/tmp, $TMPDIR and $XDG_RUNTIME_DIR.

Examples:
  smstream gc --dry-run                        see what would be removed
  smstream gc                                  remove it
  smstream gc --sysv /var/run/app              this directory, and System V segments

Keys of --json:
  dry_run         whether nothing was removed on purpose
  found           a list:
    place
    place_hex     its bytes, if it is not UTF-8, or null
    kind          region, marked or socket
    verdict       removed, would_remove, in_use or doubt
    why           or null
  not_looked_at   a list:
    directory, why

Exit codes:
  0  done, whatever was left
  1  a directory could not be looked at, or standard output could not be written
  2  the command line is wrong";

/// `smstream gc`.
#[derive(Debug, Args)]
pub struct GcArgs {
    /// Where to look, instead of the usual places
    #[arg(value_name = "DIRECTORY")]
    pub directories: Vec<PathBuf>,
    /// Only list what would be removed
    #[arg(short = 'n', long)]
    pub dry_run: bool,
    /// Look at System V shared memory as well; each segment is attached for a moment, for reading
    #[arg(long)]
    pub sysv: bool,
    /// Write one line of JSON instead of text
    #[arg(long)]
    pub json: bool,
}

/// Removes what may go.
pub fn run(args: &GcArgs) -> Result<(), Failure> {
    let mut found = Vec::new();
    let mut skipped = Vec::new();
    let mut look = |reaper: Reaper, place: &str| match reaper.dry_run(args.dry_run).run() {
        Ok(more) => found.extend(more),
        Err(error) => skipped.push((place.to_owned(), error.to_string())),
    };
    for directory in directories(&args.directories) {
        look(Reaper::of(&directory), &directory.display().to_string());
    }
    if args.sysv {
        look(Reaper::empty().sysv(true), "System V segments");
    }
    let text = if args.json {
        format!("{}\n", json(args.dry_run, &found, &skipped))
    } else {
        report(&found, Paint::for_stdout())
    };
    Output::new().print(&text)?;
    if skipped.is_empty() {
        return Ok(());
    }
    let why: Vec<String> = skipped.into_iter().map(|(_, why)| why).collect();
    Err(Failure::broken(why.join("\nsmstream: ")))
}

/// Where to look: what was asked for, or the usual places that exist, each once.
pub fn directories(asked: &[PathBuf]) -> Vec<PathBuf> {
    if !asked.is_empty() {
        return asked.to_vec();
    }
    let runtime = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
    let usual = [Some("/dev/shm".into()), Some("/tmp".into()), Some(std::env::temp_dir()), runtime];
    let mut places: Vec<PathBuf> = Vec::new();
    for place in usual.into_iter().flatten().filter(|place| place.is_dir()) {
        let same = |other: &PathBuf| other.canonicalize().ok() == place.canonicalize().ok();
        if !places.iter().any(same) {
            places.push(place);
        }
    }
    places
}

fn place(place: &Location) -> String {
    match place {
        Location::File(path) => smstream::inspect::printable(Path::as_os_str(path).as_encoded_bytes()),
        other => other.to_string(),
    }
}

/// A place byte for byte.
fn written(place: &Location) -> OsString {
    match place {
        Location::File(path) => path.clone().into_os_string(),
        other => other.to_string().into(),
    }
}

fn verdict(verdict: &ReapOutcome) -> (&'static str, Option<&str>) {
    match verdict {
        ReapOutcome::Removed => ("removed", None),
        ReapOutcome::WouldRemove => ("would_remove", None),
        ReapOutcome::InUse(why) => ("in_use", Some(why)),
        ReapOutcome::Doubt(why) => ("doubt", Some(why)),
        _ => ("doubt", None),
    }
}

/// For people.
fn report(found: &[Leftover], paint: Paint) -> String {
    let mut text = String::new();
    for leftover in found {
        let (role, word) = match &leftover.outcome {
            ReapOutcome::Removed => (Role::Good, "removed".to_owned()),
            ReapOutcome::WouldRemove => (Role::Good, "would be removed".to_owned()),
            ReapOutcome::InUse(why) => (Role::Faint, format!("left: {why}")),
            ReapOutcome::Doubt(why) => (Role::Note, format!("left, because it is not certain: {why}")),
            other => (Role::Note, format!("{other:?}")),
        };
        text += &format!("{}: {}\n", place(&leftover.location), paint.text(role, word));
    }
    if found.is_empty() {
        text += "nothing that smstream has left was found\n";
    }
    text
}

/// For programs.
fn json(dry_run: bool, found: &[Leftover], skipped: &[(String, String)]) -> Json {
    let finding = |it: &Leftover| {
        let (verdict, why) = verdict(&it.outcome);
        let kind = match it.kind {
            LeftoverKind::Region => "region",
            LeftoverKind::Marked => "marked",
            LeftoverKind::Socket => "socket",
            _ => "other",
        };
        Json::Object(vec![
            ("place", Json::name(&written(&it.location))),
            ("place_hex", Json::hex(&written(&it.location))),
            ("kind", Json::text(kind)),
            ("verdict", Json::text(verdict)),
            ("why", why.map_or(Json::Null, Json::text)),
        ])
    };
    let skip = |(directory, why): &(String, String)| {
        Json::Object(vec![("directory", Json::text(directory.clone())), ("why", Json::text(why.clone()))])
    };
    Json::Object(vec![
        ("dry_run", Json::Bool(dry_run)),
        ("found", Json::List(found.iter().map(finding).collect())),
        ("not_looked_at", Json::List(skipped.iter().map(skip).collect())),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_usual_place_once() {
        let places = directories(&[]);
        assert!(places.contains(&"/dev/shm".into()), "{places:?}");
        for place in &places {
            let same = places.iter().filter(|it| it.canonicalize().ok() == place.canonicalize().ok());
            assert_eq!(same.count(), 1, "{places:?}");
        }
        assert_eq!(directories(&["/x".into()]), [PathBuf::from("/x")]);
    }

    #[test]
    fn nothing_found_is_said() {
        assert_eq!(report(&[], Paint::off()), "nothing that smstream has left was found\n");
        let skipped = [("/x".to_owned(), "gone".to_owned())];
        let text = json(true, &[], &skipped).to_string();
        assert_eq!(text, r#"{"dry_run":true,"found":[],"not_looked_at":[{"directory":"/x","why":"gone"}]}"#);
    }
}
