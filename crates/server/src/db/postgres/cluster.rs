//! A look at the instances that share a database, for people: who lives, who holds notices, how far the database is behind. Changes
//! nothing, not even the format of the database.

use super::link::{Link, SqlError, Stop, query};
use super::migrate::{self, FORMAT};
use super::rows::{column, unsigned};
use crate::db::{Cluster, DbError, InstanceView, OpenError, PostgresPlace, Standby, UnixMs};
use std::time::Instant;
use tokio_postgres::Row;

/// Looks.
pub(in crate::db) async fn look(place: &PostgresPlace) -> Result<Cluster, OpenError> {
    let named = place.to_string();
    let links = migrate::enter(place).await?;
    let looked = links.write(|link| Box::pin(look_with(link))).await;
    match looked {
        Ok(Ok(cluster)) => Ok(cluster),
        Ok(Err(found)) if found > FORMAT => Err(OpenError::NewerDatabase { place: named, found, supported: FORMAT }),
        Ok(Err(found)) => Err(OpenError::OlderDatabase { place: named, found, supported: FORMAT }),
        Err(error) => Err(migrate::failed(named, error)),
    }
}

/// `Err` holds the format, if it is another one.
async fn look_with(link: &Link) -> Result<Result<Cluster, i64>, Stop<DbError>> {
    let began = Instant::now();
    let format = migrate::format(link).await?;
    let round_trip = began.elapsed();
    if format != FORMAT {
        return Ok(Err(format));
    }
    let instances = link.rows(&INSTANCES, &[]).await?.iter().map(instance).collect::<Result<Vec<_>, _>>()?;
    let loose = link.first(&LOOSE, &[]).await?;
    let (loose, oldest_ms, now) = match &loose {
        Some(row) => (unsigned(row, 0)?, column(row, 1)?, UnixMs(column(row, 2)?)),
        None => (0, None, UnixMs(0)),
    };
    Ok(Ok(Cluster {
        instances,
        notices_of_nobody: loose,
        oldest_notice_ms: oldest_ms,
        now,
        round_trip,
        standbys: standbys(link).await?,
    }))
}

const INSTANCES: super::link::Query = query!(
    "SELECT i.id, i.name, i.address, i.version, (extract(epoch FROM i.started_at) * 1000)::bigint, \
     (extract(epoch FROM clock_timestamp() - i.seen_at) * 1000)::bigint, i.clock_ahead_ms, \
     (SELECT count(*) FROM notices n WHERE n.instance = i.id) + (SELECT coalesce(sum(cardinality(n.workspaces)), 0) \
     FROM commit_notices n WHERE n.instance = i.id) FROM instances i ORDER BY i.started_at, i.id"
);
/// Notices that nobody who is registered has taken on; the age of the oldest one of all; the database's clock.
const LOOSE: super::link::Query = query!(
    "SELECT coalesce(sum(n.notices) FILTER (WHERE NOT EXISTS (SELECT 1 FROM instances i WHERE i.id = n.instance)), 0)::bigint, \
     (extract(epoch FROM clock_timestamp() - min(n.written_at)) * 1000)::bigint, \
     (extract(epoch FROM clock_timestamp()) * 1000)::bigint FROM (SELECT instance, written_at, 1 notices FROM notices \
     UNION ALL SELECT instance, written_at, cardinality(workspaces) FROM commit_notices) n"
);

fn instance(row: &Row) -> Result<InstanceView, DbError> {
    Ok(InstanceView {
        id: column(row, 0)?,
        name: column(row, 1)?,
        address: column(row, 2)?,
        version: column(row, 3)?,
        started_at: UnixMs(column(row, 4)?),
        silent_ms: column(row, 5)?,
        clock_ahead_ms: column(row, 6)?,
        notices: unsigned(row, 7)?,
    })
}

/// The standbys, as far as this user may see them.
async fn standbys(link: &Link) -> Result<Vec<Standby>, SqlError> {
    let sql = query!(
        "SELECT coalesce(application_name, ''), (extract(epoch FROM replay_lag) * 1000)::bigint FROM pg_stat_replication \
         WHERE state IS NOT NULL"
    );
    let rows = link.rows(&sql, &[]).await?;
    Ok(rows.iter().filter_map(|row| Some(Standby { name: row.try_get(0).ok()?, lag_ms: row.try_get(1).ok()? })).collect())
}
