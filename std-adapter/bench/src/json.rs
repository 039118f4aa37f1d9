//! The figures for programs.

use serde_json::{Value, json};

use crate::plan::Pattern;
use crate::rounds::Results;
use crate::summary::{Line, lines};
use crate::transport::Transport;

/// One object with all that was measured. The help of `smstream bench` names its keys.
#[must_use]
pub fn json(results: &Results, transports: &[&dyn Transport]) -> Value {
    let about: Vec<_> =
        transports.iter().map(|it| json!({ "name": it.name(), "description": it.description() })).collect();
    let skipped: Vec<_> = results.skipped.iter().map(|(name, why)| json!({ "name": name, "why": why })).collect();
    json!({
        "rounds": results.rounds,
        "cpus": results.cpus.map(|(here, there)| [here, there]),
        "transports": about,
        "skipped": skipped,
        "rows": lines(results).iter().map(row).collect::<Vec<_>>(),
    })
}

fn row(line: &Line) -> Value {
    let is_throughput = line.course.pattern == Pattern::Throughput;
    json!({
        "pattern": line.course.pattern.name(),
        "waiting": line.course.waiting.name(),
        "placement": line.course.placement.name(),
        "size": line.course.size,
        "name": line.name,
        "is_floor": line.is_floor,
        "regime": line.regime.name(),
        "rounds": line.rounds,
        "rounds_awake": line.awake,
        "nanoseconds": line.nanos.map(|it| json!({ "median": it.median, "min": it.min, "max": it.max })),
        "each_round": line.each,
        "bytes_per_second": line.rate().filter(|_| is_throughput),
        "percentiles": line.percentiles.map(|[p50, p99, p999, longest]| {
            json!({ "p50": p50, "p99": p99, "p99.9": p999, "longest": longest })
        }),
        "cpu_nanoseconds": line.cpu,
        "system_calls": line.calls,
        "ratio_to_smstream": line.to_smstream,
        "ratio_to_floor": line.to_floor,
    })
}
