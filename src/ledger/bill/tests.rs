//! Bills worked out by hand, and what holds of every bill.

use proptest::prelude::*;

use super::*;
use crate::examples::{HOUR, hold, payer, prices, stock};
use crate::period::DAY;
use crate::record::{End, Hold, Stock, Why};

fn extract(until_ms: u64, holds: Vec<Hold>, stock: Vec<Stock>) -> Extract {
    Extract {
        from_ms: 0,
        until_ms,
        kept_until_ms: until_ms,
        holds,
        stock,
        ..Extract::default()
    }
}

/// Kind, tenant, GPU-hours and millionths of each line.
fn told(bill: &Bill) -> Vec<(Kind, &str, u128, i128)> {
    let line = |line: &'_ Line| (line.kind.clone(), line.gpu_time / GPU_HOUR, line.micros);
    let lines = bill
        .lines
        .iter()
        .map(|l| (line(l), l.tenant().unwrap_or("-")));
    lines
        .map(|((kind, hours, micros), tenant)| (kind, tenant, hours, micros))
        .collect()
}

fn sum(bill: &Bill) -> i128 {
    bill.lines.iter().map(|line| line.micros).sum()
}

#[test]
fn who_holds_pays_and_the_rest_is_idle() {
    let holds = vec![
        hold("red", "n1", 2000, 0, Some(HOUR)),
        hold("", "n1", 500, 0, None),
        hold("late", "n1", 500, 2 * HOUR, None),
    ];
    let book = extract(2 * HOUR, holds, vec![stock("n1", 4000, 0, None)]);
    let bill = bill(&book, &prices("prices: [{model: a, hourly: 2.50}]")).unwrap();
    // 8 GPU-hours in all, 2 of red and 1 of nobody's namespace.
    assert_eq!(
        told(&bill),
        [
            (Kind::Held(0), "red", 2, 5_000_000),
            (Kind::Held(1), UNALLOCATED, 1, 2_500_000),
            (Kind::Idle, "-", 5, 12_500_000),
        ]
    );
    assert_eq!(bill.total_micros(), 20_000_000);
}

#[test]
fn a_price_that_changes_and_a_cheaper_class_leave_the_whole_as_it_is() {
    let mut low = hold("red", "n1", 1000, 0, None);
    low.priority_class = "low".to_owned();
    let book = Extract {
        from_ms: DAY / 2,
        ..extract(3 * DAY / 2, vec![low], vec![stock("n1", 1000, 0, None)])
    };
    let file = prices(
        "prices:
- {model: a, hourly: 2, until: 1970-01-02}
- {model: a, hourly: 3, from: 1970-01-02}
- {model: a, priorityClass: low, factor: 0.5}",
    );
    let bill = bill(&book, &file).unwrap();
    // 12 h at 2 and 12 h at 3 are 60, of which the class pays half.
    assert_eq!(
        told(&bill),
        [
            (Kind::Held(0), "red", 24, 30_000_000),
            (Kind::Discount, "-", 0, 30_000_000)
        ]
    );
    assert_eq!(bill.total_micros(), 60_000_000);
}

#[test]
fn what_lasts_is_known_until_the_book_ends() {
    let holds = vec![hold("red", "n1", 1000, 0, None)];
    let book = Extract {
        kept_until_ms: HOUR,
        ..extract(DAY, holds, vec![stock("n1", 1000, 0, None)])
    };
    let bill = bill(&book, &prices("prices: [{model: a, hourly: 2}]")).unwrap();
    assert_eq!(told(&bill), [(Kind::Held(0), "red", 1, 2_000_000)]);
    assert_eq!(bill.period.until_ms, HOUR);
}

#[test]
fn an_end_that_nobody_saw_counts_as_it_was_estimated() {
    let mut lost = hold("red", "n1", 1000, 0, None);
    lost.end = Some(End {
        at_ms: HOUR,
        why: Why::Unknown,
        estimated: true,
    });
    let book = extract(
        3 * HOUR,
        vec![lost],
        vec![stock("n1", 1000, 0, Some(2 * HOUR))],
    );
    let bill = bill(&book, &prices("prices: [{model: a, hourly: 2}]")).unwrap();
    assert_eq!(
        told(&bill),
        [
            (Kind::Held(0), "red", 1, 2_000_000),
            (Kind::Idle, "-", 1, 2_000_000)
        ]
    );
}

/// Red held 5 GPU-hours, blue 1 and the platform 4, of 12.
fn shared() -> Extract {
    let holds = vec![
        hold("red", "n1", 5000, 0, Some(HOUR)),
        hold("blue", "n1", 1000, 0, Some(HOUR)),
        hold("platform", "n1", 4000, 0, Some(HOUR)),
    ];
    extract(HOUR, holds, vec![stock("n1", 12_000, 0, None)])
}

/// Tenant and millionths of the lines that the price file's section adds.
fn added(section: &str) -> Vec<(String, i128)> {
    let file = prices(&format!(
        "prices: [{{model: a, hourly: 1}}]\nchargeback:\n{section}"
    ));
    let bill = bill(&shared(), &file).unwrap();
    assert_eq!(sum(&bill), bill.total_micros());
    let more = bill
        .lines
        .iter()
        .filter(|line| !matches!(line.kind, Kind::Held(_)));
    more.map(|line| (line.tenant().unwrap_or("-").to_owned(), line.micros))
        .collect()
}

fn lines(expected: &[(&str, i128)]) -> Vec<(String, i128)> {
    expected
        .iter()
        .map(|(tenant, micros)| ((*tenant).to_owned(), *micros))
        .collect()
}

#[test]
fn a_service_is_passed_on_by_usage_evenly_or_by_weight() {
    let idle = ("-", 2_000_000);
    let back = ("platform", -4_000_000);
    // 4 × 5/6 and 4 × 1/6: the larger remainder is blue's.
    assert_eq!(
        added("  sharedServices: [{name: s, tenants: [platform]}]"),
        lines(&[idle, back, ("blue", 666_667), ("red", 3_333_333)])
    );
    assert_eq!(
        added("  sharedServices: [{name: s, namespaces: [ml-platform], split: evenly}]"),
        lines(&[idle, back, ("blue", 2_000_000), ("red", 2_000_000)])
    );
    assert_eq!(
        added(
            "  sharedServices: [{name: s, tenants: [platform], split: weight, weights: {red: 1, green: 3}}]"
        ),
        lines(&[idle, back, ("green", 3_000_000), ("red", 1_000_000)])
    );
    // Nobody is left who could pay.
    assert_eq!(
        added("  sharedServices: [{name: s, tenants: [platform, red, blue]}]"),
        lines(&[idle])
    );
}

#[test]
fn idle_time_is_paid_by_those_who_hold_such_gpus_where_the_file_says_so() {
    // 2 × 1/10, 2 × 4/10, 2 × 5/10.
    assert_eq!(
        added("  idle: shared"),
        lines(&[("blue", 200_000), ("platform", 800_000), ("red", 1_000_000)])
    );
}

#[test]
fn what_is_due_each_month_is_due_by_the_hour() {
    // January 1970 has 744 hours.
    assert_eq!(
        added("  fixed: [{name: contract, monthly: 744, split: evenly}]"),
        lines(&[
            ("-", 2_000_000),
            ("blue", 333_334),
            ("platform", 333_333),
            ("red", 333_333)
        ])
    );
}

#[test]
fn what_has_no_price_or_was_not_there_makes_no_bill() {
    let file = prices("prices: [{model: a, hourly: 1, from: 1970-01-02}]");
    let error = bill(&shared(), &file).unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("there is no price of \"a\" on 1970-01-01, so there is no bill"),
        "{error}"
    );
    let mut book = shared();
    book.holds[0].gpu_milli = 7001;
    let error = bill(&book, &prices("prices: [{model: a, hourly: 1}]")).unwrap_err();
    assert!(
        matches!(&error, Error::Excess(excess) if excess.node == "n1" && excess.held_milli == 12_001),
        "{error}"
    );
}

fn chargeback() -> impl Strategy<Value = String> {
    let split = prop::sample::select(vec![
        "split: usage",
        "split: evenly",
        "split: weight, weights: {t1: 3, t9: 1, t2: 7}",
    ]);
    (prop::sample::select(vec!["separate", "shared"]), split.clone(), split, 0_u64..9_999).prop_map(
        |(idle, service, fixed, monthly)| {
            format!(
                "chargeback:\n  idle: {idle}\n  sharedServices: [{{name: s, tenants: [t0], {service}}}]\n  fixed: [{{name: f, monthly: {monthly}.000007, {fixed}}}]"
            )
        },
    )
}

proptest! {
    #[test]
    fn all_lines_are_the_fleets_cost_to_the_millionth(
        spans in prop::collection::vec((0_u8..6, 0_u64..16_000, 0_u64..3 * DAY, 0_u64..2 * DAY, 0_u8..4), 0..14),
        spare in 0_u64..4_000, hourly in 0_u64..40_000_000, change in 2_u32..4, rest in chargeback(), kept in DAY..3 * DAY,
    ) {
        let holds: Vec<Hold> = spans.iter().enumerate().map(|(index, &(who, gpus, from, long, how))| {
            // Each on a node of its own; some last, some ends are estimated, some are of a cheaper class or in a pool.
            let mut hold = hold(&format!("t{who}"), &format!("n{index}"), gpus, from, Some(from + long));
            hold.payer = if who == 5 { Payer::default() } else { payer(&format!("t{who}")) };
            match how {
                0 => hold.end = None,
                1 => hold.end = hold.end.map(|end| End { estimated: true, why: Why::Unknown, ..end }),
                2 => hold.priority_class = "low".to_owned(),
                _ => hold.pool = "spot".to_owned(),
            }
            hold
        }).collect();
        let mut there: Vec<Stock> = holds.iter().map(|hold| Stock {
            pool: hold.pool.clone(),
            ..stock(&hold.id.node, hold.gpu_milli + spare, hold.from_ms, hold.end.map(|end| end.at_ms + spare))
        }).collect();
        there.push(stock("spare", spare, 0, None));
        let book = Extract {
            from_ms: DAY / 3, until_ms: 5 * DAY / 2, kept_until_ms: kept, holds, stock: there,
            gaps: vec![(DAY, DAY + HOUR)], ..Extract::default()
        };
        let file = prices(&format!(
            "prices:\n- {{model: a, hourly: {0}, until: 1970-01-0{change}}}\n- {{model: a, hourly: {1}, from: 1970-01-0{change}}}\n\
             - {{model: a, pool: spot, hourly: {1}}}\n- {{model: a, priorityClass: low, factor: 0.333}}\n{rest}",
            crate::money::price(hourly), crate::money::price(hourly / 3)
        ));
        let bill = bill(&book, &file).unwrap();
        prop_assert_eq!(sum(&bill), bill.total_micros());
        // The fleet costs what its GPUs cost, whoever held them: within half a millionth.
        let exact = book.stock.iter().map(|s| {
            let there = fleet::there(s, bill.period);
            let gpus = Gpus { model: &s.model, pool: &s.pool, priority_class: "" };
            weigh(gpus, s.gpu_milli, there, &file.prices).unwrap()
        }).sum::<i128>().unsigned_abs();
        prop_assert!((bill.fleet_micros.unsigned_abs() * GPU_HOUR).abs_diff(exact) <= GPU_HOUR / 2);
        // No line is further from its exact amount than a millionth.
        for line in &bill.lines {
            if let Kind::Held(index) = line.kind {
                let hold = &book.holds[index];
                let gpus = Gpus { model: &hold.id.model, pool: &hold.pool, priority_class: &hold.priority_class };
                let own = weigh(gpus, hold.gpu_milli, fleet::held(hold, bill.period), &file.prices).unwrap();
                prop_assert!((line.micros.unsigned_abs() * GPU_HOUR).abs_diff(own.unsigned_abs()) < GPU_HOUR);
            }
        }
        // And GPU-time is not lost either.
        let time: u128 = bill.lines.iter().map(|line| line.gpu_time).sum();
        let all: u128 = book.stock.iter().map(|s| super::time(s.gpu_milli, fleet::there(s, bill.period))).sum();
        prop_assert_eq!(time, all);
    }
}
