//! Small books for tests.

use crate::price_file::PriceFile;
use crate::record::{End, Hold, HoldId, Payer, Stock, Why};

/// Milliseconds in an hour.
pub(crate) const HOUR: u64 = 3_600_000;

/// What a tenant's job `train` held of model `a` on a node.
pub(crate) fn hold(
    tenant: &str,
    node: &str,
    gpu_milli: u64,
    from_ms: u64,
    until_ms: Option<u64>,
) -> Hold {
    Hold {
        id: HoldId {
            job_uid: format!("{tenant}-{from_ms}"),
            epoch: 1,
            node: node.to_owned(),
            model: "a".to_owned(),
        },
        payer: payer(tenant),
        kind: "Job".to_owned(),
        job: "train".to_owned(),
        priority_class: String::new(),
        pool: String::new(),
        mode: "exclusive".to_owned(),
        gpu_milli,
        from_ms,
        end: until_ms.map(|at_ms| End {
            at_ms,
            why: Why::Finished,
            estimated: false,
        }),
        busy_milli: None,
        measured: None,
    }
}

/// A tenant's user `NAME-user`, in its namespace `ml-NAME`, with cost centre `cc-NAME`.
pub(crate) fn payer(tenant: &str) -> Payer {
    Payer {
        tenant: tenant.to_owned(),
        environment: String::new(),
        namespace: format!("ml-{tenant}"),
        user: format!("{tenant}-user"),
        cost_center: match tenant {
            "" => String::new(),
            tenant => format!("cc-{tenant}"),
        },
        department: String::new(),
    }
}

/// GPUs of model `a` on a node.
pub(crate) fn stock(node: &str, gpu_milli: u64, from_ms: u64, until_ms: Option<u64>) -> Stock {
    Stock {
        node: node.to_owned(),
        pool: String::new(),
        model: "a".to_owned(),
        gpu_milli,
        from_ms,
        until_ms,
    }
}

/// A price file with `prices:` and what follows.
pub(crate) fn prices(text: &str) -> PriceFile {
    let head = "apiVersion: config.prorata.dev/v1alpha1\nkind: Prices\ncurrency: EUR\n";
    PriceFile::parse("prices.yaml", &format!("{head}{text}")).unwrap()
}
