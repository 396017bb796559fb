//! Where a connection's reader leaves what it hears, and whoever reads the table finds it.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use tokio_postgres::AsyncMessage;
use tracing::debug;

use super::CHANNEL;
use super::connect::Link;
use super::revision::Revisions;
use super::status::SyncStatus;

/// What was heard and is still to be read. Neither side ever waits for the other.
#[derive(Debug, Default)]
pub(super) struct Hearing {
    revisions: Mutex<Revisions>,
    news: Notify,
}

impl Hearing {
    /// The states of the table; to be let go before anything is awaited.
    pub(super) fn revisions(&self) -> MutexGuard<'_, Revisions> {
        self.revisions
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until something was heard that was not waited for yet.
    pub(super) async fn news(&self) {
        self.news.notified().await;
    }

    /// Moves the bytes of a connection and takes down every notification; waits for nothing else, so that the server is
    /// never kept from sending. Notifications that nobody takes would hold up its vacuum.
    pub(super) async fn drive(
        &self,
        mut link: Link,
        status: &SyncStatus,
    ) -> Result<(), tokio_postgres::Error> {
        while let Some(message) = link.next().await {
            match message? {
                AsyncMessage::Notification(heard) if heard.channel() == CHANNEL => {
                    self.revisions().hear(heard.payload());
                    status.update(|status| status.notifications += 1);
                    self.news.notify_one();
                }
                AsyncMessage::Notice(notice) => debug!(%notice, "postgres notice"),
                _ => {}
            }
        }
        Ok(())
    }
}
