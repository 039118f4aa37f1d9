//! Environments in which something is missing, or little: the rows of the second table.

use crate::names;
use crate::rule::Rule;
use crate::scenario::{Kind, Scenario};
use crate::setup::Setup;

/// One of them.
#[derive(Clone, Debug)]
pub struct Row {
    /// What is missing.
    pub name: String,
    /// What is done to the process before it begins.
    pub setup: Vec<Setup>,
    /// Which calls always fail.
    pub rule: Rule,
    /// How many pages the file system still has; `None`: enough.
    pub pages: Option<u64>,
    /// How much memory its group may have; `None`: as much as there is.
    pub memory: Option<u64>,
}

/// What filters of system calls leave out, as those of container runtimes do.
const FILTERED: [&str; 4] = ["futex_waitv", "memfd_create", "membarrier", "pidfd_open"];
/// What older ones left out as well: libc and the standard library then use older calls.
const OLDER: [&str; 2] = ["clone3", "statx"];

/// All of them.
pub fn all() -> Vec<Row> {
    let mut all = Vec::new();
    let row = |name: String| Row { name, setup: Vec::new(), rule: Rule::Count, pages: None, memory: None };
    for (name, closed) in [("0", &[0][..]), ("1", &[1]), ("2", &[2]), ("0, 1 and 2", &[0, 1, 2])] {
        let setup = closed.iter().map(|&number| Setup::Closed(number)).collect();
        all.push(Row { setup, ..row(format!("descriptors {name} closed")) });
    }
    let limit = |what: &str, resource, values: &[u64]| {
        let each = values.iter().map(|&value| (format!("{what} {value}"), vec![Setup::Limit(resource, value)]));
        each.map(|(name, setup)| Row { setup, ..row(name) }).collect::<Vec<_>>()
    };
    all.extend(limit("RLIMIT_NOFILE", libc::RLIMIT_NOFILE, &(3..24).collect::<Vec<_>>()));
    all.extend(limit("RLIMIT_AS", libc::RLIMIT_AS, &[6, 8, 12, 16, 24, 32, 64, 128, 256].map(|mib| mib << 20)));
    all.extend(limit("RLIMIT_FSIZE", libc::RLIMIT_FSIZE, &[0, 1, 4096, 8192, 16384]));
    for pages in [0, 1, 2, 3, 4, 8] {
        all.push(Row { pages: Some(pages), ..row(format!("{pages} pages left on the file system")) });
    }
    for kib in [256, 1024, 4096, 16384] {
        all.push(Row { memory: Some(kib << 10), ..row(format!("a memory cgroup of {kib} KiB")) });
    }
    let always = |name: String, calls: &[&str], error: &str| {
        let error = names::error(error).unwrap_or(libc::EPERM);
        let calls = calls.iter().map(|&call| (call.to_owned(), error)).collect();
        Row { rule: Rule::Always(calls), ..row(name) }
    };
    for error in ["ENOSYS", "EPERM"] {
        all.push(always(format!("a filter ({error}): no {}", FILTERED.join(", ")), &FILTERED, error));
        all.extend(OLDER.map(|call| always(format!("a filter ({error}): no {call}"), &[call], error)));
        all.extend(FILTERED.map(|call| always(format!("a filter ({error}): no {call}"), &[call], error)));
    }
    all.push(always("no threads (RLIMIT_NPROC): clone, EAGAIN".into(), &["clone", "clone3"], "EAGAIN"));
    all.push(always("no inotify instances: EMFILE".into(), &["inotify_init1"], "EMFILE"));
    all.push(always("no inotify watches: ENOSPC".into(), &["inotify_add_watch"], "ENOSPC"));
    all.push(always("no locks: ENOLCK".into(), &["fcntl", "flock"], "ENOLCK"));
    all.push(Row { setup: vec![Setup::Covered("/proc", 4096)], ..row("no /proc".into()) });
    all
}

impl Row {
    /// Whether the scenario can be judged there.
    pub fn fits(&self, scenario: &Scenario) -> bool {
        match scenario.kind {
            // It says at standard output how it went.
            Kind::Party if self.setup.contains(&Setup::Closed(1)) => false,
            // Where a partner could not listen there would be nothing to try.
            _ => self.pages.is_none() || scenario.name.contains("listen"),
        }
    }
}
