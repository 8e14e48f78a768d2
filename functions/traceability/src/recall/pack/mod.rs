//! Evidence packs: what a recall found and achieved, as a signed PDF/A-3b that
//! an auditor can keep. A pack shows the recall as it is when it is made; of a
//! closed one it is the last word, and can be made again at any time.

mod front;
mod picture;
mod tables;

use std::collections::BTreeMap;

use jiff::Timestamp;
use keystone::Problem;
use keystone::audit::merkle::Hash;
use keystone::auth::Permission;
use keystone::config::Setting;
use keystone::crypto::Subject;
use keystone::erasure::any_since;
use keystone::http::Call;
use keystone::tenant::{Entity, Filter, Id, Page, StoreError, Stored, schema};
use keystone_report::{
    Attachment, Fonts, KEPT, LINK_LIFE, Part, Pen, Report, Signer, Storage, render, time,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::closing::Effectiveness;
use super::finding::Finding;
use super::notice::{Notice, all_notices};
use super::recipients::customers;
use super::{Recall, RecallView, Timer, with_finding};
use crate::customer::CustomerView;
use tables::{Links, Lots, Notices, Recipients};

/// What a function needs that makes packs.
pub const MAKER_SETTINGS: [Setting; 3] =
    [Setting::ReportSigningKey, Setting::ReportCertificateSecret, Setting::ExportBucket];

/// A pack as it is stored, in the tenant's append-only database.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pack {
    /// The recall.
    pub recall_id: Id,
    /// The recall's version that it shows.
    pub recall_version: i64,
    /// Whether contact data stands in it in clear.
    pub contacts: bool,
    /// The user who made it.
    pub made_by: Id,
    /// Where it lies in the bucket.
    key: String,
    /// Length in bytes.
    size: u64,
    /// Of the whole file: its signature does not cover what is appended to
    /// it, this does.
    sha256: Hash,
}

impl Entity for Pack {
    const COLLECTION: &'static schema::Collection = &schema::RECALL_PACKS;
    const RESOURCE: &'static str = "recall_pack";
    const PERSONAL: &'static [&'static str] = &[];
}

/// A pack to be made.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewPack {
    /// Whether addresses and phones of customers, and the words of notices,
    /// stand in it in clear.
    #[serde(default)]
    contacts: bool,
}

/// A pack as it is shown.
#[derive(Serialize, JsonSchema)]
pub struct PackView {
    /// Id.
    id: Id,
    /// The recall's version that it shows.
    recall_version: i64,
    /// Whether contact data stands in it in clear.
    contacts: bool,
    /// The user who made it.
    made_by: Id,
    /// When.
    #[schemars(with = "String", extend("format" = "date-time"))]
    made_at: Timestamp,
    /// Name of the file.
    name: String,
    /// Length in bytes.
    size: u64,
    /// SHA-256 of the whole file, hex; the audit trail holds it too.
    sha256: String,
    /// Until when it can be fetched; another can be made at any time.
    #[schemars(with = "String", extend("format" = "date-time"))]
    available_until: Timestamp,
    /// Where to fetch it, for five minutes.
    #[serde(skip_serializing_if = "Option::is_none")]
    url: Option<String>,
    /// Why it cannot be fetched any more, where it was withdrawn.
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<&'static str>,
}

/// What is said of a pack that was withdrawn.
const WITHDRAWN: &str = "A person's data was erased after this pack was made. Make a new one.";

impl PackView {
    /// The view of a pack, without a link.
    pub fn new(call: &Call, stored: &Stored<Pack>) -> Self {
        let Pack { recall_id, recall_version, contacts, made_by, size, sha256, .. } =
            stored.entity.clone();
        Self {
            id: stored.id,
            recall_version,
            contacts,
            made_by,
            made_at: stored.created_at,
            name: format!("{}-recall-{recall_id}.pdf", call.tenant().id()),
            size,
            sha256: sha256.to_string(),
            available_until: stored.created_at + KEPT,
            url: None,
            note: None,
        }
    }

    /// The same with a link, while there is something to fetch. One that shows
    /// contact data is withdrawn as soon as somebody is erased.
    ///
    /// # Errors
    /// 503 when no link can be made.
    pub async fn with_link(call: &Call, stored: &Stored<Pack>) -> Result<Self, Problem> {
        let mut view = Self::new(call, stored);
        if view.contacts && any_since(call.tenant(), stored.created_at).await? {
            view.note = Some(WITHDRAWN);
        } else if call.now() < view.available_until {
            let storage = Storage::new(call.platform()).await?;
            view.url =
                Some(storage.link(call.tenant().id(), &stored.entity.key, &view.name).await?);
        }
        Ok(view)
    }

    /// Whether a link is handed out with it.
    pub fn has_link(&self) -> bool {
        self.url.is_some()
    }
}

/// Which pack to read.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PackQuery {
    /// Whether contact data stands in it in clear; unless given, the newest that
    /// the caller's role may read.
    contacts: Option<Contacts>,
}

/// Whether contact data stands in a pack in clear, as a parameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Contacts {
    /// In clear.
    True,
    /// Masked.
    False,
}

impl PackQuery {
    /// The newest pack of a recall that is wanted and that a role may read which
    /// sees contact data in clear if `clear`.
    ///
    /// # Errors
    /// 403 when one is wanted that the role may not read; 404 when there is none;
    /// 503 when the database does not answer.
    pub async fn newest(
        &self,
        call: &Call,
        recall: Id,
        clear: bool,
    ) -> Result<Stored<Pack>, Problem> {
        if self.contacts == Some(Contacts::True) && !clear {
            return Err(Problem::Forbidden);
        }
        let mut page = Page { after: None, limit: PAGE };
        loop {
            let of_recall = Filter::all().eq("recall_id", recall.to_string());
            let packs = call.tenant().list::<Pack>(of_recall, page).await?;
            page.after = packs.last().map(|last| last.id);
            let last = i64::try_from(packs.len()).unwrap_or(PAGE) < PAGE;
            match packs.into_iter().find(|pack| self.wants(pack.entity.contacts, clear)) {
                Some(pack) => return Ok(pack),
                None if last => return Err(Problem::NotFound),
                None => {}
            }
        }
    }

    fn wants(&self, contacts: bool, clear: bool) -> bool {
        match self.contacts {
            Some(wanted) => contacts == (wanted == Contacts::True),
            None => clear || !contacts,
        }
    }
}

/// Packs that one query gives.
const PAGE: i64 = 100;

/// Where the audit trail stood.
struct Trail {
    size: u64,
    root: Hash,
    /// The last signed checkpoint, which covers what came before it.
    checkpoint: Option<String>,
}

/// All that a pack shows.
struct Contents {
    recall: Stored<Recall>,
    finding: Finding,
    effectiveness: Effectiveness,
    timer: Timer,
    /// Customers by id, their contact data as the pack shows it.
    customers: BTreeMap<Id, CustomerView>,
    notices: Vec<NoticeWords>,
    trail: Trail,
    contacts: bool,
    tenant_name: String,
    tenant_id: String,
    made_at: Timestamp,
    made_by: String,
}

/// A notice, its words opened if the pack shows them.
struct NoticeWords {
    notice: Notice,
    contact: Option<String>,
    note: Option<String>,
}

impl NewPack {
    /// Makes the pack `id` of a recall and stores its file. Nothing refers to
    /// the file until the pack itself is stored.
    ///
    /// # Errors
    /// 403 when contact data is wanted that the caller's role may not see; 404
    /// when there is no such recall; 503 when a store does not answer.
    pub async fn make(&self, call: &Call, recall: Id, id: Id) -> Result<Pack, Problem> {
        if self.contacts && !call.sees(Permission::ReadContactData) {
            return Err(Problem::Forbidden);
        }
        let contents = Contents::read(call, recall, self.contacts).await?;
        let signer = Signer::load(call.platform(), call.now()).await?;
        let pdf = contents.render()?;
        let pdf = signer.sign(pdf, "Recall evidence pack", call.now()).await?;
        let (size, sha256) = (pdf.len() as u64, Hash::of(&[&pdf]));
        let key = format!("recalls/{}/{recall}/{id}.pdf", call.tenant().id());
        let storage = Storage::new(call.platform()).await?;
        storage.put(&key, "application/pdf", pdf, sha256).await?;
        Ok(Pack {
            recall_id: recall,
            recall_version: contents.recall.version,
            contacts: self.contacts,
            made_by: call.principal().user(),
            key,
            size,
            sha256,
        })
    }
}

impl Contents {
    async fn read(call: &Call, id: Id, contacts: bool) -> Result<Self, Problem> {
        let tenant = call.tenant();
        let (recall, finding) = with_finding(tenant, id).await?;
        let notices = all_notices(tenant, id).await?;
        let facts: Vec<_> = notices.iter().map(|(_, notice)| notice.facts()).collect();
        let stored = customers(call, &finding.recipients).await?;
        if contacts {
            tenant.prefetch(stored.keys().copied().map(Subject::Customer)).await?;
        }
        let mut customers = BTreeMap::new();
        for (id, customer) in &stored {
            customers.insert(*id, CustomerView::new(tenant, customer, contacts).await?);
        }
        let mut words = Vec::with_capacity(notices.len());
        for (id, notice) in notices {
            let (contact, note) =
                if contacts { notice.words(tenant, id).await? } else { (None, None) };
            words.push(NoticeWords { notice, contact, note });
        }
        let tree = tenant.audit_tree().await?;
        let checkpoint = tenant.last_checkpoint().await?.map(|last| last.link.checkpoint);
        Ok(Self {
            effectiveness: match &recall.entity.closed {
                Some(closed) => closed.effectiveness.clone(),
                None => Effectiveness::new(&finding, &facts),
            },
            timer: Timer::new(&recall, call.now()),
            recall,
            finding,
            customers,
            notices: words,
            trail: Trail { size: tree.size(), root: tree.root(), checkpoint },
            contacts,
            tenant_name: tenant.profile().legal_name.clone(),
            tenant_id: tenant.id().to_string(),
            made_at: call.now(),
            made_by: format!("{} ({})", call.principal().user(), call.principal().role().name()),
        })
    }

    /// The pack before it is signed.
    fn render(&self) -> Result<Vec<u8>, Problem> {
        let fonts = Fonts::load().map_err(StoreError::defect)?;
        let mut pen = Pen::new(&fonts);
        front::write(&mut pen, self);
        let (lots, links) = (Lots::new(self), Links::new(self));
        let (recipients, notices) = (Recipients::new(self), Notices::new(self));
        let kind = self.recall.entity.kind.words();
        let report = Report {
            title: format!("{kind}: evidence pack of {}", self.tenant_name),
            footer: format!(
                "{kind} {} of {} ({}), {} UTC",
                self.recall.id,
                self.tenant_name,
                self.tenant_id,
                time(self.made_at)
            ),
            made_at: self.made_at,
            parts: vec![
                Part::Text(pen.pages()),
                Part::Picture(picture::picture(&self.finding)),
                Part::Table(&lots),
                Part::Table(&links),
                Part::Table(&recipients),
                Part::Table(&notices),
            ],
            attachments: self.attachments()?,
        };
        Ok(render(&fonts, report).map_err(StoreError::defect)?)
    }

    fn attachments(&self) -> Result<Vec<Attachment<'static>>, Problem> {
        let mut view = RecallView::new(&self.recall, self.made_at);
        view.effectiveness = Some(self.effectiveness.clone());
        view.finding = Some(self.finding.clone().into());
        let notices: Vec<_> = self.notices.iter().map(|words| words.notice.said()).collect();
        let json = json!({
            "format": "keystone-recall/1",
            "tenant": self.tenant_id,
            "made_at": self.made_at,
            "recall": view,
            "notices": notices,
            "audit": {
                "size": self.trail.size,
                "root": self.trail.root,
                "checkpoint": self.trail.checkpoint,
            },
        });
        let mut attachments = vec![Attachment {
            name: "recall.json",
            mime: "application/json",
            description: "What was found and achieved, machine-readable, without contact data",
            bytes: serde_json::to_vec_pretty(&json).map_err(StoreError::defect)?,
        }];
        if let Some(checkpoint) = &self.trail.checkpoint {
            attachments.push(Attachment {
                name: "checkpoint.txt",
                mime: "text/plain",
                description: "Last signed checkpoint of the audit trail (C2SP tlog-checkpoint)",
                bytes: checkpoint.clone().into_bytes(),
            });
        }
        Ok(attachments)
    }

    /// What a recipient is called.
    fn name(&self, recipient: Option<&str>) -> String {
        let Some(recipient) = recipient else { return "nobody is named".to_owned() };
        match recipient.parse().ok().and_then(|id: Id| self.customers.get(&id)) {
            Some(customer) => format!("{} ({})", customer.name, customer.country),
            None => recipient.to_owned(),
        }
    }
}

/// Seconds as hours, minutes and seconds.
fn duration(seconds: i64) -> String {
    format!("{} h {:02} min {:02} s", seconds / 3600, seconds / 60 % 60, seconds % 60)
}

/// The link's life, for the route's summary to be true.
const _: () = assert!(LINK_LIFE.as_secs() == 300, "five minutes");

#[cfg(test)]
mod tests {
    use rust_decimal::Decimal;

    use super::*;
    use crate::recall::finding::{Amount, FoundLot, Recipient, SentLot, Side, Summary};
    use crate::recall::{Hazard, Kind, State};

    fn kilogram() -> Vec<Amount> {
        vec![Amount { value: Decimal::ONE, unit: "KGM".into() }]
    }

    /// A pack of so many lots, each of which somebody else got.
    fn contents(lots: u32, reason: &str) -> Contents {
        let key = |n: u32| format!("01/00614141777778/10/{n}");
        let lot = |n: u32| FoundLot {
            lot: key(n),
            side: if n.is_multiple_of(3) { Side::Origin } else { Side::Affected },
            depth: n % 5,
            batch_id: None,
            product: Some("Farmhouse cheese, 250 g".into()),
            incoming: kilogram(),
            consumed: vec![],
            dispatched: kilogram(),
            wasted: vec![],
            stock: vec![],
            unaccounted: vec![],
            places: vec!["0614141000005".into()],
            suppliers: vec![],
        };
        let recipient = |n: u32| Recipient {
            recipient: (n > 0).then(|| format!("417/{n}")),
            lots: vec![SentLot {
                lot: key(n),
                dispatched: kilogram(),
                last_at: Timestamp::UNIX_EPOCH,
                within: vec![],
            }],
        };
        let finding = Finding {
            lots: (0..lots).map(lot).collect(),
            links: vec![],
            recipients: (0..lots).map(recipient).collect(),
        };
        let recall = Recall {
            kind: Kind::Recall,
            hazard: Hazard::Allergen,
            reason: reason.into(),
            lots: vec![],
            period: None,
            state: State::Open,
            started_by: Id::from_u128(1),
            traced_ms: 1,
            summary: Summary { unnamed_recipient: true, truncated: true, ..Summary::default() },
            notices: 0,
            closed: None,
        };
        let at = Timestamp::UNIX_EPOCH;
        let recall = Stored {
            id: Id::from_u128(7),
            version: 1,
            created_at: at,
            updated_at: at,
            entity: recall,
        };
        Contents {
            effectiveness: Effectiveness::new(&finding, &[]),
            timer: Timer::new(&recall, at),
            recall,
            finding,
            customers: BTreeMap::new(),
            notices: vec![],
            trail: Trail { size: 3, root: Hash([7; 32]), checkpoint: None },
            contacts: false,
            tenant_name: "Acme Dairy Co-operative Ltd".into(),
            tenant_id: "acme-dairy".into(),
            made_at: at,
            made_by: "somebody".into(),
        }
    }

    #[test]
    fn a_pack_of_any_size_and_text_conforms() {
        let texts = ["", "controls \u{0}\u{7}\u{202e} and 🧀, 乳製品, مرحبا", &"long ".repeat(400)];
        for (lots, text) in [0, 40, 400].into_iter().zip(texts) {
            let pdf = contents(lots, text).render().unwrap();
            assert!(pdf.starts_with(b"%PDF-1.7"), "{lots}");
        }
    }

    #[test]
    fn each_role_gets_the_pack_that_is_for_it() {
        let wants = |contacts, pack, clear| PackQuery { contacts }.wants(pack, clear);
        // (wanted, whether a masked and a clear pack are taken), by role.
        for (contacts, clear, masked, open) in [
            (None, true, true, true),
            (None, false, true, false),
            (Some(Contacts::False), true, true, false),
            (Some(Contacts::False), false, true, false),
            (Some(Contacts::True), true, false, true),
        ] {
            assert_eq!(
                (wants(contacts, false, clear), wants(contacts, true, clear)),
                (masked, open)
            );
        }
    }

    #[test]
    fn times_are_said_in_hours() {
        assert_eq!(duration(0), "0 h 00 min 00 s");
        assert_eq!(duration(14_399), "3 h 59 min 59 s");
    }
}
