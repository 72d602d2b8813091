//! `share`: what each tenant holds, beside what is due to it.

use k8s_openapi::api::core::v1::Node;
use prorata_core::Resource;

use super::cluster::{Cluster, ClusterArgs, Scope, if_allowed};
use super::failure::Failure;
use super::output::{self, Format, OutputArgs, Paint, Tone};
use super::queue::{self, Seen};
use super::shares::{Holding, tree};
use super::table::{Cell, Table};
use super::words::gpus;
use crate::api::{Tenant, labels};
use crate::config::gpu_resource;
use crate::translate;

/// How many cells a bar has.
const BAR: usize = 24;

/// Options of `share`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
ENTITLED is what a tenant would hold if every tenant wanted all that it may have: its guarantee, and
by weight what nobody owns. SHARE (wide) is its weighted dominant share of what can be borrowed, by
which the queue chooses who is next; ASKED is what its waiting jobs ask for. On a terminal a bar shows what is held, and `|` what is due.

Examples:
  prorata share
  prorata share -o json")]
pub struct Args {
    /// The resource that pods name to get a GPU
    #[arg(long, value_name = "NAME", default_value = labels::GPU_RESOURCE, value_parser = gpu_resource)]
    gpu_resource: String,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    cluster: ClusterArgs,
}

pub(crate) async fn execute(args: &Args) -> Result<(), Failure> {
    let cluster = Cluster::connect(&args.cluster).await?;
    let tenants = cluster.list_all::<Tenant>().await;
    let tenants = if_allowed("what is due to each tenant", tenants)?.unwrap_or_default();
    let seen = entries(&cluster).await?;
    let nodes = cluster.list_all::<Node>().await;
    let nodes = if_allowed("the cluster's capacity", nodes)?;
    let capacity = nodes.map(|nodes| capacity(&nodes, &args.gpu_resource));
    let tenants = tenants.iter().map(Holding::of).collect();
    show(&tree(tenants, &seen, capacity), capacity, args.output)
}

/// All jobs, or those of this namespace where the caller may not see more.
pub(crate) async fn entries(cluster: &Cluster) -> Result<Seen, Failure> {
    let all = queue::read(cluster, &Scope::All).await;
    if let Some(entries) = if_allowed("jobs of other namespaces", all)? {
        return Ok(Seen {
            entries,
            is_all: true,
        });
    }
    let here = Scope::Namespace(cluster.namespace().to_owned());
    Ok(Seen {
        entries: queue::read(cluster, &here).await?,
        is_all: false,
    })
}

/// GPUs of the nodes that take new work, in thousandths.
pub(crate) fn capacity(nodes: &[Node], gpu_resource: &str) -> u64 {
    let nodes = nodes.iter().map(|node| translate::node(node, gpu_resource));
    let takes_work = nodes.filter(|node| node.schedulable);
    takes_work.map(|node| node.offer().get(Resource::Gpu)).sum()
}

fn show(shown: &[Holding], capacity: Option<u64>, output: OutputArgs) -> Result<(), Failure> {
    match output.output {
        Format::Json | Format::Yaml => output::serialised(output.output, &shown),
        Format::Name => {
            let line = |h: &Holding| format!("tenant.prorata.dev/{}\n", h.tenant);
            output::print(&shown.iter().map(line).collect::<String>())
        }
        Format::Table | Format::Wide => {
            if shown.is_empty() {
                eprintln!("no tenant is described, and no job waits");
            }
            let wide = output.output == Format::Wide;
            let paint = Paint::detect();
            let mut text = table(shown, capacity, wide, paint).render(!output.no_headers, paint);
            text.extend(shown.iter().filter_map(in_force));
            output::print(&text)
        }
    }
}

/// What of a tenant's schedules and grants goes on.
fn in_force(holding: &Holding) -> Option<String> {
    let due = holding.due.as_ref()?;
    let until = due.until.as_ref();
    let until = until.map_or_else(String::new, |until| format!(" until {until}"));
    Some(format!(
        "{}: {}{until}\n",
        holding.tenant,
        due.names.join(", ")
    ))
}

fn table(shown: &[Holding], capacity: Option<u64>, wide: bool, paint: Paint) -> Table {
    let mut titles = vec![
        "TENANT",
        "HELD",
        "ENTITLED",
        "GUARANTEED",
        "LIMIT",
        "RUNNING",
        "WAITING",
    ];
    if wide {
        titles.extend(["WEIGHT", "SHARE", "BORROWED", "ASKED"]);
    }
    if paint.0 {
        titles.push("");
    }
    let most = shown
        .iter()
        .filter_map(|h| h.entitled_milli_gpus.max(Some(h.held_milli_gpus)));
    let scale = capacity
        .unwrap_or_default()
        .max(most.max().unwrap_or_default());
    let mut table = Table::new(&titles);
    for holding in shown {
        table.push(row(holding, scale, wide, paint));
    }
    table
}

fn row(holding: &Holding, scale: u64, wide: bool, paint: Paint) -> Vec<Cell> {
    let optional = |amount: Option<u64>| Cell::from(amount.map(gpus).unwrap_or_default());
    let guaranteed = Some(holding.guaranteed_milli_gpus).filter(|amount| *amount > 0);
    let mut row: Vec<Cell> = vec![
        format!("{}{}", "  ".repeat(holding.depth), holding.tenant).into(),
        Cell::new(gpus(holding.held_milli_gpus), tone(holding)),
        optional(holding.entitled_milli_gpus),
        optional(guaranteed),
        optional(holding.limit_milli_gpus),
        holding.running.to_string().into(),
        holding.waiting.to_string().into(),
    ];
    if wide {
        row.push(holding.weight.as_str().into());
        row.push(holding.share.as_deref().unwrap_or_default().into());
        row.push(optional(holding.borrowed_milli_gpus));
        row.push(gpus(holding.waiting_milli_gpus).into());
    }
    if paint.0 {
        row.push(Cell::new(bar(holding, scale), tone(holding)));
    }
    row
}

/// Whoever waits below what is due to it is starved; whoever holds more borrows.
pub(crate) fn tone(holding: &Holding) -> Tone {
    let entitled = holding.entitled_milli_gpus.unwrap_or(u64::MAX);
    match holding.held_milli_gpus {
        held if held > entitled => Tone::Wait,
        held if held < entitled && holding.waiting > 0 => Tone::Bad,
        0 => Tone::Dim,
        _ => Tone::Good,
    }
}

/// What is held as a bar, with a mark at what is due.
pub(crate) fn bar(holding: &Holding, scale: u64) -> String {
    let cells = |amount: u64| {
        let cells = u128::from(amount) * BAR as u128 / u128::from(scale.max(1));
        usize::try_from(cells).unwrap_or(BAR).min(BAR)
    };
    let held = cells(holding.held_milli_gpus);
    let mark = holding
        .entitled_milli_gpus
        .map(|due| cells(due).min(BAR - 1));
    let cell = |index: usize| match index {
        index if Some(index) == mark => '|',
        index if index < held => '█',
        _ => '·',
    };
    (0..BAR).map(cell).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holding(tenant: &str, depth: usize, held: u64, entitled: u64) -> Holding {
        Holding {
            tenant: tenant.to_owned(),
            depth,
            weight: "1".to_owned(),
            held_milli_gpus: held,
            entitled_milli_gpus: Some(entitled),
            waiting: 1,
            ..Holding::default()
        }
    }

    #[test]
    fn a_tree_of_tenants() {
        let shown = [
            holding("company", 0, 24_500, 32_000),
            holding("vision", 1, 24_500, 16_000),
        ];
        let text = table(&shown, Some(32_000), false, Paint(false)).render(true, Paint(false));
        assert_eq!(
            text,
            "\
TENANT     HELD   ENTITLED   GUARANTEED   LIMIT   RUNNING   WAITING
company    24.5   32         -            -       0         1
  vision   24.5   16         -            -       0         1
"
        );
        assert_eq!(bar(&shown[0], 32_000), "██████████████████·····|");
        assert_eq!(bar(&shown[1], 32_000), "████████████|█████······");
        assert_eq!((tone(&shown[0]), tone(&shown[1])), (Tone::Bad, Tone::Wait));
    }
}
