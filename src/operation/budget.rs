//! The budget of bytes after which an operation lets other tasks run.

use super::EffectChannel;
use crate::error::Result;

/// The bytes of a body that are moved without a pause if none of them has to be waited for.
pub const YIELD_AFTER: usize = 1024 * 1024;

/// Counts the bytes of a body since other tasks could last run.
#[derive(Default)]
pub struct YieldBudget(usize);

impl YieldBudget {
    /// Counts `bytes` more, and lets other tasks run when the budget is spent.
    pub async fn spend(&mut self, bytes: usize, effects: &EffectChannel) -> Result<()> {
        self.0 += bytes;
        if self.0 >= YIELD_AFTER {
            self.0 = 0;
            effects.yield_now().await?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use super::*;
    use crate::operation::Effect;

    #[test]
    fn other_tasks_run_after_so_many_bytes() {
        let effects = EffectChannel::default();
        let mut cx = Context::from_waker(Waker::noop());
        let mut budget = YieldBudget::default();
        for _ in 0..2 {
            assert!(matches!(pin!(budget.spend(YIELD_AFTER - 1, &effects)).poll(&mut cx), Poll::Ready(Ok(()))));
            let mut last = pin!(budget.spend(1, &effects));
            assert!(last.as_mut().poll(&mut cx).is_pending());
            let Some(Effect::Yield(reply)) = effects.take() else { panic!("other tasks are to run") };
            reply.set(Ok(()));
            assert!(matches!(last.poll(&mut cx), Poll::Ready(Ok(()))));
        }
    }
}
