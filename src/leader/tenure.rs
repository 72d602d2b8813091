//! Until when this process may decide and write.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

/// Who says until when.
#[derive(Debug)]
pub struct Reign(watch::Sender<Until>);

/// Who wants to know. Time runs on while the process is stopped, so one that wakes up again knows
/// that it is over before it does anything.
#[derive(Clone, Debug)]
pub struct Tenure(watch::Receiver<Until>);

/// Until when somebody decides: at most one of both.
#[derive(Clone, Copy, Debug, Default)]
struct Until {
    ours: Option<Instant>,
    /// As far as another process has been seen to.
    others: Option<Instant>,
}

impl Reign {
    /// One that has not begun.
    #[must_use]
    pub fn begin() -> (Self, Tenure) {
        let (sender, receiver) = watch::channel(Until::default());
        (Self(sender), Tenure(receiver))
    }

    /// It lasts until then.
    pub fn extend(&self, until: Instant) {
        self.0.send_replace(Until {
            ours: Some(until),
            others: None,
        });
    }

    /// It is over, or never was.
    pub fn end(&self) {
        self.0.send_if_modified(|until| until.ours.take().is_some());
    }

    /// It is over, and another process decides until then, as far as it has been seen to.
    pub fn cede(&self, until: Option<Instant>) {
        self.0.send_if_modified(|known| {
            let is_news = known.ours.is_some() || known.others != until;
            *known = Until {
                ours: None,
                others: until,
            };
            is_news
        });
    }

    /// Whether it lasts.
    #[must_use]
    pub fn is_held(&self) -> bool {
        lasts(self.0.borrow().ours)
    }
}

impl Tenure {
    /// Whether it lasts.
    #[must_use]
    pub fn is_held(&self) -> bool {
        lasts(self.0.borrow().ours)
    }

    /// Whether another process decides.
    #[must_use]
    pub fn is_anothers(&self) -> bool {
        lasts(self.0.borrow().others)
    }

    /// When it ends unless it is extended; at once where it does not last.
    #[must_use]
    pub fn end(&self) -> Instant {
        self.0.borrow().ours.unwrap_or_else(Instant::now)
    }

    /// Waits until it begins, is extended, or ends, or that of another does. For ever once nobody
    /// can extend it.
    pub async fn change(&mut self) {
        let Until { ours, others } = *self.0.borrow_and_update();
        let until = ours.or(others);
        let changed = async {
            if self.0.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        };
        match until.filter(|until| *until > Instant::now()) {
            Some(until) => tokio::select! {
                () = changed => {}
                () = tokio::time::sleep_until(until) => {}
            },
            None => changed.await,
        }
    }
}

impl Default for Tenure {
    /// One without end, for a controller that is alone.
    fn default() -> Self {
        // Thirty years, which is what the clock of the runtime can count.
        let end = Instant::now() + Duration::from_secs(30 * 365 * 24 * 60 * 60);
        let until = Until {
            ours: Some(end),
            others: None,
        };
        Self(watch::channel(until).1)
    }
}

fn lasts(until: Option<Instant>) -> bool {
    until.is_some_and(|until| Instant::now() < until)
}
