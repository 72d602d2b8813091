use super::*;
use crate::quantity::parse_weight;
use jiff::ToSpan;
use proptest::prelude::*;

fn at(text: &str) -> Timestamp {
    moment(text).unwrap()
}

fn gpus(amount: u64) -> Limits {
    Limits::NONE.with(Resource::Gpu, amount * 1000)
}

fn hours(name: &str, days: &[&str], span: (&str, &str), zone: &str, owned: u64) -> Hours {
    let change = Change {
        guaranteed: gpus(owned),
        ..Change::default()
    };
    Hours::read(name, days.iter().copied(), span, zone, change).unwrap()
}

fn terms(hours: Vec<Hours>, grants: Vec<Grant>) -> Terms {
    let base = Tenant {
        guaranteed: Resources::gpus(16),
        limit: gpus(32),
        ..Tenant::new("red")
    };
    Terms {
        base,
        hours,
        grants,
    }
}

fn grant(name: &str, from: Option<&str>, until: &str, more: u64) -> Grant {
    Grant {
        name: name.to_owned(),
        from: from.map(at),
        until: at(until),
        weight: None,
        guaranteed: Resources::gpus(more),
        limit: Resources::gpus(more),
    }
}

fn owned(terms: &Terms, now: &str) -> u64 {
    terms.at(at(now)).guaranteed.get(Resource::Gpu) / 1000
}

#[test]
fn a_night_begins_on_its_days_and_ends_on_the_next() {
    let night = hours("night", &["Fri", "Sat"], ("20:00", "08:00"), "UTC", 24);
    let terms = terms(vec![night], Vec::new());
    // 2026-05-01 is a Friday.
    for (now, gpus) in [
        ("2026-05-01T19:59:59Z", 16),
        ("2026-05-01T20:00:00Z", 24),
        ("2026-05-02T07:59:59Z", 24),
        ("2026-05-02T08:00:00Z", 16),
        ("2026-05-02T23:00:00Z", 24),
        ("2026-05-03T07:00:00Z", 24),
        ("2026-05-03T20:00:00Z", 16),
    ] {
        assert_eq!(owned(&terms, now), gpus, "{now}");
    }
    let next = terms.next_change(at("2026-05-03T09:00:00Z"));
    assert_eq!(next, Some(at("2026-05-08T20:00:00Z")));
}

/// Days in a row are one span, in which nothing changes.
#[test]
fn a_weekend_is_one_change() {
    let weekend = hours("weekend", &["Sat", "Sun"], ("00:00", "24:00"), "UTC", 24);
    let terms = terms(vec![weekend], Vec::new());
    let next = terms.next_change(at("2026-05-02T00:00:00Z"));
    assert_eq!(next, Some(at("2026-05-04T00:00:00Z")));
    assert_eq!(owned(&terms, "2026-05-03T00:00:00Z"), 24);
}

/// Berlin's clocks are put forward on 2026-03-29 at 2:00, and back on 2026-10-25 at 3:00.
#[test]
fn hours_go_by_the_clock_on_the_wall() {
    let night = hours("night", &[], ("22:00", "06:00"), "Europe/Berlin", 24);
    let terms = terms(vec![night], Vec::new());
    let length = |from: &str| {
        let begins = terms.next_change(at(from)).unwrap();
        let ends = terms.next_change(begins).unwrap();
        assert_eq!(terms.at(begins).guaranteed, Resources::gpus(24));
        assert_eq!(terms.at(ends).guaranteed, Resources::gpus(16));
        (begins.to_string(), ends.duration_since(begins).as_hours())
    };
    let is = |text: &str, hours| (text.to_owned(), hours);
    assert_eq!(
        length("2026-01-10T12:00:00Z"),
        is("2026-01-10T21:00:00Z", 8)
    );
    assert_eq!(
        length("2026-03-28T12:00:00Z"),
        is("2026-03-28T21:00:00Z", 7)
    );
    assert_eq!(
        length("2026-07-10T12:00:00Z"),
        is("2026-07-10T20:00:00Z", 8)
    );
    assert_eq!(
        length("2026-10-24T12:00:00Z"),
        is("2026-10-24T20:00:00Z", 9)
    );
}

/// 2:30 is not on the wall on that day: it is 3:30. On the other it is there twice: the first counts.
#[test]
fn moments_that_a_clock_leaves_out_or_shows_twice() {
    let hour = hours("early", &[], ("02:30", "04:00"), "Europe/Berlin", 24);
    let terms = terms(vec![hour], Vec::new());
    let next = |from: &str| terms.next_change(at(from)).unwrap().to_string();
    assert_eq!(next("2026-03-28T12:00:00Z"), "2026-03-29T01:30:00Z");
    assert_eq!(next("2026-10-24T12:00:00Z"), "2026-10-25T00:30:00Z");
    assert_eq!(next("2026-10-25T00:30:00Z"), "2026-10-25T03:00:00Z");
}

#[test]
fn grants_of_weight_add_up() {
    let weighing = |name: &str, weight: &str| Grant {
        weight: Some(parse_weight(weight).unwrap()),
        ..grant(name, None, "2026-05-01T12:00:00Z", 0)
    };
    let terms = terms(
        Vec::new(),
        vec![weighing("a", "1/2"), weighing("b", "0.25")],
    );
    let parts = |now: &str| {
        let weight = terms.at(at(now)).weight;
        (weight.numerator(), weight.denominator())
    };
    assert_eq!(parts("2026-05-01T11:59:59Z"), (7, 4));
    assert_eq!(parts("2026-05-01T12:00:00Z"), (1, 1));
    // What 32 bits do not hold is rounded.
    let [one, other] = ["1/999999999", "1/999999998"].map(|text| parse_weight(text).unwrap());
    let sum = super::together(one, other);
    let share = f64::from(sum.numerator()) / f64::from(sum.denominator());
    assert!((share * 999_999_998.5 - 2.0).abs() < 0.5, "{sum:?}");
    assert_eq!(super::together(Weight::new(0, NonZeroU32::MIN), one), one);
}

#[test]
fn grants_come_on_top_and_end() {
    let night = hours("night", &[], ("20:00", "08:00"), "UTC", 24);
    let deadline = grant(
        "deadline",
        Some("2026-05-01T12:00:00Z"),
        "2026-05-01T22:00:00Z",
        8,
    );
    let more = grant("more", None, "2026-05-01T13:00:00Z", 2);
    let terms = terms(vec![night], vec![deadline, more]);
    for (now, gpus, names) in [
        ("2026-05-01T11:59:59Z", 18, vec!["more"]),
        ("2026-05-01T12:00:00Z", 26, vec!["deadline", "more"]),
        ("2026-05-01T13:00:00Z", 24, vec!["deadline"]),
        ("2026-05-01T20:00:00Z", 32, vec!["night", "deadline"]),
        ("2026-05-01T22:00:00Z", 24, vec!["night"]),
        ("2026-05-02T08:00:00Z", 16, vec![]),
    ] {
        assert_eq!(owned(&terms, now), gpus, "{now}");
        assert_eq!(terms.in_force(at(now)), names, "{now}");
    }
    assert_eq!(terms.limit_at_most(Resource::Gpu), Some(42_000));
    assert_eq!(terms.limit_at_most(Resource::Cpu), None);
    let most = terms
        .variants()
        .into_iter()
        .map(|tenant| tenant.guaranteed.get(Resource::Gpu));
    assert_eq!(most.max(), Some(34_000));
}

#[test]
fn what_is_not_said_stays() {
    let mut night = hours("night", &[], ("20:00", "08:00"), "UTC", 24);
    night.change.weight = Some(Weight::new(3, std::num::NonZeroU32::MIN));
    night.change.limit = gpus(48);
    let terms = terms(vec![night], Vec::new());
    let tenant = terms.at(at("2026-05-01T21:00:00Z"));
    assert_eq!((tenant.weight.numerator(), tenant.limit), (3, gpus(48)));
    assert_eq!(tenant.lending_limit, Limits::NONE);
    assert_eq!(terms.at(at("2026-05-01T09:00:00Z")), terms.base);
}

#[test]
fn mistakes_are_told() {
    let read = |days: &[&str], span, zone| {
        let hours = Hours::read("x", days.iter().copied(), span, zone, Change::default());
        hours.map(drop)
    };
    let right = ("20:00", "08:00");
    assert_eq!(read(&["Mon"], right, "America/New_York"), Ok(()));
    assert_eq!(read(&["Monday"], right, "UTC"), Err(HoursError::Day));
    assert_eq!(read(&[], ("24:00", "08:00"), "UTC"), Err(HoursError::From));
    assert_eq!(read(&[], ("8:00", "09:00"), "UTC"), Err(HoursError::From));
    assert_eq!(read(&[], ("08:00", "24:01"), "UTC"), Err(HoursError::To));
    assert_eq!(read(&[], ("08:00", "08:00"), "UTC"), Err(HoursError::Empty));
    for zone in ["Europe/Atlantis", "europe/berlin", "", "CEST"] {
        assert_eq!(read(&[], right, zone), Err(HoursError::Zone), "{zone}");
    }
    for text in [
        "2026-05-01",
        "2026-05-01T10:00",
        "2026-05-01T10:00Z[UTC]",
        "2026-13-01T10:00:00Z",
        "",
    ] {
        assert_eq!(moment(text), None, "{text}");
    }
    assert_eq!(
        moment("2026-05-01T12:00:00+02:00"),
        moment("2026-05-01T10:00:00Z")
    );
}

#[test]
fn hours_that_overlap_are_found() {
    let one = |days: &[&str], from, to| hours("x", days, (from, to), "UTC", 1);
    let found = |all: &[Hours]| overlap(all);
    let night = one(&[], "20:00", "08:00");
    let day = one(&[], "08:00", "20:00");
    assert_eq!(found(&[night.clone(), day]), None);
    assert_eq!(
        found(&[night.clone(), one(&["Wed"], "07:00", "09:00")]),
        Some((0, 1))
    );
    // Sunday's night goes on into Monday.
    assert_eq!(
        found(&[night, one(&["Mon"], "00:00", "01:00")]),
        Some((0, 1))
    );
    let weekend = one(&["Sat", "Sun"], "00:00", "24:00");
    assert_eq!(
        found(&[weekend.clone(), one(&["Fri"], "22:00", "24:00")]),
        None
    );
    assert_eq!(
        found(&[one(&["Fri"], "22:00", "01:00"), weekend]),
        Some((0, 1))
    );
    assert_eq!(found(&[one(&["Tue"], "22:00", "21:00")]), None);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Nothing changes before the next change, and something does then.
    #[test]
    fn between_two_changes_nothing_changes(
        start in 1_767_225_600_i64..1_830_297_600,
        days in prop::collection::vec(prop::sample::select(&DAYS), 0..4),
        (from, to) in (0..24_u16, 1..=24_u16),
        zone in prop::sample::select(&["UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata"]),
        grants in prop::collection::vec((0..200_i64, 1..200_i64, 1..9_u64), 0..3),
    ) {
        prop_assume!(from != to);
        let span = (format!("{from:02}:00"), format!("{to:02}:00"));
        let night = hours("night", &days, (&span.0, &span.1), zone, 24);
        let start = Timestamp::from_second(start).unwrap();
        let later = |hours: i64| start + hours.hours();
        let grants = grants.into_iter().map(|(from, length, more)| Grant {
            name: "grant".to_owned(),
            from: Some(later(from)),
            until: later(from + length),
            weight: None,
            guaranteed: Resources::gpus(more),
            limit: Resources::ZERO,
        });
        let terms = terms(vec![night], grants.collect());
        let mut now = start;
        for _ in 0..20 {
            let Some(next) = terms.next_change(now) else { break };
            prop_assert!(next > now);
            let due = (terms.at(now), terms.in_force(now));
            let just_before = next - 1.seconds();
            prop_assert_eq!(&(terms.at(just_before), terms.in_force(just_before)), &due);
            prop_assert_ne!(&(terms.at(next), terms.in_force(next)), &due);
            now = next;
        }
    }
}
