//! The stored entries one after the other, each shown to be what was recorded
//! before anything is made of it. The database chooses none of them: what it
//! finds by a filter says nothing of what it leaves out.

use std::collections::{HashMap, VecDeque};
use std::ops::Range;

use keystone::crypto::Subject;
use keystone::erasure;
use keystone::tenant::{AuditRecord, EntryParts, StoreError, StoredEntry, Tenant};

use super::run::Stop;
use crate::filter::FilterInput;
use crate::stored::{faults, not_found_by_ip, unrecorded_erasure};

/// Entries that are read at once.
const PAGE: u64 = 500;

/// A walk over the entries of a trail, a page of them in memory.
pub struct Walk<'t> {
    tenant: &'t Tenant,
    /// Whether entries are chosen by their source address.
    by_ip: bool,
    /// What was read and is to be looked at.
    page: VecDeque<AuditRecord>,
    /// Numbers of the entries that are to be looked at.
    left: Range<u64>,
    /// Whether an erasure of somebody whose values do not open is recorded.
    erased: HashMap<Subject, bool>,
}

impl<'t> Walk<'t> {
    /// A walk over the entries with numbers in `range`, to be chosen by `filter`.
    pub fn new(tenant: &'t Tenant, range: Range<u64>, filter: &FilterInput) -> Self {
        let by_ip = filter.ip.is_some();
        Self { tenant, by_ip, page: VecDeque::new(), left: range, erased: HashMap::new() }
    }

    /// The number of the next entry; the end of the range after the last.
    pub fn next(&self) -> u64 {
        self.left.start
    }

    /// The next entry, if it was read already.
    pub fn peek(&self) -> Option<&AuditRecord> {
        self.page.front()
    }

    /// Goes on to the entry after the next.
    pub fn step(&mut self) {
        if self.page.pop_front().is_some() {
            self.left.start += 1;
        }
    }

    /// Reads a page, after which there is a next entry; false at the end.
    ///
    /// # Errors
    /// [`Stop::Contradicted`] when an entry is missing or not what was recorded;
    /// [`Stop::Failed`] when a store does not answer.
    pub async fn read(&mut self) -> Result<bool, Stop> {
        if self.left.is_empty() {
            return Ok(false);
        }
        let numbers = self.left.start..self.left.end.min(self.left.start + PAGE);
        let mut stored =
            self.tenant.stored_audit_entries_within(numbers.clone()).await?.into_iter();
        let mut page = VecDeque::new();
        for seq in numbers {
            let Some(entry) = stored.next().filter(|entry| entry.seq == seq) else {
                return Err(Stop::Contradicted(format!("entry {seq} is missing")));
            };
            page.push_back(self.recorded(entry).await?);
        }
        self.page = page;
        Ok(true)
    }

    async fn recorded(&mut self, stored: StoredEntry) -> Result<AuditRecord, Stop> {
        let seq = stored.seq;
        let parts = stored
            .parts
            .map_err(|why| Stop::Contradicted(format!("entry {seq} cannot be read: {why}")))?;
        for subject in &parts.erased {
            if !self.is_erased(*subject).await? {
                return Err(Stop::Contradicted(unrecorded_erasure(seq, *subject)));
            }
        }
        if let Some(fault) = fault(self.tenant.id().as_str(), seq, &parts, self.by_ip) {
            return Err(Stop::Contradicted(fault));
        }
        let EntryParts { entry, leaf, personal, .. } = parts;
        Ok(AuditRecord { entry, leaf, personal })
    }

    /// Whether an erasure of `subject` is recorded; a record that was changed is
    /// none.
    async fn is_erased(&mut self, subject: Subject) -> Result<bool, StoreError> {
        if let Some(known) = self.erased.get(&subject) {
            return Ok(*known);
        }
        let recorded = match erasure::recorded(self.tenant, subject).await {
            Err(StoreError::Trail(_) | StoreError::Defect(_)) => false,
            other => other?,
        };
        self.erased.insert(subject, recorded);
        Ok(recorded)
    }
}

/// The first thing in which an entry is not what was recorded. Its index by
/// source address counts where entries are chosen by it.
fn fault(tenant: &str, seq: u64, parts: &EntryParts, by_ip: bool) -> Option<String> {
    let missed = (by_ip && !parts.found_by_ip).then(|| not_found_by_ip(seq));
    faults(tenant, seq, parts).into_iter().next().or(missed)
}

/// Whether an entry fits `filter`. Of one whose source address was erased that
/// is not known any more, so it fits no address.
pub fn fits(filter: &FilterInput, AuditRecord { entry, personal, .. }: &AuditRecord) -> bool {
    let is = |wanted: &Option<String>, found: &str| {
        wanted.as_deref().is_none_or(|wanted| wanted == found)
    };
    let ip = filter.ip.is_none_or(|ip| {
        let found = personal.get("/source_ip").and_then(|opening| opening.value.as_str());
        found == Some(ip.to_canonical().to_string().as_str())
    });
    is(&filter.actor, &entry.actor.id)
        && is(&filter.action, &entry.action)
        && is(&filter.resource_type, &entry.resource.kind)
        && is(&filter.resource_id, &entry.resource.id)
        && filter.from.is_none_or(|from| entry.at >= from)
        && filter.to.is_none_or(|to| entry.at < to)
        && ip
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use keystone::audit::entry::{Actor, ActorKind, Draft, Outcome, Resource};
    use keystone::random;

    use super::*;

    fn draft() -> Draft {
        Draft {
            id: "0197c1f0-0000-7000-8000-000000000001".parse().unwrap(),
            at: "2026-01-02T03:04:05.678Z".parse().unwrap(),
            tenant_id: "acme".into(),
            actor: Actor { kind: ActorKind::User, id: "u-1".into(), role: None, session: None },
            action: "batch.update".into(),
            resource: Resource { kind: "batch".into(), id: "b-1".into() },
            delta: Vec::new(),
            source_ip: Some("192.0.2.7".parse().unwrap()),
            user_agent: None,
            request_id: "r-1".into(),
            outcome: Outcome::Success,
        }
    }

    fn parts() -> EntryParts {
        let (entry, personal) = draft().seal(7, random::bytes::<32>).unwrap();
        EntryParts {
            at: Some(entry.at),
            leaf: entry.leaf_hash().unwrap(),
            entry,
            nodes: Vec::new(),
            personal,
            erased: Vec::new(),
            found_by_ip: true,
        }
    }

    fn record() -> AuditRecord {
        let EntryParts { entry, leaf, personal, .. } = parts();
        AuditRecord { entry, leaf, personal }
    }

    /// Something done to what is stored of an entry.
    type Tampering = fn(&mut EntryParts);

    #[test]
    fn what_is_stored_of_an_entry_is_held_against_it() {
        let found = |tenant: &str, seq: u64, by_ip: bool, tamper: Tampering| {
            let mut parts = parts();
            tamper(&mut parts);
            fault(tenant, seq, &parts, by_ip).unwrap_or_default()
        };
        assert_eq!(found("acme", 7, true, |_| {}), "");
        assert!(found("acme", 8, false, |_| {}).contains("holds the entry with the number 7"));
        assert!(found("globex", 7, false, |_| {}).contains("of the tenant acme"));
        let tampered: [(Tampering, &str); 5] = [
            (|parts| parts.entry.action = "mail.send".into(), "was changed"),
            (|parts| parts.at = Some(Timestamp::UNIX_EPOCH), "under another time"),
            (|parts| parts.at = None, "under another time"),
            (
                |parts| parts.personal.get_mut("/source_ip").unwrap().value = "192.0.2.8".into(),
                "a personal value of entry 7 was changed",
            ),
            (|parts| parts.personal.clear(), "/source_ip of entry 7 was removed"),
        ];
        for (tamper, why) in tampered {
            assert!(found("acme", 7, false, tamper).contains(why), "{why}");
        }
        let unindexed: Tampering = |parts| parts.found_by_ip = false;
        assert_eq!(found("acme", 7, false, unindexed), "");
        assert!(found("acme", 7, true, unindexed).contains("by its source address"));
    }

    #[test]
    fn a_filter_leaves_out_what_does_not_fit_each_of_its_members() {
        let none = FilterInput::default;
        let text = |text: &str| Some(text.to_owned());
        let at = |text: &str| Some(text.parse::<Timestamp>().unwrap());
        for fitting in [
            none(),
            FilterInput { actor: text("u-1"), action: text("batch.update"), ..none() },
            FilterInput { resource_type: text("batch"), resource_id: text("b-1"), ..none() },
            FilterInput { from: at("2026-01-02T03:04:05.678Z"), ..none() },
            FilterInput { to: at("2026-01-02T03:04:05.6780001Z"), ..none() },
            FilterInput { ip: Some("::ffff:192.0.2.7".parse().unwrap()), ..none() },
        ] {
            assert!(fits(&fitting, &record()), "{fitting:?}");
        }
        for other in [
            FilterInput { actor: text("u-2"), ..none() },
            FilterInput { action: text("batch"), actor: text("u-1"), ..none() },
            FilterInput { resource_type: text("product"), ..none() },
            FilterInput { resource_id: text("b"), ..none() },
            FilterInput { from: at("2026-01-02T03:04:05.6780001Z"), ..none() },
            FilterInput { to: at("2026-01-02T03:04:05.678Z"), ..none() },
            FilterInput { ip: Some("192.0.2.70".parse().unwrap()), ..none() },
        ] {
            assert!(!fits(&other, &record()), "{other:?}");
        }
        let mut erased = record();
        erased.personal.clear();
        let by_ip = FilterInput { ip: Some("192.0.2.7".parse().unwrap()), ..none() };
        assert!(!fits(&by_ip, &erased));
    }
}
