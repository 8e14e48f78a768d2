//! What an audit trail says of the scope of a breach: of whose data how many
//! records were shown in clear to a user, in a session, to an address, in a
//! time. Every read of sealed data is recorded before it is shown, with the
//! number of records.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use keystone::Problem;
use keystone::audit::entry::{CommittedEntry, Outcome, Resource};
use keystone::tenant::{Attribution, AuditFilter, AuditRecord, Id, Tenant};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// What to look for; members that are absent do not restrict.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Question {
    /// Id of a user whose credentials were abused.
    #[serde(default)]
    user: Option<Id>,
    /// Id of a session that was abused.
    #[serde(default)]
    session: Option<Id>,
    /// Source address.
    #[serde(default)]
    #[schemars(extend("format" = "ip"))]
    ip: Option<String>,
    /// Not before.
    #[serde(default)]
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    from: Option<Timestamp>,
    /// Before.
    #[serde(default)]
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    to: Option<Timestamp>,
}

/// A kind of personal data that a trail can say was shown in clear.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Category {
    /// Delivery addresses and telephone numbers of customers.
    CustomerContacts,
    /// E-mail addresses of suppliers' contacts.
    SupplierContacts,
    /// Banking metadata of suppliers.
    SupplierBanking,
    /// Customers' contacts, and words of notices, in a recall or its pack.
    RecallContacts,
    /// Documents of a collection that the tenant took along.
    ExportedData,
    /// Source addresses and other personal values in exports of the trail.
    ExportedTrail,
    /// What people wrote in data-subject requests, and bundles of what is held
    /// of them.
    SubjectRequests,
}

/// What was shown of a category.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize)]
pub struct Disclosed {
    /// Reads.
    reads: u64,
    /// Records that were shown: those that a read names once, and of pages
    /// their number, so that what was shown twice may count twice.
    records: u64,
    /// Reads of which the trail does not say how many records they showed.
    uncounted: u64,
    /// First and last of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    between: Option<(Timestamp, Timestamp)>,
    /// Resources that reads of one record named.
    #[serde(skip)]
    named: BTreeSet<String>,
}

/// What the trail of a tenant says.
#[derive(Debug, Default, Serialize)]
pub struct Scope {
    /// Entries that fit the question.
    pub entries: u64,
    /// Changes among them: what was altered is in the trail.
    pub changes: u64,
    /// Sign-ins that succeeded among them.
    pub sign_ins: u64,
    /// Users who acted.
    pub users: BTreeSet<String>,
    /// What was shown in clear.
    pub disclosed: BTreeMap<&'static str, Disclosed>,
    /// Whether every entry that fits was looked at; if not, ask for less.
    pub complete: bool,
}

impl Question {
    /// Refuses a question that asks for everything.
    ///
    /// # Errors
    /// 422 when nothing restricts it, or the time is none.
    pub fn check(&self) -> Result<(), Problem> {
        let named = self.user.is_some() || self.session.is_some() || self.ip.is_some();
        match (self.from, self.to) {
            (Some(from), Some(to)) if from >= to => {
                Err(Problem::invalid("/question/to", "Must be later than the beginning."))
            }
            (Some(_), Some(_)) => Ok(()),
            _ if named => Ok(()),
            _ => {
                let what = "Name a user, a session, an address, or beginning and end of a time.";
                Err(Problem::invalid("/question", what))
            }
        }
    }

    fn filter(&self) -> AuditFilter {
        let ip = self.ip.as_deref().and_then(|ip| ip.parse::<std::net::IpAddr>().ok());
        AuditFilter {
            actor: self.user.map(|id| id.to_string()),
            // A session has no entry from before it was made.
            from: self.from.max(self.session.map(Id::made_at)),
            to: self.to,
            ip: ip.map(|ip| ip.to_canonical().to_string()),
            ..AuditFilter::default()
        }
    }

    /// Asks the trail of `tenant`, which records that it was asked, by whom and
    /// why, before it answers. Looks at `limit` entries at most.
    ///
    /// # Errors
    /// 503 when a store does not answer.
    pub async fn ask(
        &self,
        tenant: &Tenant,
        by: &Attribution,
        reason: &str,
        limit: u32,
    ) -> Result<Scope, Problem> {
        let trail = Resource { kind: "audit_trail".into(), id: tenant.id().to_string() };
        let facts = json!({
            "reason": reason, "user": self.user, "session": self.session,
            "by_address": self.ip.is_some(), "from": self.from, "to": self.to,
        });
        let size = tenant.audit_tree().await?.size();
        tenant.record(by, "audit_trail.scope", trail, Outcome::Success, facts).await?;
        let mut scope = Scope { complete: size == 0, ..Scope::default() };
        let mut batches = tenant.audit_entries_within(&self.filter(), 0..size, limit).await?;
        while let Some(batch) = batches.next().await? {
            for record in &batch.records {
                let session = record.entry.actor.session.as_deref();
                let wanted = self.session.is_none_or(|id| session == Some(id.to_string().as_str()));
                if wanted {
                    scope.add(record);
                }
            }
            scope.complete = batch.next >= size;
        }
        Ok(scope)
    }
}

impl Scope {
    fn add(&mut self, record: &AuditRecord) {
        let entry = &record.entry;
        self.entries += 1;
        if entry.actor.kind == keystone::audit::entry::ActorKind::User {
            self.users.insert(entry.actor.id.clone());
        }
        if entry.outcome != Outcome::Success {
            return;
        }
        let shown = categories(entry);
        if !shown.is_empty() {
            for category in shown {
                self.disclosed.entry(category.name()).or_default().add(entry);
            }
        } else if entry.action == "session.create" {
            self.sign_ins += 1;
        } else if !entry.action.starts_with("session.") {
            self.changes += u64::from(!entry.delta.is_empty());
        }
    }
}

impl Category {
    const fn name(self) -> &'static str {
        match self {
            Self::CustomerContacts => "customer_contacts",
            Self::SupplierContacts => "supplier_contacts",
            Self::SupplierBanking => "supplier_banking",
            Self::RecallContacts => "recall_contacts",
            Self::ExportedData => "exported_data",
            Self::ExportedTrail => "exported_trail",
            Self::SubjectRequests => "subject_requests",
        }
    }
}

/// What `entry` says was shown in clear.
fn categories(entry: &CommittedEntry) -> Vec<Category> {
    let with_contacts = || fact(entry, "/contacts") == Some(&Value::Bool(true));
    let one = match entry.action.as_str() {
        "customer.disclose" | "customer.search" | "batch.disclose" => {
            Some(Category::CustomerContacts)
        }
        "supplier.disclose" => {
            let fields = fact(entry, "/disclosed").and_then(Value::as_array).into_iter().flatten();
            let category = |field: &Value| match field.as_str() {
                Some("email") => Category::SupplierContacts,
                _ => Category::SupplierBanking,
            };
            return fields.map(category).collect();
        }
        "supplier.search" => Some(Category::SupplierBanking),
        "recall.disclose" => Some(Category::RecallContacts),
        "recall_pack.create" | "recall_pack.fetch" if with_contacts() => {
            Some(Category::RecallContacts)
        }
        "tenant.export_data" => Some(Category::ExportedData),
        "audit_export.fetch" => Some(Category::ExportedTrail),
        "data_subject_request.disclose" | "data_subject_request.hand_over" => {
            Some(Category::SubjectRequests)
        }
        _ => None,
    };
    one.into_iter().collect()
}

/// A fact that the entry states in clear.
fn fact<'e>(entry: &'e CommittedEntry, path: &str) -> Option<&'e Value> {
    let change = entry.delta.iter().find(|change| change.path == path && !change.personal)?;
    change.value.as_ref()
}

impl Disclosed {
    fn add(&mut self, entry: &CommittedEntry) {
        self.reads += 1;
        let (first, _) = self.between.unwrap_or((entry.at, entry.at));
        self.between = Some((first, entry.at));
        // A single customer or supplier, which is read again and again.
        if matches!(entry.action.as_str(), "customer.disclose" | "supplier.disclose") {
            if self.named.insert(entry.resource.id.clone()) {
                self.records += 1;
            }
            return;
        }
        let counted = ["/records", "/documents"].iter().find_map(|path| fact(entry, path));
        match counted.and_then(Value::as_u64) {
            Some(records) => self.records += records,
            None => self.uncounted += 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use keystone::audit::delta::delta;
    use keystone::audit::entry::{Actor, ActorKind, Draft};

    use super::*;

    fn record(action: &str, resource: &str, facts: &Value) -> AuditRecord {
        let kind = action.split('.').next().unwrap();
        let draft = Draft {
            id: Id::from_u128(1).uuid(),
            at: Timestamp::UNIX_EPOCH,
            tenant_id: "acme".into(),
            actor: Actor { kind: ActorKind::User, id: "u".into(), role: None, session: None },
            action: action.into(),
            resource: Resource { kind: kind.into(), id: resource.into() },
            delta: delta(None, Some(facts), &[]).unwrap(),
            source_ip: None,
            user_agent: None,
            request_id: "r".into(),
            outcome: Outcome::Success,
        };
        let (entry, personal) = draft.seal(0, || Ok([0; 32])).unwrap();
        AuditRecord { leaf: entry.leaf_hash().unwrap(), entry, personal }
    }

    #[test]
    fn what_was_shown_is_counted_by_category() {
        let mut scope = Scope::default();
        let one = json!({ "disclosed": ["phone"], "records": 1 });
        for (action, resource, facts) in [
            ("customer.disclose", "a", one.clone()),
            ("customer.disclose", "a", one.clone()),
            ("customer.disclose", "b", one),
            ("supplier.disclose", "a", json!({ "disclosed": ["email", "banking"], "records": 1 })),
            ("supplier.disclose", "b", json!({ "disclosed": ["email"], "records": 1 })),
            ("batch.disclose", "l", json!({ "disclosed": ["customers"], "records": 7 })),
            ("recall.disclose", "r", json!({ "disclosed": ["customers"] })),
            ("recall_pack.fetch", "p", json!({ "contacts": false })),
            ("recall_pack.fetch", "p", json!({ "contacts": true })),
            ("tenant.export_data", "acme", json!({ "collection": "customers", "documents": 50 })),
            (
                "data_subject_request.disclose",
                "q",
                json!({ "disclosed": ["answer"], "records": 1 }),
            ),
            (
                "data_subject_request.hand_over",
                "q",
                json!({ "documents": 30, "bundle": { "id": "b" } }),
            ),
            ("batch.update", "l", json!({ "origin": "FR" })),
            ("session.create", "u", json!({})),
        ] {
            scope.add(&record(action, resource, &facts));
        }
        let told: Vec<_> = scope
            .disclosed
            .iter()
            .map(|(name, one)| (*name, one.reads, one.records, one.uncounted))
            .collect();
        let expected = [
            ("customer_contacts", 4, 9, 0),
            ("exported_data", 1, 50, 0),
            ("recall_contacts", 2, 0, 2),
            ("subject_requests", 2, 31, 0),
            ("supplier_banking", 1, 1, 0),
            ("supplier_contacts", 2, 2, 0),
        ];
        assert_eq!(told, expected);
        // A pack without contacts shows nobody, and says that it was fetched.
        assert_eq!((scope.entries, scope.sign_ins, scope.changes), (14, 1, 2));
    }

    #[test]
    fn a_question_must_restrict_something() {
        let question = |json: Value| keystone::http::read_value::<Question>(json).unwrap().check();
        assert!(question(json!({})).is_err());
        assert!(question(json!({ "from": "2026-03-01T08:00:00Z" })).is_err());
        assert!(question(json!({ "ip": "192.0.2.1" })).is_ok());
        let (early, late) = ("2026-03-01T08:00:00Z", "2026-03-02T08:00:00Z");
        assert!(question(json!({ "from": early, "to": late })).is_ok());
        assert!(question(json!({ "from": late, "to": early })).is_err());
    }
}
