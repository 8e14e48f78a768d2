//! Whom goods came from and went to, where an event names them by GLN: joined
//! with the suppliers and customers that have that GLN. docs/adr/0035 has the
//! reasons.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use keystone::Problem;
use keystone::tenant::{Entity, Filter, Id, Part, Tenant, WriteTx};
use serde::Deserialize;

use crate::customer::Customer;
use crate::epcis::epc::gln_of;
use crate::event::StoredEvent;
use crate::movement::{Movement, PARTIES, Role};
use crate::parts::{Gln, Known, parts_among};
use crate::supplier::Supplier;

/// How a supplier or customer of ours stands in events and in the ledger.
pub const OURS: &str = "urn:uuid:";

/// Puts our suppliers and customers into lines that name them by GLN, or name
/// nobody of ours while another member of their event does: a partner's own id of
/// a business says nothing here. Who has a GLN now decides, whenever the line was
/// written.
///
/// # Errors
/// 503 when the database does not answer.
pub async fn join<'l>(
    tenant: &Tenant,
    lines: impl Iterator<Item = &'l mut Movement>,
) -> Result<(), Problem> {
    let mut open: Vec<&mut Movement> = lines.filter(|line| has_partner(line)).collect();
    let ids: BTreeSet<String> =
        open.iter().filter_map(|line| line.partner.as_deref().and_then(id_of)).collect();
    let mut ours = by_id::<Supplier>(tenant, ids.clone()).await?;
    ours.extend(by_id::<Customer>(tenant, ids).await?);
    open.retain(|line| !line.partner.as_ref().is_some_and(|partner| ours.contains_key(partner)));
    if open.is_empty() {
        return Ok(());
    }
    let events = open.iter().map(|line| line.event_id.to_string()).collect();
    let (events, _) = parts_among::<EventPart>(tenant, "_id", events).await?;
    let events: BTreeMap<Id, EventPart> = events.into_iter().collect();
    let named = |line: &Movement| {
        let keys = events.get(&line.event_id).map_or(&[][..], |event| &event.keys);
        names(line, keys)
    };
    let of_role = |role: Role| -> BTreeSet<String> {
        open.iter().filter(|line| line.role == role).flat_map(|line| named(line)).collect()
    };
    let suppliers = by_name::<Supplier>(tenant, of_role(Role::Received)).await?;
    let customers = by_name::<Customer>(tenant, of_role(Role::Dispatched)).await?;
    for line in &mut open {
        let known = if line.role == Role::Received { &suppliers } else { &customers };
        if let Some(id) = named(line).iter().find_map(|name| known.get(name)) {
            line.partner = Some(format!("{OURS}{id}"));
        }
    }
    Ok(())
}

/// Refuses a GLN that another supplier, or another customer, has: goods that are
/// sent there would be somebody else's. Transactions of a tenant are serial, so
/// nobody can take it in between.
///
/// # Errors
/// 409 when it is taken; 503 when the database does not answer.
pub async fn must_be_free<E: Entity>(
    tx: &mut WriteTx<'_>,
    gln: Option<&str>,
    own: Id,
) -> Result<(), Problem> {
    let Some(gln) = gln else { return Ok(()) };
    match tx.find::<E>(Filter::all().eq("gln", gln)).await? {
        Some(other) if other.id != own => {
            Err(Problem::Conflict(format!("There is another {} with this GLN.", E::RESOURCE)))
        }
        _ => Ok(()),
    }
}

/// Whether a line has another side.
fn has_partner(line: &Movement) -> bool {
    matches!(line.role, Role::Received | Role::Dispatched)
}

/// The id in a partner's key that may be one of ours.
fn id_of(key: &str) -> Option<String> {
    let id: Id = key.strip_prefix(OURS)?.parse().ok()?;
    Some(id.to_string())
}

/// The GLNs, and the keys with an id that may be ours, under which the other side
/// of a line may be known, the one that counts most first. What is sent is at the
/// customer afterwards, so `bizLocation` may name it; what is received is with us.
fn names(line: &Movement, keys: &[String]) -> Vec<String> {
    let side = if line.role == Role::Received { "source" } else { "destination" };
    let mut roles: Vec<String> = PARTIES.iter().map(|kind| format!("{side}-{kind}:")).collect();
    if line.role == Role::Dispatched {
        roles.push("place:".into());
    }
    let said = roles
        .iter()
        .flat_map(|role| keys.iter().filter_map(move |key| key.strip_prefix(role.as_str())));
    let name = |key: &str| match gln_of(key) {
        Some(gln) => Some(gln.to_owned()),
        None => id_of(key).map(|id| format!("{OURS}{id}")),
    };
    line.partner.as_deref().into_iter().chain(said).filter_map(name).collect()
}

#[derive(Deserialize)]
struct EventPart {
    keys: Vec<String>,
}

impl Part for EventPart {
    type Of = StoredEvent;
    const FIELDS: &'static [&'static str] = &["keys"];
}

/// Who goes by which of these names, see [`names`].
async fn by_name<E: Entity>(
    tenant: &Tenant,
    names: BTreeSet<String>,
) -> Result<BTreeMap<String, Id>, Problem> {
    let (keys, glns): (BTreeSet<_>, _) = names.into_iter().partition(|name| name.starts_with(OURS));
    let ids = keys.iter().filter_map(|key| id_of(key)).collect();
    let mut known = by_gln::<E>(tenant, glns).await?;
    known.extend(by_id::<E>(tenant, ids).await?);
    Ok(known)
}

/// Which of these ids are there, by the key that events have of them.
async fn by_id<E: Entity>(
    tenant: &Tenant,
    ids: BTreeSet<String>,
) -> Result<BTreeMap<String, Id>, Problem> {
    let (found, _) = parts_among::<Known<E>>(tenant, "_id", ids).await?;
    Ok(found.into_iter().map(|(id, _)| (format!("{OURS}{id}"), id)).collect())
}

/// Who has which of these GLNs; of two who share one, as was possible once, the
/// older.
async fn by_gln<E: Entity>(
    tenant: &Tenant,
    glns: BTreeSet<String>,
) -> Result<BTreeMap<String, Id>, Problem> {
    // One or a few for each GLN: no look-up leaves any out.
    let (mut found, _) = parts_among::<Gln<E>>(tenant, "gln", glns).await?;
    found.sort_by_key(|(id, _)| Reverse(*id));
    Ok(found.into_iter().map(|(id, Gln { gln, .. })| (gln, id)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::epcis::document::read_bare;
    use crate::epcis::json::Json;
    use crate::movement::of_event;

    fn line(role: Role, partner: Option<&str>) -> Movement {
        let event = serde_json::json!({
            "type": "ObjectEvent", "action": "OBSERVE", "bizStep": "shipping",
            "eventTime": "2026-03-01T08:00:00Z", "eventTimeZoneOffset": "+00:00",
            "quantityList": [{ "epcClass": "https://id.gs1.org/01/00614141777778/10/A" }],
        });
        let event = read_bare(&Json::read(&event.to_string()).unwrap()).0.unwrap();
        let line = of_event(&event, Id::from_u128(1)).remove(0);
        Movement { role, partner: partner.map(Into::into), ..line }
    }

    #[test]
    fn who_has_the_goods_counts_before_who_owns_them_and_where_they_are() {
        let keys = [
            "destination-location:414/4012345000054/254/dock",
            "destination-owning_party:417/4000001000050",
            "destination-possessing_party:417/0614141000005",
            "source-possessing_party:417/9506000134307",
            "place:414/5391234500009",
            "read:414/9506000134307",
        ]
        .map(str::to_owned);
        assert_eq!(
            names(&line(Role::Dispatched, None), &keys),
            ["0614141000005", "4000001000050", "4012345000054", "5391234500009"]
        );
        assert_eq!(names(&line(Role::Received, None), &keys), ["9506000134307"]);
        // What an event of former times, without such keys, left in the ledger.
        assert_eq!(names(&line(Role::Received, Some("414/0614141000005")), &[]), ["0614141000005"]);
    }

    #[test]
    fn somebody_elses_id_of_a_business_hides_nobody() {
        let theirs = "urn:uuid:F81D4FAE-7DEC-11D0-A765-00A0C91E6BF6";
        let ours = format!("{OURS}0197c1f0-0000-7000-8000-000000000001");
        let keys = [
            format!("destination-owning_party:{ours}"),
            "destination-location:414/4012345000054".to_owned(),
            format!("destination-possessing_party:{theirs}"),
        ];
        // Both ids are asked for, and the first that is there counts.
        let line = line(Role::Dispatched, Some(theirs));
        let id = theirs.to_lowercase();
        assert_eq!(names(&line, &keys), [id.as_str(), &id, &ours, "4012345000054"]);
        assert_eq!(names(&line, &["destination-owning_party:urn:uuid:no-id".into()]), [id]);
    }

    #[test]
    fn only_what_came_or_left_has_another_side() {
        assert!(has_partner(&line(Role::Dispatched, None)));
        assert!(has_partner(&line(Role::Received, None)));
        assert!(!has_partner(&line(Role::Produced, None)));
    }
}
