//! Until when this process may decide and write.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

/// Who says until when.
#[derive(Debug)]
pub struct Reign(watch::Sender<Option<Instant>>);

/// Who wants to know. Time runs on while the process is stopped, so one that wakes up again knows
/// that it is over before it does anything.
#[derive(Clone, Debug)]
pub struct Tenure(watch::Receiver<Option<Instant>>);

impl Reign {
    /// One that has not begun.
    #[must_use]
    pub fn begin() -> (Self, Tenure) {
        let (sender, receiver) = watch::channel(None);
        (Self(sender), Tenure(receiver))
    }

    /// It lasts until then.
    pub fn extend(&self, until: Instant) {
        self.0.send_replace(Some(until));
    }

    /// It is over.
    pub fn end(&self) {
        self.0.send_if_modified(|until| until.take().is_some());
    }

    /// Whether it lasts.
    #[must_use]
    pub fn is_held(&self) -> bool {
        is_held(*self.0.borrow())
    }
}

impl Tenure {
    /// Whether it lasts.
    #[must_use]
    pub fn is_held(&self) -> bool {
        is_held(*self.0.borrow())
    }

    /// When it ends unless it is extended; at once where it does not last.
    #[must_use]
    pub fn end(&self) -> Instant {
        self.0.borrow().unwrap_or_else(Instant::now)
    }

    /// Waits until it begins, is extended, or ends. For ever once nobody can extend it.
    pub async fn change(&mut self) {
        let until = *self.0.borrow_and_update();
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
        Self(watch::channel(Some(end)).1)
    }
}

fn is_held(until: Option<Instant>) -> bool {
    until.is_some_and(|until| Instant::now() < until)
}
