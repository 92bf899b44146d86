//! The same small work for many things, on several threads.

use std::num::NonZeroUsize;

/// A thread is started for so many things at least: starting one takes as long as some hundreds of small ones.
const SHARE_MIN: usize = 1024;

/// Returns what `work` makes of shares of the items, in their order.
pub(crate) fn shares<'a, T: Sync, R: Send>(
    items: &'a [T],
    work: impl Fn(&'a [T]) -> R + Sync,
) -> Vec<R> {
    let threads = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let share = items.len().div_ceil(threads).max(SHARE_MIN);
    let mut shares = items.chunks(share);
    let own = shares.next().unwrap_or_default();
    std::thread::scope(|scope| {
        let work = &work;
        let others: Vec<_> = shares
            .map(|share| scope.spawn(move || work(share)))
            .collect();
        let mut results = vec![work(own)];
        for other in others {
            let other = other.join();
            results.push(other.unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        }
        results
    })
}

/// Returns what `work` makes of each item, in their order.
pub(crate) fn map<'a, T: Sync, R: Send>(
    items: &'a [T],
    work: impl Fn(&'a T) -> R + Sync,
) -> Vec<R> {
    let mut shares = shares(items, |share| share.iter().map(&work).collect::<Vec<R>>()).into_iter();
    let mut results = shares.next().unwrap_or_default();
    results.extend(shares.flatten());
    results
}

#[cfg(test)]
mod tests {
    #[test]
    fn results_come_in_the_order_of_the_items() {
        for count in [0, 1, 1024, 1025, 10_000] {
            let items: Vec<usize> = (0..count).collect();
            assert_eq!(super::map(&items, |item| *item), items);
        }
    }
}
