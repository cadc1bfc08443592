//! A panic is a defect of the operator, and whatever text led to it is one object's: it ends that object's reconcile, and
//! nothing else.

use std::any::Any;
use std::panic::{AssertUnwindSafe, Location, PanicHookInfo, catch_unwind, set_hook};
use std::time::Duration;

use futures::FutureExt;

use crate::metrics::Metrics;

/// Before an object is reconciled again at which the operator failed by a defect of its own.
pub const AFTER_PANIC: Duration = Duration::from_secs(60);

/// Says where a panic was, in the log and without its payload: that may quote what it met, a key, too.
pub fn log_panics() {
    set_hook(Box::new(|info: &PanicHookInfo<'_>| {
        let at = info.location().map(Location::to_string).unwrap_or_default();
        // A literal quotes nothing.
        let what = info.payload().downcast_ref::<&'static str>().copied().unwrap_or("(its message is withheld)");
        tracing::error!(at, "panicked: {what}: a defect of the operator; please report it");
    }));
}

/// Awaits, and answers `None` where that ended in a panic; each is counted.
pub async fn contained<T>(metrics: &Metrics, work: impl Future<Output = T>) -> Option<T> {
    counted(metrics, AssertUnwindSafe(work).catch_unwind().await)
}

/// The same, for work that waits for nothing.
pub fn contained_now<T>(metrics: &Metrics, work: impl FnOnce() -> T) -> Option<T> {
    counted(metrics, catch_unwind(AssertUnwindSafe(work)))
}

fn counted<T>(metrics: &Metrics, outcome: Result<T, Box<dyn Any + Send>>) -> Option<T> {
    outcome.inspect_err(|_| metrics.panicked()).ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::panic, clippy::unwrap_used, reason = "a panic is what is tried")]

    use super::*;

    #[tokio::test]
    async fn a_panic_is_counted_and_goes_no_further() {
        let metrics = Metrics::default();
        assert_eq!(contained(&metrics, async { 1 }).await, Some(1));
        assert_eq!(contained(&metrics, async { panic!("an object's text") }).await, None::<u8>);
        assert_eq!(contained_now(&metrics, || panic!("an object's text")), None::<u8>);
        assert!(metrics.render().unwrap().contains("s3access_panics_total 2"));
    }
}
