//! Many runs at once.

use std::ops::ControlFlow;

use rayon::prelude::*;

use super::trial::Interrupted;

/// Whoever waits for an experiment.
pub trait Watch: Sync {
    /// This many more pieces of work are to be done.
    fn more(&self, count: usize);
    /// One piece of work is done.
    fn done(&self);
    /// Whether to go on.
    fn poll(&self) -> ControlFlow<()>;
}

/// Threads that work for somebody.
pub struct Crew<'a> {
    threads: rayon::ThreadPool,
    watch: &'a dyn Watch,
}

impl<'a> Crew<'a> {
    /// With this many threads; `None`: as many as may run at once.
    ///
    /// # Errors
    /// When the system gives no more threads.
    pub fn new(
        threads: Option<usize>,
        watch: &'a dyn Watch,
    ) -> Result<Self, rayon::ThreadPoolBuildError> {
        let available = || std::thread::available_parallelism().map_or(1, Into::into);
        let threads = rayon::ThreadPoolBuilder::new()
            .num_threads(threads.unwrap_or_else(available))
            .build()?;
        Ok(Self { threads, watch })
    }

    /// What comes of each item, in the items' order, whoever was faster. `work` gets what to poll.
    ///
    /// # Errors
    /// When somebody wants it to stop.
    pub fn each<I, T, F>(&self, items: &[I], work: F) -> Result<Vec<T>, Interrupted>
    where
        I: Sync,
        T: Send,
        F: Fn(&I, &dyn Fn() -> ControlFlow<()>) -> Result<T, Interrupted> + Sync,
    {
        self.watch.more(items.len());
        let one = |item: &I| {
            if self.watch.poll().is_break() {
                return Err(Interrupted);
            }
            let done = work(item, &|| self.watch.poll())?;
            self.watch.done();
            Ok(done)
        };
        // One at a time: runs differ in length.
        let each = || items.par_iter().with_max_len(1).map(one).collect();
        self.threads.install(each)
    }
}
