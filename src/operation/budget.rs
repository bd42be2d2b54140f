//! How long an operation may run before other tasks have their turn.

use super::EffectChannel;
use crate::error::Result;

/// The bytes of a body that are moved without a pause, where nothing has to be waited for.
pub const YIELD_AFTER: usize = 1024 * 1024;

/// Counts the bytes of a body since other tasks last had a chance to run.
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
