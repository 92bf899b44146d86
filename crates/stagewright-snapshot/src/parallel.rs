//! The same work on several threads.

/// Runs `work` on so many threads, this one among them, and returns what all of them did: each takes from what is shared
/// until nothing is left. The first error ends it when every thread has.
pub(crate) fn on_threads<T: Send, E: Send>(
    threads: usize,
    work: impl Fn() -> Result<Vec<T>, E> + Sync,
) -> Result<Vec<T>, E> {
    let parts: Vec<Result<Vec<T>, E>> = std::thread::scope(|scope| {
        let others: Vec<_> = (1..threads).map(|_| scope.spawn(&work)).collect();
        let own = work();
        let join = |thread: std::thread::ScopedJoinHandle<'_, _>| {
            thread
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        };
        std::iter::once(own)
            .chain(others.into_iter().map(join))
            .collect()
    });
    let mut all = Vec::new();
    for part in parts {
        all.extend(part?);
    }
    Ok(all)
}
