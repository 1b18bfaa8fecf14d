//! Old answers are trimmed: a retry that comes after that is judged anew, and the rule finds that its versions exist.

use crate::db::postgres::link::{Link, Links, Stop, query};
use crate::db::request::{ANSWER_KEPT_MS, ANSWERS_PER_DEVICE_MAX};
use crate::db::{DbError, UnixMs};
use futures_util::future::BoxFuture;
use stacksync_core::values::DeviceId;
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// Answers of a device after which its older ones are trimmed.
const TRIM_EVERY: u32 = ANSWERS_PER_DEVICE_MAX / 2;
/// Devices whose answers are counted.
const COUNTED_DEVICES_MAX: usize = 65_536;
/// How often those that are too old are looked for among all devices' answers, which takes a while.
const OLD_EVERY: Duration = Duration::from_secs(3_600);

/// Counts answers, so that old ones are trimmed now and then. What it forgets only makes a trim come later.
#[derive(Default)]
pub(super) struct Trim {
    counts: HashMap<DeviceId, u32>,
    /// When those that are too old were trimmed.
    old_at: Option<Instant>,
}

impl Trim {
    /// Answers to these devices were stored. The trim runs beside the commits; if it fails, a later one does its work.
    pub(super) fn stored(&mut self, links: &Links, devices: impl Iterator<Item = DeviceId>) {
        if self.counts.len() >= COUNTED_DEVICES_MAX {
            self.counts.clear();
        }
        for device in devices {
            let count = self.counts.entry(device).or_default();
            *count += 1;
            if *count >= TRIM_EVERY {
                *count = 0;
                beside(links, move |link| Box::pin(trim(link, device)));
            }
        }
        if self.old_at.is_none_or(|at| at.elapsed() >= OLD_EVERY) {
            self.old_at = Some(Instant::now());
            beside(links, |link| Box::pin(trim_old(link)));
        }
    }
}

fn beside(links: &Links, trim: impl for<'a> Fn(&'a Link) -> BoxFuture<'a, Result<(), Stop<DbError>>> + Send + Sync + 'static) {
    let links = links.clone();
    tokio::spawn(async move {
        if let Err(error) = links.write(trim).await {
            tracing::debug!(%error, "old answers were not trimmed");
        }
    });
}

async fn trim(link: &Link, device: DeviceId) -> Result<(), Stop<DbError>> {
    let sql = query!(
        "DELETE FROM answers WHERE device = $1 AND answered_at < greatest($3, (SELECT answered_at FROM answers WHERE device = $1 \
         ORDER BY answered_at DESC LIMIT 1 OFFSET $2))",
        UUID,
        INT8,
        INT8
    );
    link.run(&sql, &[&device.0, &i64::from(ANSWERS_PER_DEVICE_MAX - 1), &oldest()]).await?;
    Ok(())
}

async fn trim_old(link: &Link) -> Result<(), Stop<DbError>> {
    link.run(&query!("DELETE FROM answers WHERE answered_at < $1", INT8), &[&oldest()]).await?;
    Ok(())
}

/// When the oldest answer was given that is kept.
fn oldest() -> i64 {
    UnixMs::now().0 - ANSWER_KEPT_MS
}
