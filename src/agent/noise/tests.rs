use std::iter::repeat_n;

use super::*;

fn limits() -> Thresholds {
    Thresholds {
        window: Duration::from_secs(10),
        calm: Duration::from_secs(20),
        ..Thresholds::default()
    }
}

fn user(name: &str, slots: u32, compute: u32, memory: u32) -> User {
    User {
        namespace: "red".to_owned(),
        name: name.to_owned(),
        slots,
        compute: Some(compute),
        bandwidth: Some(compute / 2),
        memory: Some(memory),
        ..User::default()
    }
}

fn shared(users: &[User]) -> Sample {
    let sum = |read: fn(&User) -> Option<u32>| users.iter().filter_map(read).sum::<u32>();
    Sample {
        compute: Some(sum(|user| user.compute)),
        bandwidth: Some(0),
        memory: Some(sum(|user| user.memory)),
        power: Some(0),
        slots: Some(4),
        users: users.to_vec(),
        strangers: false,
    }
}

/// One look a second.
struct Heard {
    listener: Listener,
    second: u64,
}

impl Heard {
    fn new() -> Self {
        Self {
            listener: Listener::new(limits()),
            second: 0,
        }
    }

    fn for_seconds(&mut self, count: usize, sample: &Sample) -> Vec<Noise> {
        for sample in repeat_n(sample, count) {
            let at = Duration::from_secs(self.second);
            let now = Timestamp::from_second(i64::try_from(self.second).unwrap()).unwrap();
            self.listener.hear(now, at, [(0, sample.clone())].into());
            self.second += 1;
        }
        self.listener.noises(0)
    }
}

/// Name, what it uses, and its part.
type Blamed<'a> = Option<(&'a str, u32, u32)>;

fn blamed(noises: &[Noise]) -> Vec<(Contention, Blamed<'_>)> {
    let offender = |noise: &Noise| noise.contention;
    let blamed = noises.iter().map(|noise| {
        let one = noise.offender.as_ref();
        (
            offender(noise),
            one.map(|one| (one.name.as_str(), one.uses, one.part)),
        )
    });
    blamed.collect()
}

#[test]
fn whoever_takes_more_than_its_part_of_a_full_card_is_named() {
    let mut heard = Heard::new();
    let busy = shared(&[user("a", 1, 80, 20), user("b", 1, 20, 20)]);
    assert_eq!(
        heard.for_seconds(10, &busy),
        [],
        "not before a whole window"
    );
    let noises = heard.for_seconds(1, &busy);
    assert_eq!(
        blamed(&noises),
        [(Contention::Compute, Some(("a", 80, 50)))]
    );
    assert_eq!((noises[0].measured, noises[0].threshold), (100, 95));
    assert_eq!(noises[0].disturbed[0].name, "b");
    assert_eq!(heard.for_seconds(30, &busy), noises, "and it is told once");
}

#[test]
fn a_full_card_on_which_each_has_its_part_has_nobody_to_blame() {
    let mut heard = Heard::new();
    let even = shared(&[user("a", 2, 60, 10), user("b", 1, 40, 10)]);
    let noises = heard.for_seconds(12, &even);
    assert_eq!(blamed(&noises), [(Contention::Compute, None)]);
    assert_eq!(noises[0].disturbed.len(), 2);
}

#[test]
fn one_alone_disturbs_nobody_and_a_peak_is_no_noise() {
    let mut heard = Heard::new();
    assert_eq!(heard.for_seconds(30, &shared(&[user("a", 1, 100, 99)])), []);
    let calm = shared(&[user("a", 1, 40, 10), user("b", 1, 20, 10)]);
    let peak = shared(&[user("a", 1, 90, 10), user("b", 1, 10, 10)]);
    heard.for_seconds(20, &calm);
    assert_eq!(heard.for_seconds(5, &peak), []);
}

#[test]
fn it_is_over_when_it_has_been_quiet_for_long_enough() {
    let mut heard = Heard::new();
    let busy = shared(&[user("a", 1, 90, 10), user("b", 1, 10, 10)]);
    let less = shared(&[user("a", 1, 78, 10), user("b", 1, 10, 10)]);
    let calm = shared(&[user("a", 1, 40, 10), user("b", 1, 10, 10)]);
    heard.for_seconds(12, &busy);
    assert_eq!(
        heard.for_seconds(60, &less).len(),
        1,
        "88 is not well below 95"
    );
    assert_eq!(heard.for_seconds(5, &calm).len(), 1);
    assert_eq!(
        heard.for_seconds(10, &busy).len(),
        1,
        "it begins anew to be quiet"
    );
    assert_eq!(heard.for_seconds(40, &calm), []);
}

#[test]
fn two_that_take_turns_at_being_the_worst_are_not_told_in_turn() {
    let mut heard = Heard::new();
    let first = shared(&[
        user("a", 1, 48, 10),
        user("b", 1, 47, 10),
        user("c", 1, 5, 10),
    ]);
    let other = shared(&[
        user("a", 1, 45, 10),
        user("b", 1, 50, 10),
        user("c", 1, 5, 10),
    ]);
    let noises = heard.for_seconds(12, &first);
    assert_eq!(
        blamed(&noises),
        [(Contention::Compute, Some(("a", 48, 33)))]
    );
    assert_eq!(heard.for_seconds(30, &other), noises);
    let b_alone = shared(&[
        user("a", 1, 10, 10),
        user("b", 1, 80, 10),
        user("c", 1, 10, 10),
    ]);
    let then = heard.for_seconds(15, &b_alone);
    assert_eq!(then[0].offender.as_ref().unwrap().name, "b");
    assert_eq!(then[0].since, noises[0].since, "the noise is the same");
}

#[test]
fn memory_is_judged_by_slots_of_the_whole_card() {
    let mut heard = Heard::new();
    let full = shared(&[user("a", 1, 10, 70), user("b", 1, 10, 26)]);
    let noises = heard.for_seconds(12, &full);
    assert_eq!(blamed(&noises), [(Contention::Memory, Some(("a", 70, 25)))]);
}

#[test]
fn by_mps_memory_tells_who_it_is_as_far_as_it_can() {
    let client = |name: &str, memory| User {
        compute: None,
        bandwidth: None,
        ..user(name, 1, 0, memory)
    };
    let mut sample = shared(&[client("a", 60), client("b", 20)]);
    (sample.compute, sample.power) = (Some(99), Some(100));
    let noises = Heard::new().for_seconds(12, &sample);
    let (compute, power) = (Contention::Compute, Contention::Power);
    let a = Some(("a", 60, 25));
    assert_eq!(blamed(&noises), [(compute, a), (power, a)]);
    assert!(
        noises
            .iter()
            .all(|n| n.offender.as_ref().unwrap().by_memory)
    );
}

#[test]
fn who_was_given_nothing_has_no_part() {
    let mut heard = Heard::new();
    let sample = shared(&[user("intruder", 0, 40, 5), user("owner", 1, 60, 5)]);
    let noises = heard.for_seconds(12, &sample);
    let intruder = Some(("intruder", 40, 0));
    assert_eq!(blamed(&noises), [(Contention::Compute, intruder)]);
}

#[test]
fn what_is_not_told_is_not_judged_and_a_gap_begins_anew() {
    let mut heard = Heard::new();
    let busy = shared(&[user("a", 1, 90, 10), user("b", 1, 10, 10)]);
    let silent = Sample {
        compute: None,
        bandwidth: None,
        memory: None,
        power: None,
        ..busy.clone()
    };
    assert_eq!(heard.for_seconds(30, &silent), []);
    assert_eq!(
        heard.for_seconds(4, &busy),
        [],
        "most of the window is not known"
    );
    let mut heard = Heard::new();
    heard.for_seconds(8, &busy);
    heard.second += 60;
    assert_eq!(heard.for_seconds(5, &busy), []);
}
