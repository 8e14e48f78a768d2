//! What was said to those who got affected goods, and what they answered: who
//! was told when, and what became of what they had.

use std::collections::BTreeMap;

use jiff::Timestamp;
use keystone::crypto::{Place, Sealed, Subject, at_rest_option};
use keystone::http::Call;
use keystone::tenant::{Entity, Filter, Id, Part, Tenant, WriteTx, schema};
use keystone::{FieldError, Problem};
use rust_decimal::Decimal;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::closing::Effectiveness;
use super::finding::{Finding, Recipient};
use super::{Recall, open_in};
use crate::batch::Quantity;
use crate::epcis::quantity::{Dimension, to_base};

/// Most notices of one recall.
const MOST: i64 = 10_000;
/// Most lots of one answer.
const LOTS: u32 = 40;

/// What a notice tells of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "NoticeKind")]
pub enum Kind {
    /// They were told.
    Notified,
    /// They answered.
    Responded,
}

impl Kind {
    /// The kind in words, for reports.
    pub const fn words(self) -> &'static str {
        match self {
            Self::Notified => "told",
            Self::Responded => "answered",
        }
    }
}

/// How they were reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Channel {
    /// By telephone.
    Phone,
    /// By e-mail.
    Email,
    /// By letter.
    Letter,
    /// In person.
    Visit,
    /// Otherwise.
    Other,
}

impl Channel {
    /// The channel in words, for reports.
    pub const fn words(self) -> &'static str {
        match self {
            Self::Phone => "telephone",
            Self::Email => "e-mail",
            Self::Letter => "letter",
            Self::Visit => "visit",
            Self::Other => "other means",
        }
    }
}

/// What became of goods that somebody had got.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Fate {
    /// They come back, or came.
    Returned,
    /// They were destroyed.
    Destroyed,
    /// They were sold or eaten, and are out of reach.
    Used,
}

impl Fate {
    /// The fate in words, for reports.
    pub const fn words(self) -> &'static str {
        match self {
            Self::Returned => "returned",
            Self::Destroyed => "destroyed",
            Self::Used => "used",
        }
    }
}

/// What became of a part of a lot.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Goods {
    /// GS1 element string of the lot, as the finding has it.
    #[schemars(length(min = 1, max = 200))]
    pub lot: String,
    /// What became of it.
    pub fate: Fate,
    /// How much.
    pub quantity: Quantity,
}

/// Something said to somebody who got affected goods, or by them.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Notice {
    /// The recall.
    pub recall_id: Id,
    /// Who, as the finding names them.
    pub recipient: String,
    /// Told, or answered.
    pub kind: Kind,
    /// When.
    pub at: Timestamp,
    /// How.
    pub channel: Channel,
    /// With whom.
    #[serde(with = "at_rest_option")]
    pub contact: Option<Sealed<String>>,
    /// What was said.
    #[serde(with = "at_rest_option")]
    pub note: Option<Sealed<String>>,
    /// What became of the goods.
    pub goods: Vec<Goods>,
    /// The user who recorded it.
    pub by: Id,
}

impl Entity for Notice {
    const COLLECTION: &'static schema::Collection = &schema::RECALL_NOTICES;
    const RESOURCE: &'static str = "recall_notice";
    const PERSONAL: &'static [&'static str] = &[];
}

impl Part for Notice {
    type Of = Self;
    const FIELDS: &'static [&'static str] =
        &["recall_id", "recipient", "kind", "at", "channel", "contact", "note", "goods", "by"];
}

/// What a notice says, without the words that are sealed.
#[derive(Serialize)]
pub struct Said<'n> {
    recipient: &'n str,
    kind: Kind,
    at: Timestamp,
    channel: Channel,
    goods: &'n [Goods],
    by: Id,
}

impl Notice {
    /// What of it counts.
    pub fn facts(&self) -> Facts {
        Facts { recipient: self.recipient.clone(), kind: self.kind, goods: self.goods.clone() }
    }

    /// What it says, without the words that are sealed.
    pub fn said(&self) -> Said<'_> {
        Said {
            recipient: &self.recipient,
            kind: self.kind,
            at: self.at,
            channel: self.channel,
            goods: &self.goods,
            by: self.by,
        }
    }

    /// With whom, and what was said, unless it was erased; `id` is the
    /// notice's.
    ///
    /// # Errors
    /// 503 when the keys cannot be had.
    pub async fn words(
        &self,
        tenant: &Tenant,
        id: Id,
    ) -> Result<(Option<String>, Option<String>), Problem> {
        let contact = tenant.open_kept(place(id, "contact"), self.contact.as_ref()).await?;
        let note = tenant.open_kept(place(id, "note"), self.note.as_ref()).await?;
        Ok((contact.map(|text| text.expose().clone()), note.map(|text| text.expose().clone())))
    }
}

/// What of a notice counts.
#[derive(Debug, Clone, Deserialize)]
pub struct Facts {
    /// See [`Notice::recipient`].
    pub recipient: String,
    /// See [`Notice::kind`].
    pub kind: Kind,
    /// See [`Notice::goods`].
    pub goods: Vec<Goods>,
}

impl Part for Facts {
    type Of = Notice;
    const FIELDS: &'static [&'static str] = &["recipient", "kind", "goods"];
}

/// What counts of all notices of a recall.
///
/// # Errors
/// 503 when the database does not answer.
pub async fn facts(tenant: &Tenant, recall: Id) -> Result<Vec<Facts>, Problem> {
    let found = tenant.parts::<Facts>(of_recall(recall), MOST).await?;
    Ok(found.into_iter().map(|(_, facts)| facts).collect())
}

/// The same, as a transaction sees it.
pub(super) async fn facts_in(tx: &mut WriteTx<'_>, recall: Id) -> Result<Vec<Facts>, Problem> {
    let found = tx.parts::<Facts>(of_recall(recall), MOST).await?;
    Ok(found.into_iter().map(|(_, facts)| facts).collect())
}

/// All notices of a recall, oldest first.
///
/// # Errors
/// 503 when the database does not answer.
pub async fn all_notices(tenant: &Tenant, recall: Id) -> Result<Vec<(Id, Notice)>, Problem> {
    found(tenant, of_recall(recall)).await
}

/// The notices of a recall to these recipients, oldest first.
///
/// # Errors
/// 503 when the database does not answer.
pub async fn notices(
    tenant: &Tenant,
    recall: Id,
    recipients: Vec<String>,
) -> Result<Vec<(Id, Notice)>, Problem> {
    found(tenant, of_recall(recall).any("recipient", recipients)).await
}

async fn found(tenant: &Tenant, filter: Filter) -> Result<Vec<(Id, Notice)>, Problem> {
    let mut found = tenant.parts::<Notice>(filter, MOST).await?;
    found.sort_by_key(|(id, notice)| (notice.at, *id));
    Ok(found)
}

fn of_recall(recall: Id) -> Filter {
    Filter::all().eq("recall_id", recall.to_string())
}

/// About whom the words of a notice are: the customer, where it is one.
pub fn subject(recipient: &str) -> Subject {
    recipient.parse().map_or(Subject::Tenant, Subject::Customer)
}

/// Where the words of a notice are sealed for.
pub fn place(id: Id, field: &'static str) -> Place<'static> {
    Place { collection: schema::RECALL_NOTICES.name, document: id, field }
}

/// A notice to be recorded.
#[derive(Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewNotice {
    /// Who: `recipient` of the finding.
    #[schemars(length(min = 1, max = 200))]
    recipient: String,
    /// Told, or answered.
    kind: Kind,
    /// When; now unless given.
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    at: Option<Timestamp>,
    /// How.
    channel: Channel,
    /// With whom; stored encrypted.
    #[schemars(length(min = 1, max = 200))]
    contact: Option<String>,
    /// What was said; stored encrypted.
    #[schemars(length(min = 1, max = 2000))]
    note: Option<String>,
    /// What became of what they got; of an answer only.
    #[serde(default)]
    #[schemars(length(max = LOTS))]
    goods: Vec<Goods>,
}

/// A notice that was recorded, and what is accounted for with it. The words
/// are shown with the recipient only.
#[derive(Serialize, JsonSchema)]
pub struct RecordedNotice {
    /// Id.
    pub id: Id,
    /// Who.
    pub recipient: String,
    /// Told, or answered.
    pub kind: Kind,
    /// When.
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub at: Timestamp,
    /// What is accounted for by now.
    pub effectiveness: Effectiveness,
}

impl NewNotice {
    /// Records the notice under `id`; gives the recall's new version beside.
    ///
    /// # Errors
    /// 404 when there is no such recall; 409 when it is closed; 422 naming
    /// every wrong field, such as more goods than the recipient got.
    pub async fn record(
        &self,
        call: &Call,
        recall: Id,
        id: Id,
        tx: &mut WriteTx<'_>,
        finding: &Finding,
    ) -> Result<(RecordedNotice, i64), Problem> {
        let open = open_in(tx, recall).await?;
        if open.entity.notices >= MOST {
            return Err(Problem::Conflict(format!("The recall has {MOST} notices.")));
        }
        let mut facts = facts_in(tx, recall).await?;
        let errors = self.errors(finding, &facts, (open.created_at, call.now()));
        if !errors.is_empty() {
            return Err(Problem::Invalid(errors));
        }
        let at = self.at.unwrap_or(call.now());
        let subject = subject(&self.recipient);
        let mut sealed = [None, None];
        for (slot, (field, text)) in
            sealed.iter_mut().zip([("contact", &self.contact), ("note", &self.note)])
        {
            if let Some(text) = text {
                *slot = Some(tx.tenant().seal(place(id, field), subject, text).await?);
            }
        }
        let [contact, note] = sealed;
        let notice = Notice {
            recall_id: recall,
            recipient: self.recipient.clone(),
            kind: self.kind,
            at,
            channel: self.channel,
            contact,
            note,
            goods: self.goods.clone(),
            by: call.principal().user(),
        };
        tx.insert(id, notice).await?;
        let counted = Recall { notices: open.entity.notices + 1, ..open.entity.clone() };
        let after = tx.replace(&open, counted).await?;
        let Self { recipient, kind, goods, .. } = self.clone();
        facts.push(Facts { recipient: recipient.clone(), kind, goods });
        let effectiveness = Effectiveness::new(finding, &facts);
        Ok((RecordedNotice { id, recipient, kind, at, effectiveness }, after.version))
    }

    /// What is wrong, given what was recorded so far and from when to when
    /// something can have been said.
    fn errors(
        &self,
        finding: &Finding,
        facts: &[Facts],
        (start, now): (Timestamp, Timestamp),
    ) -> Vec<FieldError> {
        let mut errors = Vec::new();
        let mut wrong =
            |field: String, message: String| errors.push(FieldError::new(field, message));
        if self.at.is_some_and(|at| at < start || at > now) {
            wrong("/at".into(), "Must lie between the start of the recall and now.".into());
        }
        if self.kind == Kind::Notified && !self.goods.is_empty() {
            wrong("/goods".into(), "Only an answer tells what became of goods.".into());
        }
        let known = |one: &&Recipient| one.recipient.as_deref() == Some(self.recipient.as_str());
        let Some(recipient) = finding.recipients.iter().find(known) else {
            wrong("/recipient".into(), "Got no affected goods.".into());
            return errors;
        };
        let mut open = outstanding(recipient, facts);
        for (index, goods) in self.goods.iter().enumerate() {
            let at = format!("/goods/{index}");
            let Some(left) = open.get_mut(&goods.lot) else {
                wrong(format!("{at}/lot"), "They got nothing of this lot.".into());
                continue;
            };
            let unit = goods.quantity.unit.code();
            let Some((dimension, amount)) = to_base(goods.quantity.value, unit) else {
                wrong(format!("{at}/quantity/value"), "Is too large.".into());
                continue;
            };
            let Some(left) = left.get_mut(&dimension) else {
                wrong(format!("{at}/quantity/unit"), "The lot is not measured in this.".into());
                continue;
            };
            if amount <= Decimal::ZERO {
                wrong(format!("{at}/quantity/value"), "Must be more than 0.".into());
            } else if amount > *left {
                let (left, unit) = (left.normalize(), dimension.unit());
                let message = format!("Only {left} {unit} of what they got is unaccounted for.");
                wrong(format!("{at}/quantity/value"), message);
            } else {
                *left -= amount;
            }
        }
        errors
    }
}

/// What of each lot that the recipient got has not been accounted for.
pub fn outstanding(
    recipient: &Recipient,
    facts: &[Facts],
) -> BTreeMap<String, BTreeMap<Dimension, Decimal>> {
    let mut open: BTreeMap<String, BTreeMap<Dimension, Decimal>> = BTreeMap::new();
    for sent in &recipient.lots {
        let left = open.entry(sent.lot.clone()).or_default();
        for amount in &sent.dispatched {
            if let Some((dimension, amount)) = to_base(amount.value, &amount.unit) {
                *left.entry(dimension).or_default() += amount;
            }
        }
    }
    let theirs = |facts: &&Facts| Some(facts.recipient.as_str()) == recipient.recipient.as_deref();
    for goods in facts.iter().filter(theirs).flat_map(|facts| &facts.goods) {
        let base = to_base(goods.quantity.value, goods.quantity.unit.code());
        let left = open.get_mut(&goods.lot);
        if let (Some((dimension, amount)), Some(left)) = (base, left)
            && let Some(left) = left.get_mut(&dimension)
        {
            *left -= amount;
        }
    }
    open
}
