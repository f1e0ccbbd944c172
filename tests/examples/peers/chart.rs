//! Results as a chart: transactions answered over those offered, and what one costs.

use std::path::Path;

use plotters::coord::Shift;
use plotters::prelude::*;

use crate::contender::Contender;
use crate::load::{Generator, LADDER, Load};
use crate::results::{Results, Sample, ServerInfo};
use crate::tables::{Row, spread};

const SIZE: (u32, u32) = (1_100, 440);
const FONT: &str = "sans-serif";
/// Its load is drawn: it offers more than any server here answers.
const GENERATOR: Generator = Generator::Flood;
/// Between the bars.
const GAP: f64 = 0.15;

type Area<'chart> = DrawingArea<SVGBackend<'chart>, Shift>;

/// Draws into an SVG file.
pub(crate) fn draw(results: &Results, path: &Path) -> anyhow::Result<()> {
    let root = SVGBackend::new(path, SIZE).into_drawing_area();
    let failed = |error: &dyn std::fmt::Display| anyhow::anyhow!("draw {}: {error}", path.display());
    root.fill(&WHITE).map_err(|error| failed(&error))?;
    let (left, right) = root.split_horizontally(SIZE.0 * 6 / 10);
    ladder(results, &left).map_err(|error| failed(&error))?;
    costs(results, &right).map_err(|error| failed(&error))?;
    root.present().map_err(|error| failed(&error))
}

/// Those that are measured unless others are asked for: more would be too many for a picture.
fn drawn(results: &Results) -> impl Iterator<Item = &ServerInfo> {
    let usual = Contender::USUAL.map(Contender::name);
    results.servers.iter().filter(move |server| usual.contains(&server.name))
}

/// A line for each server: medians of what was answered, over what was offered.
fn ladder(results: &Results, area: &Area) -> Result<(), Box<dyn std::error::Error>> {
    let generator = GENERATOR.to_string();
    let line = |server: &str| -> Vec<(f64, f64)> {
        let rung = |load: Load| {
            let row = Row::Steady { generator: &generator, rate: load.rate };
            let samples = row.samples(results, server);
            let median = |field: fn(&Sample) -> f64| spread(&samples, field)[1] / 1e3;
            (!samples.is_empty()).then(|| (median(|one| one.offered), median(|one| one.answered)))
        };
        GENERATOR.loads().into_iter().filter_map(rung).collect()
    };
    let lines: Vec<_> = drawn(results).map(|server| (&server.name, line(&server.name))).collect();
    let most = |axis: fn(&(f64, f64)) -> f64| {
        lines.iter().flat_map(|(_, line)| line).map(axis).fold(0.0, f64::max) * 1.05
    };
    let mut chart = ChartBuilder::on(area)
        .caption("1 question a connection", (FONT, 18))
        .margin(10)
        .x_label_area_size(40)
        .y_label_area_size(50)
        .build_cartesian_2d(0.0..most(|point| point.0), 0.0..most(|point| point.1))?;
    chart
        .configure_mesh()
        .max_light_lines(0)
        .x_desc("offered, 1,000/s")
        .y_desc("answered, 1,000/s")
        .draw()?;
    for (number, (name, line)) in lines.into_iter().enumerate() {
        let colour = colour(number);
        chart.draw_series(line.iter().map(|&point| Circle::new(point, 3, colour.filled())))?;
        chart
            .draw_series(LineSeries::new(line, colour.stroke_width(2)))?
            .label(name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 16, y)], colour.stroke_width(2)));
    }
    let legend = SeriesLabelPosition::UpperLeft;
    chart.configure_series_labels().position(legend).background_style(WHITE.mix(0.8)).draw()?;
    Ok(())
}

/// A bar for each server: the median of what its core did for a transaction, where it answers most; and where all are
/// offered the same, in words.
fn costs(results: &Results, area: &Area) -> Result<(), Box<dyn std::error::Error>> {
    let generator = &GENERATOR.to_string();
    let cost = |row: Row, server: &str| {
        let samples = row.samples(results, server);
        (!samples.is_empty()).then(|| spread(&samples, |one| one.cost)[1])
    };
    let bar = |(number, server): (usize, &ServerInfo)| {
        let most = cost(Row::Saturated { generator }, &server.name)?;
        let same = cost(Row::Steady { generator, rate: Some(LADDER[0]) }, &server.name)?;
        Some((number, format!("{} {most:.1} ({same:.1})", server.name), most))
    };
    let bars: Vec<_> = drawn(results).enumerate().filter_map(bar).collect();
    let most = bars.iter().map(|bar| bar.2).fold(0.0, f64::max) * 1.15;
    let count = i32::try_from(bars.len())?;
    let mut chart = ChartBuilder::on(area)
        .caption(format!("Server CPU for each, µs, at saturation (at {}/s)", LADDER[0]), (FONT, 18))
        .margin(10)
        .x_label_area_size(40)
        .build_cartesian_2d(0.0..most, 0.0..f64::from(count))?;
    chart.configure_mesh().max_light_lines(0).disable_y_mesh().disable_y_axis().x_desc("µs").draw()?;
    for ((number, label, cost), place) in bars.into_iter().rev().zip(0..count) {
        let bottom = f64::from(place);
        let corners = [(0.0, bottom + GAP), (cost, bottom + 1.0 - GAP)];
        chart.draw_series([Rectangle::new(corners, colour(number).mix(0.6).filled())])?;
        chart.draw_series([Text::new(label, (most * 0.02, bottom + 0.6), (FONT, 15))])?;
    }
    Ok(())
}

fn colour(number: usize) -> PaletteColor<Palette99> {
    Palette99::pick(number)
}
