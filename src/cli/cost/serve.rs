//! `cost serve`: an OpenCost-shaped answer for tools that ask for one.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::TcpListener;

use super::source::{LedgerArgs, PricesArgs};
use crate::cli::failure::Failure;
use crate::cost;

/// Options of `cost serve`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
GET /allocation?window=7d&aggregate=label:tenant&step=1d&accumulate=false&includeIdle=true

window: today, yesterday, week, lastweek, month, lastmonth, 7d, 36h, or two moments (RFC 3339, or
seconds of Unix time) with a comma between them. aggregate: namespace, controller, controllerKind, node,
tenant, environment, cost-center, department, user, model, pool, priority-class, mode, also as
label:NAME, several with commas. It asks nobody who they are: whoever reaches it sees what everybody
costs, so it listens on this machine alone unless told otherwise.

Example:
  prorata cost serve --prices prices.yaml --ledger sqlite:///var/lib/prorata/ledger.db")]
pub(super) struct Args {
    /// Where to listen
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:9003")]
    listen: SocketAddr,
    #[command(flatten)]
    ledger: LedgerArgs,
    #[command(flatten)]
    prices: PricesArgs,
}

pub(super) async fn execute(args: &Args) -> Result<(), Failure> {
    let file = Arc::new(args.prices.read()?);
    let routes = cost::routes(args.ledger.open().await?, file);
    let failed = |error: std::io::Error| Failure::new(format!("{}: {error}", args.listen));
    let listener = TcpListener::bind(args.listen).await.map_err(failed)?;
    eprintln!(
        "http://{}/allocation",
        listener.local_addr().map_err(failed)?
    );
    axum::serve(listener, routes).await.map_err(failed)
}
