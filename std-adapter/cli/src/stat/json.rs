//! One report, for programs.

use smstream::Counts;
use smstream::inspect::{HalfReport, InspectedStream, Report, SleepState};

use crate::json::Json;
use crate::ls;

/// All streams on one line.
pub fn all(reports: &[(InspectedStream, Report)]) -> Json {
    Json::Object(vec![("streams", Json::List(reports.iter().map(|(stream, report)| one(stream, report)).collect()))])
}

fn one(stream: &InspectedStream, report: &Report) -> Json {
    let lane = |n: usize| {
        let (lane, halves) = (&report.look.sample.lanes[n], &report.lanes[n]);
        Json::Object(vec![
            ("capacity", Json::Whole(lane.capacity.into())),
            ("fill", lane.fill.map_or(Json::Null, |fill| Json::Whole(fill.into()))),
            ("sent", Json::Whole(lane.sent.into())),
            ("received", Json::Whole(lane.received.into())),
            ("finished", Json::Bool(lane.finished)),
            ("stopped", Json::Bool(lane.stopped)),
            ("writer", half(&halves.writer, lane.writes)),
            ("reader", half(&halves.reader, lane.reads)),
        ])
    };
    let mut members = ls::stream_json(stream, &report.look);
    members.push(("stuck", report.why_stuck().map_or(Json::Null, Json::text)));
    members.push(("lanes", Json::List(vec![lane(0), lane(1)])));
    Json::Object(members)
}

fn half(half: &HalfReport, counts: Option<Counts>) -> Json {
    let (rest, wants) = match half.rest {
        SleepState::Awake => ("awake", Json::Null),
        SleepState::Asleep { wants, .. } => ("asleep", Json::Whole(wants.into())),
        SleepState::Odd(_) => ("odd", Json::Null),
    };
    let count = |which: fn(Counts) -> u64| counts.map_or(Json::Null, |counts| Json::Whole(which(counts)));
    let rates = half.rates.map_or(Json::Null, |rates| {
        Json::Object(vec![
            ("bytes", Json::Number(rates.bytes)),
            ("operations", Json::Number(rates.operations)),
            ("parks", Json::Number(rates.parks)),
            ("wakes_sent", Json::Number(rates.wakes_sent)),
            ("wakes_avoided", Json::Number(rates.wakes_avoided)),
        ])
    });
    Json::Object(vec![
        ("rest", Json::text(rest)),
        ("wants", wants),
        ("seen_for", Json::Number(half.seen_for.as_secs_f64())),
        ("bytes", count(|it| it.bytes)),
        ("operations", count(|it| it.operations)),
        ("parks", count(|it| it.parks)),
        ("wakes_sent", count(|it| it.wakes_sent)),
        ("wakes_avoided", count(|it| it.wakes_avoided())),
        ("rates", rates),
    ])
}
