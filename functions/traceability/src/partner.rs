//! Whom goods came from and went to, where an event names them by GLN: joined
//! with the suppliers and customers that have that GLN. docs/adr/0035 has the
//! reasons.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::marker::PhantomData;

use keystone::Problem;
use keystone::tenant::{Entity, Filter, Id, Part, Tenant, WriteTx};
use serde::Deserialize;

use crate::customer::Customer;
use crate::epcis::epc::gln_of;
use crate::event::StoredEvent;
use crate::movement::{Movement, PARTIES, Role};
use crate::parts::parts_among;
use crate::supplier::Supplier;

/// How a supplier or customer of ours stands in events and in the ledger.
pub const OURS: &str = "urn:uuid:";

/// Puts our suppliers and customers into lines that name them by GLN, or name
/// nobody while another member of their event does. Who has a GLN now decides,
/// whenever the line was written.
///
/// # Errors
/// 503 when the database does not answer.
pub async fn join<'l>(
    tenant: &Tenant,
    lines: impl Iterator<Item = &'l mut Movement>,
) -> Result<(), Problem> {
    let mut open: Vec<&mut Movement> = lines.filter(|line| is_open(line)).collect();
    if open.is_empty() {
        return Ok(());
    }
    let events = open.iter().map(|line| line.event_id.to_string()).collect();
    let (events, _) = parts_among::<EventPart>(tenant, "_id", events).await?;
    let events: BTreeMap<Id, EventPart> = events.into_iter().collect();
    let named = |line: &Movement| {
        let keys = events.get(&line.event_id).map_or(&[][..], |event| &event.keys);
        glns(line, keys)
    };
    let of_role = |role: Role| -> BTreeSet<String> {
        open.iter().filter(|line| line.role == role).flat_map(|line| named(line)).collect()
    };
    let suppliers = by_gln::<Supplier>(tenant, of_role(Role::Received)).await?;
    let customers = by_gln::<Customer>(tenant, of_role(Role::Dispatched)).await?;
    for line in &mut open {
        let known = if line.role == Role::Received { &suppliers } else { &customers };
        if let Some(id) = named(line).iter().find_map(|gln| known.get(gln)) {
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

/// Whether a line has a partner who is not known to be ours.
fn is_open(line: &Movement) -> bool {
    let ours = line.partner.as_deref().is_some_and(|partner| partner.starts_with(OURS));
    matches!(line.role, Role::Received | Role::Dispatched) && !ours
}

/// The GLNs under which the other side of a line may be known, the one that
/// counts most first. What is sent is at the customer afterwards, so
/// `bizLocation` may name it; what is received is with us.
fn glns(line: &Movement, keys: &[String]) -> Vec<String> {
    let side = if line.role == Role::Received { "source" } else { "destination" };
    let mut roles: Vec<String> = PARTIES.iter().map(|kind| format!("{side}-{kind}:")).collect();
    if line.role == Role::Dispatched {
        roles.push("place:".into());
    }
    let said = roles
        .iter()
        .flat_map(|role| keys.iter().filter_map(move |key| key.strip_prefix(role.as_str())));
    line.partner.as_deref().into_iter().chain(said).filter_map(gln_of).map(Into::into).collect()
}

#[derive(Deserialize)]
struct EventPart {
    keys: Vec<String>,
}

impl Part for EventPart {
    type Of = StoredEvent;
    const FIELDS: &'static [&'static str] = &["keys"];
}

#[derive(Deserialize)]
#[serde(bound = "")]
struct Gln<E> {
    gln: String,
    #[serde(skip)]
    of: PhantomData<E>,
}

impl<E: Entity> Part for Gln<E> {
    type Of = E;
    const FIELDS: &'static [&'static str] = &["gln"];
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
    Ok(found.into_iter().map(|(id, Gln { gln, of: _ })| (gln, id)).collect())
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
            glns(&line(Role::Dispatched, None), &keys),
            ["0614141000005", "4000001000050", "4012345000054", "5391234500009"]
        );
        assert_eq!(glns(&line(Role::Received, None), &keys), ["9506000134307"]);
        // What an event of former times, without such keys, left in the ledger.
        assert_eq!(glns(&line(Role::Received, Some("414/0614141000005")), &[]), ["0614141000005"]);
    }

    #[test]
    fn only_what_came_or_left_without_one_of_ours_is_open() {
        let ours = format!("{OURS}0197c1f0-0000-7000-8000-000000000001");
        assert!(is_open(&line(Role::Dispatched, None)));
        assert!(is_open(&line(Role::Received, Some("417/0614141000005"))));
        assert!(!is_open(&line(Role::Received, Some(&ours))));
        assert!(!is_open(&line(Role::Produced, None)));
    }
}
