//! Whom affected goods went to, with what is needed to reach them, as the
//! caller's role may see it.

use std::collections::BTreeMap;

use jiff::Timestamp;
use keystone::Problem;
use keystone::audit::entry::Resource;
use keystone::auth::Permission;
use keystone::crypto::Subject;
use keystone::http::{Call, List, PageQuery};
use keystone::tenant::{Entity, Id, Stored};
use schemars::JsonSchema;
use serde::Serialize;

use super::finding::{Amount, Finding, Recipient, SentLot};
use super::notice::{Channel, Goods, Kind, Notice, outstanding};
use super::{Recall, notice, with_finding};
use crate::customer::{Customer, CustomerView};

/// Somebody whom affected goods went to.
#[derive(Serialize, JsonSchema)]
pub struct RecipientView {
    /// Who, for notices; absent where dispatches name nobody.
    recipient: Option<String>,
    /// The customer, if it is one of ours.
    customer: Option<CustomerView>,
    /// What they got.
    lots: Vec<SentLot>,
    /// What of it nobody has accounted for.
    outstanding: Vec<OutstandingLot>,
    /// What was said to them and by them, oldest first.
    notices: Vec<NoticeView>,
}

/// What of a lot is not accounted for.
#[derive(Serialize, JsonSchema)]
pub struct OutstandingLot {
    /// GS1 element string of the lot.
    lot: String,
    /// How much.
    amounts: Vec<Amount>,
}

/// A notice as it is shown.
#[derive(Serialize, JsonSchema)]
pub struct NoticeView {
    /// Id.
    id: Id,
    /// Told, or answered.
    kind: Kind,
    /// When.
    #[schemars(with = "String", extend("format" = "date-time"))]
    at: Timestamp,
    /// How.
    channel: Channel,
    /// With whom; absent where the caller's role may not see it.
    contact: Option<String>,
    /// What was said; absent where the caller's role may not see it.
    note: Option<String>,
    /// What became of the goods.
    goods: Vec<Goods>,
    /// The user who recorded it.
    by: Id,
}

/// A page of the recipients of a recall. Where contact data is shown in clear,
/// that is recorded first.
///
/// # Errors
/// 404 when there is no such recall; 503 when a store does not answer.
pub async fn page(call: &Call, id: Id, query: &PageQuery) -> Result<List<RecipientView>, Problem> {
    let after = query.after()?;
    let (_, finding) = with_finding(call.tenant(), id).await?;
    let page = recipients_after(finding, after, query.limit());
    let names: Vec<String> = page.items.iter().filter_map(|one| one.recipient.clone()).collect();
    let customers = customers(call, &page.items).await?;
    let notices = notice::notices(call.tenant(), id, names).await?;
    let clear = call.sees(Permission::ReadContactData);
    let sealed = customers
        .values()
        .filter(|one| one.entity.delivery_address.is_some() || one.entity.phone.is_some())
        .count()
        + notices.iter().filter(|(_, one)| one.contact.is_some() || one.note.is_some()).count();
    if clear && sealed > 0 {
        let resource = Resource { kind: Recall::RESOURCE.into(), id: id.to_string() };
        call.disclose("recall.disclose", resource, &["customers", "notices"], sealed).await?;
    }
    call.tenant().prefetch(customers.keys().copied().map(Subject::Customer)).await?;
    page.try_map_async(async |one| view(call, one, &customers, &notices, clear).await).await
}

/// A page of the recipients, of which none moves: what was found stays.
fn recipients_after(finding: Finding, after: Option<usize>, limit: i64) -> List<Recipient> {
    let first = after.map_or(0, |last| last.saturating_add(1));
    let most = usize::try_from(limit).unwrap_or(0).saturating_add(1);
    let found = finding.recipients.into_iter().enumerate().skip(first).take(most);
    let page = List::new(found.collect(), limit, |(index, _): &(usize, Recipient)| *index);
    let List { items, next_cursor } = page;
    List { items: items.into_iter().map(|(_, recipient)| recipient).collect(), next_cursor }
}

/// The customers among these recipients.
pub async fn customers(
    call: &Call,
    recipients: &[Recipient],
) -> Result<BTreeMap<Id, Stored<Customer>>, Problem> {
    let mut found = BTreeMap::new();
    let ids: Vec<String> =
        recipients.iter().filter_map(Recipient::customer).map(|id| id.to_string()).collect();
    for some in ids.chunks(64) {
        let page = keystone::tenant::Page { after: None, limit: 100 };
        let filter = keystone::tenant::Filter::all().any("_id", some.to_vec());
        let some = call.tenant().list::<Customer>(filter, page).await?;
        found.extend(some.into_iter().map(|customer| (customer.id, customer)));
    }
    Ok(found)
}

async fn view(
    call: &Call,
    recipient: &Recipient,
    customers: &BTreeMap<Id, Stored<Customer>>,
    notices: &[(Id, Notice)],
    clear: bool,
) -> Result<RecipientView, Problem> {
    let tenant = call.tenant();
    let customer = match recipient.customer().and_then(|id| customers.get(&id)) {
        Some(stored) => Some(CustomerView::new(tenant, stored, clear).await?),
        None => None,
    };
    let (mut shown, mut facts) = (Vec::new(), Vec::new());
    for (id, notice) in notices {
        if Some(&notice.recipient) != recipient.recipient.as_ref() {
            continue;
        }
        let (contact, note) = if clear { notice.words(tenant, *id).await? } else { (None, None) };
        facts.push(notice.facts());
        let Notice { kind, at, channel, goods, by, .. } = notice.clone();
        shown.push(NoticeView { id: *id, kind, at, channel, contact, note, goods, by });
    }
    let outstanding = outstanding(recipient, &facts).into_iter().map(|(lot, left)| {
        let amounts = left.into_iter().map(|(dimension, value)| Amount {
            value: value.normalize(),
            unit: dimension.unit().into(),
        });
        OutstandingLot { lot, amounts: amounts.collect() }
    });
    Ok(RecipientView {
        recipient: recipient.recipient.clone(),
        customer,
        outstanding: outstanding.collect(),
        lots: recipient.lots.clone(),
        notices: shown,
    })
}
