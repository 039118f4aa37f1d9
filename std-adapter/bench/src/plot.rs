//! The figures as a picture: throughput against message size, and the distribution of round trips.

use std::error::Error;
use std::path::Path;

use plotters::coord::Shift;
use plotters::prelude::*;

use crate::plan::{Course, Pattern};
use crate::rounds::Results;
use crate::summary::{Line, lines, usual_regime};
use crate::units;

const SIZE: (u32, u32) = (1000, 1100);
/// Room for the names beside a chart.
const LABELS: i32 = 64;

/// One line of a chart.
type Series<'a> = (&'a str, Vec<(f64, f64)>);

/// Writes an SVG.
///
/// # Errors
/// The file cannot be written, or there is nothing to draw.
pub fn plot(results: &Results, path: &Path) -> Result<(), Box<dyn Error>> {
    let lines = lines(results);
    let of = |pattern| {
        let row = results.rows.iter().find(|row| row.course.pattern == pattern)?;
        let regime = usual_regime(results, row.course)?;
        let same = move |course: Course| Course { size: 0, ..course } == Course { size: 0, ..row.course };
        Some((row.course, regime, same))
    };
    let root = SVGBackend::new(path, SIZE).into_drawing_area();
    root.fill(&WHITE)?;
    let (upper, lower) = root.split_vertically(SIZE.1 / 2);
    if let Some((course, regime, same)) = of(Pattern::Throughput) {
        let wanted: Vec<&Line> = lines.iter().filter(|line| same(line.course) && line.regime == regime).collect();
        let point = |line: &Line| Some((line.course.size as f64, line.rate()? / 1e9));
        let title = format!("Throughput one way, {}, {}", course.placement.name(), regime.name());
        chart(&upper, &title, "message size", "GB/s", &grouped(&wanted, point), &|x| units::bytes(x as usize))?;
    }
    if let Some((course, regime, same)) = of(Pattern::RoundTrip) {
        let smallest = lines.iter().filter(|line| same(line.course)).map(|line| line.course.size);
        // A message of one cache line, where it was measured.
        let size = if smallest.clone().any(|size| size == 64) { 64 } else { smallest.min().unwrap_or(0) };
        let wanted: Vec<&Line> = lines
            .iter()
            .filter(|line| same(line.course) && line.regime == regime && line.course.size == size && !line.is_floor)
            .collect();
        // The place on the axis is how rare a trip is that takes longer: 1 in 2, in 100, in 1000.
        let series: Vec<Series<'_>> = wanted
            .iter()
            .filter_map(|line| {
                let [p50, p99, p999, _] = line.percentiles?;
                let points = [(2.0, p50), (100.0, p99), (1000.0, p999)];
                Some((line.name.as_str(), points.map(|(x, y)| (x, y / 1e3)).to_vec()))
            })
            .collect();
        let title = format!(
            "Round trip of {}, {}, {}: the time that one in so many trips exceeds",
            units::bytes(size),
            course.placement.name(),
            regime.name()
        );
        chart(&lower, &title, "one in", "µs", &series, &|x| format!("{x:.0}"))?;
    }
    root.present()?;
    Ok(())
}

fn grouped<'a>(lines: &[&'a Line], point: impl Fn(&Line) -> Option<(f64, f64)>) -> Vec<Series<'a>> {
    let mut series: Vec<Series<'a>> = Vec::new();
    for line in lines {
        let Some(point) = point(line) else { continue };
        match series.iter_mut().find(|(name, _)| *name == line.name) {
            Some((_, points)) => points.push(point),
            None => series.push((&line.name, vec![point])),
        }
    }
    series
}

/// One chart with two logarithmic axes.
fn chart(
    area: &DrawingArea<SVGBackend<'_>, Shift>,
    title: &str,
    across: &str,
    up: &str,
    series: &[Series<'_>],
    across_label: &dyn Fn(f64) -> String,
) -> Result<(), Box<dyn Error>> {
    let points = || series.iter().flat_map(|(_, points)| points.iter().copied());
    let ends = |value: fn((f64, f64)) -> f64| {
        points().map(value).fold((f64::INFINITY, 0.0_f64), |(low, high), it| (low.min(it), high.max(it)))
    };
    let ((left, right), (low, high)) = (ends(|point| point.0), ends(|point| point.1));
    if series.is_empty() || low <= 0.0 {
        return Err(format!("nothing to draw for '{title}'").into());
    }
    // An axis of one point has no length.
    let (right, high) = (right.max(left * 2.0), high.max(low * 2.0));
    let mut chart = ChartBuilder::on(area)
        .caption(title, ("sans-serif", 18))
        .margin(16)
        .x_label_area_size(LABELS)
        .y_label_area_size(LABELS)
        .build_cartesian_2d((left..right).log_scale(), (low * 0.8..high * 1.25).log_scale())?;
    chart
        .configure_mesh()
        .x_desc(across)
        .y_desc(up)
        .x_label_formatter(&|x| across_label(*x))
        .y_label_formatter(&|y| format!("{y}"))
        .draw()?;
    for (number, (name, points)) in series.iter().enumerate() {
        let color = Palette99::pick(number).to_rgba();
        chart
            .draw_series(LineSeries::new(points.iter().copied(), color.stroke_width(2)))?
            .label(*name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 16, y)], color.stroke_width(2)));
        chart.draw_series(points.iter().map(|point| Circle::new(*point, 3, color.filled())))?;
    }
    chart.configure_series_labels().background_style(WHITE.mix(0.8)).border_style(BLACK.mix(0.3)).draw()?;
    Ok(())
}
