//! One recipient at a time.

use std::sync::{Arc, PoisonError};

use tokio::sync::Notify;

/// Who is being given to.
#[derive(Clone, Debug, Default)]
pub(super) struct Slot(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    holder: std::sync::Mutex<Option<String>>,
    freed: Notify,
}

impl Slot {
    /// Takes the slot for `holder`, or tells who holds it.
    pub(super) fn take(&self, holder: &str) -> Result<Taken, String> {
        let mut current = self.0.holder.lock().unwrap_or_else(PoisonError::into_inner);
        match &*current {
            Some(other) => Err(other.clone()),
            None => {
                *current = Some(holder.to_owned());
                Ok(Taken(self.clone()))
            }
        }
    }

    /// Waits until nobody holds it.
    pub(super) async fn free(&self) {
        loop {
            let freed = self.0.freed.notified();
            if self.0.holder.lock().unwrap_or_else(PoisonError::into_inner).is_none() {
                return;
            }
            freed.await;
        }
    }
}

/// The slot is taken as long as this lives.
#[derive(Debug)]
pub(super) struct Taken(Slot);

impl Drop for Taken {
    fn drop(&mut self) {
        *self.0.0.holder.lock().unwrap_or_else(PoisonError::into_inner) = None;
        self.0.0.freed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_is_told_who_the_first_is_until_that_one_is_done() {
        let slot = Slot::default();
        let first = slot.take("instance 1").unwrap();
        assert_eq!(slot.take("instance 2").unwrap_err(), "instance 1");
        drop(first);
        slot.take("instance 2").unwrap();
    }
}
