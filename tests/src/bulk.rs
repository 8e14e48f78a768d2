//! Long audit trails, for what cannot be asked of an API request by request.
//! Entries, leaves, nodes and head are made by the product's own code, many in
//! one transaction. The entries are those of jobs, so they have no personal
//! values and nothing in them is sealed.

use jiff::{SignedDuration, Timestamp};
use keystone::audit::delta::{Change, delta};
use keystone::audit::entry::{Actor, ActorKind, Draft, Outcome, Resource};
use keystone::audit::merkle::TreeHead;
use keystone::random;
use mongodb::bson::spec::BinarySubtype;
use mongodb::bson::{
    Binary, Bson, DateTime, Document, deserialize_from_document, doc, serialize_to_bson,
};
use mongodb::error::{Error, TRANSIENT_TRANSACTION_ERROR};
use serde_json::json;

use crate::Stack;

/// Entries inserted at once.
const BATCH: u64 = 2_000;
/// Different actors, and different resources per kind.
const ACTORS: u64 = 20;
const RESOURCES: u64 = 5_000;

/// What was done, to what.
const KINDS: [(&str, &str); 5] = [
    ("batch", "batch.update"),
    ("batch", "batch.create"),
    ("product", "product.create"),
    ("supplier", "supplier.update"),
    ("customer", "customer.read"),
];

/// What the request ids of these entries begin with.
pub const REQUEST: &str = "bulk-";

/// Adds `count` entries to the trail of the tenant `slug`, a second apart, the
/// last of them now.
pub async fn grow(stack: &Stack, slug: &str, count: u64) {
    let mut left = count;
    while left > 0 {
        let batch = left.min(BATCH);
        // A job that writes to the trail meanwhile is met at its head.
        while let Err(error) = add(stack, slug, batch, left).await {
            assert!(error.contains_label(TRANSIENT_TRANSACTION_ERROR), "{error}");
        }
        left -= batch;
    }
}

/// Adds a batch, in a transaction that claims the head as every other does.
async fn add(stack: &Stack, slug: &str, count: u64, left: u64) -> Result<(), Error> {
    let client = stack.database().await;
    let heads = client.database(&format!("t_{slug}")).collection::<Document>("audit_head");
    let entries = client.database(&format!("t_{slug}_audit")).collection::<Document>("entries");
    let mut session = client.start_session().await?;
    session.start_transaction().await?;
    let claim = doc! { "$inc": { "claims": 1_i64 } };
    let found = heads.find_one_and_update(doc! {}, claim).session(&mut session).await?;
    let found = found.expect("there is a head");
    let only = |field| found.get(field).cloned().unwrap_or(Bson::Null);
    let head = doc! { "size": only("size"), "edge": only("edge") };
    let mut tree: TreeHead = deserialize_from_document(head).expect("a tree head");
    let now = keystone::clock::now();
    let mut batch = Vec::new();
    for ago in (0..left).rev().take(usize::try_from(count).expect("a batch")) {
        let seq = tree.size();
        let ago = SignedDuration::from_secs(ago.try_into().expect("a short trail"));
        let draft = draft(slug, seq, now - ago);
        let at = DateTime::from_millis(draft.at.as_millisecond());
        let (entry, _) = draft.seal(seq, random::bytes::<32>).expect("it can be recorded");
        let leaf = entry.leaf_hash().expect("it has a canonical form");
        batch.push(doc! {
            "_id": i64::try_from(seq).expect("a short trail"),
            "tenant_id": slug,
            "at": at,
            "entry": serialize_to_bson(&entry).expect("an entry is a document"),
            "leaf": leaf.to_string(),
            "nodes": serialize_to_bson(&tree.append(leaf)).expect("hashes are text"),
            "personal": Vec::<Bson>::new(),
            "ip": Binary { subtype: BinarySubtype::Generic, bytes: any_address() },
        });
    }
    entries.insert_many(batch).session(&mut session).await?;
    let moved = doc! { "$set": serialize_to_bson(&tree).expect("a head is a document") };
    heads.update_one(doc! {}, moved).session(&mut session).await?;
    session.commit_transaction().await
}

/// The blind index of some address, which differs from entry to entry: a search
/// by another one comes by a few, as it does in a real trail.
fn any_address() -> Vec<u8> {
    random::bytes::<2>().expect("randomness").to_vec()
}

fn draft(slug: &str, seq: u64, at: Timestamp) -> Draft {
    let pick = usize::try_from(seq % 5).expect("below 5");
    let (kind, action) = KINDS[pick];
    Draft {
        id: random::id(at).expect("randomness").uuid(),
        at,
        tenant_id: slug.to_owned(),
        actor: Actor {
            kind: ActorKind::Job,
            id: format!("0199aaaa-0000-7000-8000-{:012}", seq % ACTORS),
            role: Some("ops_user".into()),
            session: None,
        },
        action: action.to_owned(),
        resource: Resource {
            kind: kind.to_owned(),
            id: format!("0199bbbb-0000-7000-8000-{:012}", seq * 7 % RESOURCES),
        },
        delta: changes(seq),
        source_ip: None,
        user_agent: None,
        request_id: format!("{REQUEST}{seq:032x}"),
        outcome: Outcome::Success,
    }
}

fn changes(seq: u64) -> Vec<Change> {
    let before = json!({
        "state": "available",
        "quantity": { "value": format!("{}.500", 1000 + seq % 500), "unit": "KGM" },
    });
    let after = json!({
        "state": "on_hold",
        "quantity": { "value": format!("{}.250", 900 + seq % 500), "unit": "KGM" },
        "origin": "IE",
    });
    delta(Some(&before), Some(&after), &[]).expect("a delta")
}
