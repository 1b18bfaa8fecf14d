//! Bundles of small chunks that devices put at the storage themselves: where they go, and that they are there.

use super::chunks::Signer;
use super::{Authorized, Context, Fault};
use stacksync_core::values::ChunkName;
use stacksync_protocol::chunk_service::{AddBundlesRequest, AddedBundles, BUNDLES_MAX, BundleTickets, BundleTicketsRequest};

fn wanted(bundles: &[String]) -> Result<Vec<ChunkName>, Fault> {
    if bundles.len() > BUNDLES_MAX {
        return Err(Fault::Invalid(format!("A request names at most {BUNDLES_MAX} bundles.")));
    }
    let names = bundles.iter().map(|name| name.parse()).collect::<Result<_, _>>();
    names.map_err(|error| Fault::Invalid(format!("bundles: {error}.")))
}

/// Where these bundles go.
pub(super) async fn tickets(
    context: &Context,
    place: &Authorized<'_>,
    request: &BundleTicketsRequest,
) -> Result<BundleTickets, Fault> {
    let names = wanted(&request.bundles)?;
    let signer = Signer::new(context, place);
    let requests = match &context.bundles {
        Some(store) if context.way.is_direct(false) => store.put_tickets(place.workspace(), names, context.ticket_lifetime).await?,
        _ => None,
    };
    let tickets = (0_u32..).zip(requests.unwrap_or_default()).map(|(index, direct)| signer.ticket_of(Some(index), direct));
    Ok(BundleTickets { tickets: tickets.collect() })
}

/// Takes bundles into the index.
pub(super) async fn add(context: &Context, place: &Authorized<'_>, request: &AddBundlesRequest) -> Result<AddedBundles, Fault> {
    let names = wanted(&request.bundles)?;
    let added = match &context.bundles {
        Some(store) => store.add(place.workspace(), &names).await?,
        None => vec![false; names.len()],
    };
    Ok(AddedBundles { added })
}
