//! Work side by side: rules, windows and tests, each kept to one thread.

use std::cell::Cell;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::runtime::{Handle, RuntimeFlavor};

thread_local! {
    static BESIDE: Cell<bool> = const { Cell::new(false) };
}

/// Does the work of `0..count` on as many threads as the machine has, and gives what came of it in order.
///
/// One after the other in a runtime of one thread, and inside other work that stands side by side already: for rules that are
/// many their windows are not spread as well.
pub async fn side_by_side<F: Future<Output: Send>>(count: usize, work: impl Fn(usize) -> F + Sync) -> Vec<F::Output> {
    let several = |runtime: &Handle| runtime.runtime_flavor() == RuntimeFlavor::MultiThread && !BESIDE.get();
    let Some(runtime) = Handle::try_current().ok().filter(several).filter(|_| count > 1) else {
        let mut done = Vec::with_capacity(count);
        for at in 0..count {
            done.push(work(at).await);
        }
        return done;
    };
    let next = AtomicUsize::new(0);
    let share = || -> Vec<(usize, F::Output)> {
        BESIDE.set(true);
        let mine = std::iter::from_fn(|| Some(next.fetch_add(1, Ordering::Relaxed)).filter(|at| *at < count));
        mine.map(|at| (at, runtime.block_on(work(at)))).collect()
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(count);
    let mut done: Vec<(usize, F::Output)> = tokio::task::block_in_place(|| {
        std::thread::scope(|scope| {
            let threads: Vec<_> = (0..threads).map(|_| scope.spawn(share)).collect();
            threads.into_iter().flat_map(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))).collect()
        })
    });
    done.sort_by_key(|(at, _)| *at);
    done.into_iter().map(|(_, output)| output).collect()
}
