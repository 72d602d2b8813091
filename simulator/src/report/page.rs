//! What stands on the page, for its template.

use askama::Template;

use super::definitions::{Definition, assumptions, definitions};
use super::numbers::Tile;
use super::palette;
use super::preemption::{self, Matrix};
use super::scene::Scene;
use super::table::Table;
use super::verdict::verdict;
use super::words::amount;
use super::{
    Report, ReportError, cdf, cost, heat, held, neighbours, numbers, scatter, stack, worst,
};
use crate::run::Run;
use crate::summary::Summary;

pub(super) fn html(report: &Report<'_>) -> Result<String, ReportError> {
    Ok(Page::new(report)?.render()?)
}

/// A chart with its caption.
type Figure = (String, String);

#[derive(Template)]
#[template(path = "report.html")]
struct Page {
    name: String,
    description: String,
    verdict: String,
    tiles: Vec<Tile>,
    styles: [String; 3],
    numbers: String,
    /// Of each tenant that is drawn, name and the name of its colour.
    legend: Vec<(String, String)>,
    orders: Vec<String>,
    held: Vec<Figure>,
    queued: Vec<Figure>,
    waits: Vec<Figure>,
    all_waits: String,
    shares: Vec<(String, Vec<Figure>)>,
    heat: Vec<Figure>,
    nodes_per_row: usize,
    idle: Vec<Figure>,
    matrices: Vec<Matrix>,
    sizes: Vec<Figure>,
    costs: String,
    cost_table: String,
    bill: String,
    has_down: bool,
    worst: [String; 3],
    neighbours: String,
    definitions: Vec<Definition>,
    assumptions: Vec<Definition>,
    meanings: worst::Meanings,
    json: String,
}

impl Page {
    fn new(report: &Report<'_>) -> Result<Self, ReportError> {
        let scene = Scene::new(*report);
        let scenario = report.scenario;
        let meanings = worst::meanings(report.runs);
        let orders: Vec<String> = scene.runs().map(|(_, o, _)| o.to_owned()).collect();
        let all_waits = match orders.len() {
            0 | 1 => String::new(),
            _ => cdf::orders(&scene)?,
        };
        Ok(Self {
            name: scenario.name.clone(),
            description: scenario.description.clone(),
            verdict: unbroken(&verdict(report)),
            tiles: numbers::tiles(report),
            styles: palette::styles(),
            numbers: rendered(&numbers::table(&scene))?,
            legend: legend(&scene),
            held: figures(&scene, |run, order, _| stack::held(&scene, run, order))?,
            queued: figures(&scene, |run, order, _| stack::queued(&scene, run, order))?,
            waits: figures(&scene, |_, order, run| cdf::tenants(&scene, (run, order)))?,
            all_waits,
            shares: shares(&scene)?,
            heat: figures(&scene, |_, order, run| heat::inline(&scene, (run, order)))?,
            nodes_per_row: heat::nodes_per_row(&scene),
            idle: idle(&scene)?,
            matrices: preemption::matrices(&scene),
            sizes: figures(&scene, |_, order, run| {
                scatter::inline(&scene, (run, order))
            })?,
            costs: cost::bars(&scene)?,
            cost_table: rendered(&cost::table(&scene))?,
            bill: rendered(&cost::priced(&scene))?,
            has_down: report.summary.orders.iter().any(|o| o.gpu_hours.down > 0.0),
            worst: [
                rendered(&worst::of_tenants(&scene, &meanings))?,
                rendered(&worst::of_all(&scene, &meanings))?,
                rendered(&worst::unfinished(&scene, &meanings))?,
            ],
            neighbours: rendered(&neighbours::table(&scene))?,
            definitions: definitions(report),
            assumptions: assumptions(report),
            meanings,
            orders,
            json: json(report.summary)?,
        })
    }
}

/// With numbers that stay beside their units.
fn unbroken(sentence: &str) -> String {
    let units = [
        " h ", " h)", " min", " %", " s ", " s)", " s.", " s,", " d ",
    ];
    let glue = |text: String, unit: &str| text.replace(unit, &unit.replace(' ', "\u{a0}"));
    units.into_iter().fold(sentence.to_owned(), glue)
}

fn rendered(table: &Table) -> Result<String, ReportError> {
    if table.rows.is_empty() {
        return Ok(String::new());
    }
    Ok(table.render()?)
}

fn legend(scene: &Scene<'_>) -> Vec<(String, String)> {
    let names = scene.cast.names().iter().cloned();
    let colours = scene.cast.colours().into_iter();
    names
        .zip(colours.map(|colour| palette::name(colour).unwrap_or_default()))
        .collect()
}

/// A chart of each order.
fn figures(
    scene: &Scene<'_>,
    of: impl Fn(usize, &str, &Run) -> Result<String, ReportError>,
) -> Result<Vec<Figure>, ReportError> {
    let one = |(number, order, run): (usize, &str, &Run)| {
        Ok((format!("Under {order}"), of(number, order, run)?))
    };
    scene.runs().map(one).collect()
}

/// Of each tenant, what it holds against what it is entitled to under each order. Under one order
/// alone the tenants stand beside each other.
fn shares(scene: &Scene<'_>) -> Result<Vec<(String, Vec<Figure>)>, ReportError> {
    let is_alone = scene.report.runs.len() == 1;
    let mut groups: Vec<(String, Vec<Figure>)> = Vec::new();
    for (number, place) in scene.cast.members.iter().enumerate() {
        let name = &scene.cast.names()[number];
        if groups.is_empty() || !is_alone {
            let title = if is_alone { "" } else { name };
            groups.push((title.to_owned(), Vec::new()));
        }
        for (run, order, _) in scene.runs() {
            let group = &scene.report.summary.orders[run].tenants[*place].group;
            let deficit = amount(group.deficit_gpu_hours);
            let whose = match is_alone {
                true => name.clone(),
                false => format!("Under {order}"),
            };
            let caption = format!("{whose}: {deficit} GPU-hours due and not given");
            let chart = held::inline(scene, (run, order), number)?;
            if let Some((_, charts)) = groups.last_mut() {
                charts.push((caption, chart));
            }
        }
    }
    Ok(groups)
}

fn idle(scene: &Scene<'_>) -> Result<Vec<Figure>, ReportError> {
    let one = |(number, order, _): (usize, &str, &Run)| {
        let hours = &scene.report.summary.orders[number].gpu_hours;
        let parts = [
            ("no demand", hours.idle_unwanted),
            ("does not fit", hours.idle_no_fit),
            ("quota", hours.idle_quota),
            ("kept", hours.idle_kept),
        ];
        let parts = parts.map(|(why, hours)| format!("{why} {}", amount(hours)));
        let caption = format!("Under {order}, in GPU-hours: {}", parts.join(", "));
        Ok((caption, stack::idle(scene, number, order)?))
    };
    scene.runs().map(one).collect()
}

/// Jobs without an end, and rows of tenants, that the page's data names.
const UNFINISHED_MAX: usize = 50;
const GROUPS_MAX: usize = 60;

/// The summary, shortened where it is long, for programs: it cannot end the element it is in.
fn json(summary: &Summary) -> Result<String, ReportError> {
    let mut short = summary.clone();
    for order in &mut short.orders {
        order.unfinished.truncate(UNFINISHED_MAX);
        order.tenants.truncate(GROUPS_MAX);
        order.priorities.truncate(GROUPS_MAX);
    }
    let json = serde_json::to_string(&short)?;
    Ok(json.replace('<', "\\u003c").replace('>', "\\u003e"))
}
