//! What goes in comes out, once, whoever tells it.

use super::{Databases, held, place, runtime, shared, stock};
use crate::entry::{Busy, Correction, Entry, Picture};
use crate::record::{End, Hold, Why};
use crate::store::{Book, Purpose};

/// Tries it with an empty book in each kind of database, and tells it which.
fn in_each(test: impl AsyncFn(Book, &str)) {
    let databases = Databases::start();
    runtime().block_on(async {
        for url in databases.fresh() {
            let book = Book::open(&url, Purpose::Write).await.unwrap();
            test(book, &url).await;
        }
    });
}

const fn end(at_ms: u64, why: Why) -> End {
    End {
        at_ms,
        why,
        estimated: false,
    }
}

fn start(job: &str, seat: u32, from_ms: u64) -> Entry {
    Entry::Held(shared(held(job, seat, from_ms)))
}

fn spans(holds: &[Hold]) -> Vec<(&str, u64, u64, Option<u64>)> {
    let all = holds.iter();
    all.map(|hold| {
        let until_ms = hold.end.map(|end| end.at_ms);
        (hold.job.as_str(), hold.gpu_milli, hold.from_ms, until_ms)
    })
    .collect()
}

#[test]
fn a_gang_is_one_hold_and_its_places_may_end_one_by_one() {
    in_each(async |book, url| {
        let facts = [
            Entry::There(stock(0)),
            start("gang", 0, 10),
            start("gang", 1, 10),
            start("gang", 2, 10),
            Entry::Freed(place("gang", 0), end(40, Why::Preempted)),
            Entry::Freed(place("gang", 1), end(50, Why::Preempted)),
            Entry::Freed(place("gang", 2), end(50, Why::Preempted)),
            start("lasts", 0, 60),
        ];
        assert_eq!(book.write(&facts, (0, 70)).await.unwrap(), 8);
        let all = book.extract(0, 100).await.unwrap();
        let expected = [
            ("gang", 1000, 10, Some(40)),
            ("gang", 2000, 10, Some(50)),
            ("lasts", 1000, 60, None),
        ];
        assert_eq!(spans(&all.holds), expected, "{url}");
        assert_eq!(all.holds[0].end, Some(end(40, Why::Preempted)));
        assert_eq!(all.stock, [stock(0)]);
        assert_eq!((all.kept_until_ms, all.gaps), (70, vec![]));
        // Only what overlaps a period is told of it, and a moment is no period.
        let late = book.extract(50, 60).await.unwrap();
        assert_eq!(spans(&late.holds), []);
        let late = book.extract(49, 61).await.unwrap();
        assert_eq!(spans(&late.holds), expected[1..]);
    });
}

#[test]
fn what_is_told_twice_is_in_it_once_and_the_first_end_stays() {
    in_each(async |book, url| {
        let facts = [
            Entry::There(stock(0)),
            start("j", 0, 10),
            Entry::Freed(place("j", 0), end(30, Why::Finished)),
            Entry::Named {
                tenant: "red".to_owned(),
                name: "Red team".to_owned(),
                from_ms: 5,
            },
        ];
        assert_eq!(book.write(&facts, (0, 40)).await.unwrap(), 4);
        let once = book.extract(0, 100).await.unwrap();
        assert_eq!(book.write(&facts, (0, 40)).await.unwrap(), 0);
        let other = Entry::Freed(place("j", 0), end(35, Why::Unknown));
        let unknown = Entry::Freed(place("nobody", 0), end(35, Why::Unknown));
        assert_eq!(book.write(&[other, unknown], (40, 40)).await.unwrap(), 0);
        assert_eq!(book.extract(0, 100).await.unwrap(), once, "{url}");
        assert_eq!(once.names["red"], "Red team");
        // It took the place again later: that is another line.
        let again = [start("j", 0, 50), facts[2].clone()];
        assert_eq!(book.write(&again, (40, 60)).await.unwrap(), 1);
        let open = book.open_holds().await.unwrap();
        assert_eq!((open.len(), open[0].from_ms), (1, 50));
    });
}

#[test]
fn corrections_and_samples_are_lines_of_their_own() {
    let corrected = |written_ms, at_ms| {
        Entry::Corrected(Correction {
            id: place("j", 0),
            from_ms: 10,
            written_ms,
            at_ms,
            why: Why::Finished,
            note: "its log says so".to_owned(),
        })
    };
    let busy = |job: &str, from_ms, milli| {
        Entry::Busy(Busy {
            id: place(job, 0),
            from_ms,
            until_ms: from_ms + 10,
            milli,
        })
    };
    in_each(async |book, url| {
        let estimated = End {
            estimated: true,
            ..end(30, Why::Unknown)
        };
        let facts = [
            start("j", 0, 10),
            start("k", 0, 10),
            busy("j", 10, 900),
            busy("j", 20, 300),
            Entry::Freed(place("j", 0), estimated),
        ];
        book.write(&facts, (0, 40)).await.unwrap();
        let read = book.extract(0, 100).await.unwrap();
        let by_job = |job: &str| read.holds.iter().find(|hold| hold.job == job).unwrap();
        assert_eq!(by_job("j").end, Some(estimated));
        assert_eq!(by_job("j").busy_milli, Some(600));
        assert_eq!(by_job("j").measured, Some(20_000));
        assert_eq!(by_job("k").busy_milli, None);
        let right = [corrected(50, 24), corrected(60, 26)];
        assert_eq!(book.write(&right, (40, 60)).await.unwrap(), 2);
        let read = book.extract(0, 100).await.unwrap();
        assert_eq!(spans(&read.holds)[0], ("j", 1000, 10, Some(26)), "{url}");
        assert_eq!(read.holds[0].end, Some(end(26, Why::Finished)));
    });
}

#[test]
fn gaps_are_told() {
    in_each(async |book, _| {
        for kept in [(100, 100), (100, 200), (200, 300), (400, 400), (400, 500)] {
            book.write(&[], kept).await.unwrap();
        }
        let gaps = async |from, until| book.extract(from, until).await.unwrap().gaps;
        assert_eq!(gaps(0, 1000).await, [(0, 100), (300, 400)]);
        assert_eq!(gaps(150, 350).await, []);
        assert_eq!(gaps(320, 450).await, [(320, 400)]);
        assert_eq!(gaps(410, 450).await, []);
        assert_eq!(book.kept_until().await.unwrap(), Some(500));
    });
}

#[test]
fn all_who_open_a_new_book_at_once_have_it() {
    let databases = Databases::start();
    runtime().block_on(async {
        for url in (0..10).flat_map(|_| databases.fresh()) {
            let open = || {
                let url = url.clone();
                tokio::spawn(async move { Book::open(&url, Purpose::Write).await })
            };
            for book in [open(), open(), open(), open()] {
                let book = book.await.unwrap().unwrap();
                assert_eq!(book.kept_until().await.unwrap(), None, "{url}");
            }
        }
    });
}

/// Both are told the same, in batches of other sizes, and both write all of it.
#[test]
fn two_who_write_the_same_at_once_make_no_double_line() {
    let databases = Databases::start();
    runtime().block_on(async {
        for url in databases.fresh() {
            let first = Book::open(&url, Purpose::Write);
            let second = Book::open(&url, Purpose::Write);
            let (first, second) = tokio::join!(first, second);
            let (first, second) = (first.unwrap(), second.unwrap());
            let facts = |seats: std::ops::Range<u32>| -> Vec<Entry> {
                let all = seats.flat_map(|seat| {
                    let from_ms = u64::from(seat) * 10;
                    let gone = Entry::Freed(place("j", seat), end(from_ms + 5, Why::Finished));
                    [start("j", seat, from_ms), gone]
                });
                all.collect()
            };
            let all = async |book: &Book, step: usize| {
                let mut lines = 0;
                for seats in (0..60).step_by(step) {
                    let until = (seats + u32::try_from(step).unwrap()).min(60);
                    let kept = (0, u64::from(until) * 10);
                    lines += book.write(&facts(seats..until), kept).await.unwrap();
                }
                lines
            };
            let (a, b) = tokio::join!(all(&first, 7), all(&second, 4));
            assert_eq!(a + b, 120, "{url}");
            let read = first.extract(0, 1000).await.unwrap();
            assert_eq!(read.holds.len(), 60);
            // Both take up at once: what one has ended the other does not end again.
            let open = [start("open", 0, 700)];
            first.write(&open, (600, 710)).await.unwrap();
            let now = Picture {
                at_ms: 800,
                since_ms: 800,
                stock: vec![stock(790)],
                ..Picture::default()
            };
            let (a, b) = tokio::join!(first.take_up(&now), second.take_up(&now));
            assert_eq!(a.unwrap().0 + b.unwrap().0, 2, "{url}");
            assert!(first.open_holds().await.unwrap().is_empty());
        }
    });
}

/// Of a job that began and ended while nobody kept the book its objects still tell.
#[test]
fn what_was_missed_is_added_unless_the_book_knows_of_it() {
    let over = |job: &str, from_ms, at_ms| {
        let held = shared(held(job, 0, from_ms));
        (held, end(at_ms, Why::Finished))
    };
    in_each(async |book, url| {
        let facts = [Entry::There(stock(0)), start("known", 0, 10)];
        book.write(&facts, (0, 100)).await.unwrap();
        let now = Picture {
            at_ms: 500,
            since_ms: 490,
            stock: vec![stock(450)],
            ended: [("known".to_owned(), 300)].into(),
            over: vec![
                over("early", 20, 90),
                over("known", 10, 300),
                over("missed", 200, 400),
            ],
            ..Picture::default()
        };
        for lines in [3, 0] {
            assert_eq!(book.take_up(&now).await.unwrap().0, lines, "{url}");
        }
        let all = book.extract(0, 1000).await.unwrap();
        let expected = [
            ("known", 1000, 10, Some(300)),
            ("missed", 1000, 200, Some(400)),
        ];
        assert_eq!(spans(&all.holds), expected);
        assert_eq!(all.stock, [stock(0)], "the same node all the time");
    });
}

/// Whoever takes over may see places become free before the book can be written.
#[test]
fn what_was_seen_to_end_before_the_book_was_taken_up_is_in_it() {
    let seen = |job: &str, from_ms, at_ms| {
        let held = shared(held(job, 0, from_ms));
        (held, end(at_ms, Why::Preempted))
    };
    in_each(async |book, url| {
        let facts = [Entry::There(stock(0)), start("known", 0, 10)];
        book.write(&facts, (0, 100)).await.unwrap();
        let now = Picture {
            at_ms: 500,
            since_ms: 450,
            stock: vec![stock(450)],
            gone: vec![seen("known", 10, 470), seen("brief", 460, 490)],
            ..Picture::default()
        };
        for lines in [3, 0] {
            assert_eq!(book.take_up(&now).await.unwrap().0, lines, "{url}");
        }
        let all = book.extract(0, 1000).await.unwrap();
        let expected = [
            ("known", 1000, 10, Some(470)),
            ("brief", 1000, 460, Some(490)),
        ];
        assert_eq!(spans(&all.holds), expected);
        let ends = all.holds.iter().map(|hold| hold.end.unwrap());
        assert!(
            ends.into_iter()
                .all(|end| !end.estimated && end.why == Why::Preempted)
        );
    });
}

#[test]
fn what_a_tenant_was_told_in_a_month_is_remembered() {
    use crate::budget::Threshold::{Eighty, Ninety};
    in_each(async |book, url| {
        for threshold in [Eighty, Ninety, Eighty] {
            book.tell("red", 100, threshold, 150).await.unwrap();
        }
        book.tell("red", 200, Eighty, 250).await.unwrap();
        let told = book.told(100).await.unwrap();
        assert_eq!(
            told,
            [("red".to_owned(), [Eighty, Ninety].into())].into(),
            "{url}"
        );
        assert_eq!(book.told(300).await.unwrap().len(), 0);
    });
}
