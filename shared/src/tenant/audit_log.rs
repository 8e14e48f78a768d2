//! The audit trail as it is stored: entries in the tenant's append-only
//! database, and the tree's head in its data database.

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;

use futures::TryStreamExt;
use jiff::{SignedDuration, Timestamp};
use mongodb::ClientSession;
use mongodb::bson::{
    Bson, DateTime, Document, deserialize_from_bson, deserialize_from_document, doc,
    serialize_to_bson,
};
use mongodb::options::{ReturnDocument, UpdateOneModel, WriteModel};
use zeroize::Zeroizing;

use super::read::bytes;
use super::{Id, StoreError, Tenant, TenantId, bson_time, schema, time_of};
use crate::audit::entry::{Actor, ActorKind, CommittedEntry, Draft, Personal, Resource};
use crate::audit::merkle::{Hash, TreeHead};
use crate::crypto::{CryptoError, Envelope, Place, Subject};
use crate::random;

const HEAD_ID: &str = "head";
/// Path of the source address among an entry's personal values.
pub(super) const SOURCE_IP: &str = "/source_ip";
/// Path of the user agent there.
pub(super) const USER_AGENT: &str = "/user_agent";
/// Entries of a long read that are fetched at once.
const BATCH: u32 = 500;
/// Entries that a query looks at first. Most questions are about what happened
/// lately, and an index that fits only in part then reads no more than these.
const LATELY: u64 = 4096;
/// Entries that a round of a query walks over at most, where no index leads to
/// what fits: two filters that never meet would be followed to the end of one.
const WINDOW: u64 = 25_000;
/// After so long the database gives a query up, whatever plan it chose. Shorter
/// than a request may take.
const QUERY_LIMIT: Duration = Duration::from_secs(8);
/// Entries that a query by source address reads at once, at least: the index
/// knows 16 bits of it, so that some may not fit.
const CANDIDATES: i64 = 200;
/// How often one query reads.
const ROUNDS: u32 = 5;
/// Field with the blind index of the source address.
pub(super) const IP_INDEX: &str = "ip";
/// Most that lies between the moment that an entry tells and that at which it was
/// appended: a job tells its beginning and may run for 15 minutes, and the clocks
/// of two hosts may differ. Entries are numbered as they are appended, so that
/// their times are in the order of their numbers but for this.
const SKEW: SignedDuration = SignedDuration::from_mins(20);
/// Where the entry next to a moment is looked for first: a server that sorts all
/// that it finds, as the local one does, then has little to sort.
const NEAR: SignedDuration = SignedDuration::from_hours(1);
/// The members of a query for which there is an index that leads on to the
/// number, the one that mostly finds least first.
const INDEXED: [&str; 5] =
    [IP_INDEX, "entry.resource.id", "entry.actor.id", "entry.action", "entry.resource.type"];

/// What a transaction found in the head document.
pub(super) struct Head {
    /// The tree's right edge.
    tree: TreeHead,
    /// Version of the data key that seals.
    pub(super) key_version: i64,
}

/// Whose the personal values of an entry are.
pub(super) struct Subjects {
    /// Source address and user agent.
    pub(super) actor: Subject,
    /// The values of each operation of the delta.
    pub(super) changes: Vec<Owners>,
}

/// Whose the values of one operation are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Owners {
    /// The value before.
    pub(super) before: Subject,
    /// The value after.
    pub(super) value: Subject,
}

/// Whose the address is from which `actor` acts on `resource`: a user's own.
/// Who tries to sign in as a user is mostly that user, so the address is that
/// user's too; that of somebody unknown is the tenant's to erase.
pub(super) fn subject_of(actor: &Actor, resource: Option<&Resource>) -> Subject {
    match (actor.kind, resource) {
        (ActorKind::User, _) => Subject::of_resource("user", &actor.id),
        (ActorKind::Anonymous, Some(resource)) if resource.kind == "user" => {
            Subject::of_resource("user", &resource.id)
        }
        _ => Subject::Tenant,
    }
}

impl Owners {
    /// Both are this subject's.
    pub(super) const fn both(subject: Subject) -> Self {
        Self { before: subject, value: subject }
    }
}

impl Subjects {
    fn of(&self, path: &str) -> Subject {
        let operation = path.strip_prefix("/delta/").and_then(|rest| rest.split_once('/'));
        let owners = operation.and_then(|(index, member)| {
            Some((self.changes.get(index.parse::<usize>().ok()?)?, member))
        });
        match owners {
            Some((owners, "before")) => owners.before,
            Some((owners, _)) => owners.value,
            None => self.actor,
        }
    }
}

/// Whose the personal value at `path` of `entry` is: the actor's, or that of
/// the document that the change is of. `None` for a contact of the tenant's, who
/// may be one of its users, which the entry does not tell.
pub(super) fn owner_of(entry: &CommittedEntry, path: &str) -> Option<Subject> {
    let index = path.strip_prefix("/delta/").and_then(|rest| rest.split('/').next());
    let Some(change) = index.and_then(|index| entry.delta.get(index.parse::<usize>().ok()?)) else {
        return Some(subject_of(&entry.actor, Some(&entry.resource)));
    };
    // A document beside the entry's resource stands under `/<kind>:<id>`.
    let mut segments = change.path.split('/').skip(1);
    let mut first = segments.next().unwrap_or_default();
    let mut subject = Subject::of_resource(&entry.resource.kind, &entry.resource.id);
    if let Some((kind, id)) = first.split_once(':') {
        subject = Subject::of_resource(kind, id);
        first = segments.next().unwrap_or_default();
    }
    (subject != Subject::Tenant || first != "contacts").then_some(subject)
}

/// The head document of a tenant without entries.
pub(super) fn empty_head(tenant: &TenantId) -> Document {
    doc! {
        "_id": HEAD_ID,
        "tenant_id": tenant.as_str(),
        "size": 0_i64,
        "edge": Vec::<String>::new(),
        "claims": 0_i64,
        "key_version": 1_i64,
    }
}

/// Reads the head and claims it for this transaction.
pub(super) async fn claim_head(
    tenant: &Tenant,
    session: &mut ClientSession,
) -> Result<Head, StoreError> {
    let found = tenant
        .collection::<Document>(schema::AUDIT_HEAD)
        .find_one_and_update(
            doc! { "_id": HEAD_ID, "tenant_id": tenant.id().as_str() },
            doc! { "$inc": { "claims": 1_i64 } },
        )
        .return_document(ReturnDocument::After)
        .session(session)
        .await?
        .ok_or_else(|| StoreError::defect("the audit head is missing"))?;
    let key_version = found.get_i64("key_version").map_err(StoreError::defect)?;
    Ok(Head { tree: head_of(&found)?, key_version })
}

/// Names the data key that seals from now on.
pub(super) async fn advance_key(
    tenant: &Tenant,
    session: &mut ClientSession,
    version: i64,
) -> Result<(), StoreError> {
    tenant
        .collection::<Document>(schema::AUDIT_HEAD)
        .update_one(
            doc! { "_id": HEAD_ID, "tenant_id": tenant.id().as_str() },
            doc! { "$set": { "key_version": version } },
        )
        .session(session)
        .await?;
    Ok(())
}

fn head_of(document: &Document) -> Result<TreeHead, StoreError> {
    let only = |field| document.get(field).cloned().unwrap_or(Bson::Null);
    Ok(deserialize_from_document(doc! { "size": only("size"), "edge": only("edge") })?)
}

/// Appends the entry and moves the head.
pub(super) async fn append(
    tenant: &Tenant,
    session: &mut ClientSession,
    head: &Head,
    draft: Draft,
    subjects: &Subjects,
) -> Result<(), StoreError> {
    let mut tree = head.tree.clone();
    let at = draft.at;
    let (entry, personal) =
        draft.seal(tree.size(), random::bytes::<32>).map_err(StoreError::defect)?;
    let leaf = entry.leaf_hash().map_err(StoreError::defect)?;
    let seq = i64::try_from(entry.seq).map_err(StoreError::defect)?;
    let nodes = tree.append(leaf);
    let ip = personal.get(SOURCE_IP).and_then(|opening| opening.value.as_str());
    let ip = ip.map(|ip| tenant.keys.blind(IP_INDEX, ip.as_bytes())).transpose()?;
    let mut of_subject: BTreeMap<Subject, Personal> = BTreeMap::new();
    for (path, opening) in personal {
        of_subject.entry(subjects.of(&path)).or_default().insert(path, opening);
    }
    let mut sealed = Vec::with_capacity(of_subject.len());
    for (subject, openings) in of_subject {
        let plain = Zeroizing::new(serde_json::to_vec(&openings).map_err(StoreError::defect)?);
        let envelope = tenant.keys.seal(place(entry.id.into()), subject, &plain).await?;
        sealed.push(envelope.to_document());
    }
    let stored = tenant.audit_entries().insert_one_model(doc! {
        "_id": seq,
        "tenant_id": tenant.id().as_str(),
        "at": bson_time(at),
        "entry": serialize_to_bson(&entry)?,
        "leaf": leaf.to_string(),
        "nodes": serialize_to_bson(&nodes)?,
        "personal": sealed,
        "ip": ip.map_or(Bson::Null, |ip| bytes(&ip)),
    })?;
    let moved = UpdateOneModel::builder()
        .namespace(tenant.collection::<Document>(schema::AUDIT_HEAD).namespace())
        .filter(doc! { "_id": HEAD_ID, "tenant_id": tenant.id().as_str(), "size": seq })
        .update(doc! { "$set": serialize_to_bson(&tree)? })
        .build();
    // One command for both: this is the last wait of every write but its commit.
    let both = [WriteModel::from(stored), WriteModel::from(moved)];
    let done = tenant.database.client.bulk_write(both).session(session).await?;
    if (done.inserted_count, done.matched_count) != (1, 1) {
        return Err(StoreError::defect("the audit head was not where this transaction left it"));
    }
    Ok(())
}

/// What to look for in the audit trail; absent members do not restrict.
#[derive(Debug, Clone, Default)]
pub struct AuditFilter {
    /// Id of the actor.
    pub actor: Option<String>,
    /// Action, such as `batch.create`.
    pub action: Option<String>,
    /// Type of the resource.
    pub resource_type: Option<String>,
    /// Id of the resource.
    pub resource_id: Option<String>,
    /// Not before.
    pub from: Option<Timestamp>,
    /// Before.
    pub to: Option<Timestamp>,
    /// Source address, in its canonical text.
    pub ip: Option<String>,
}

impl AuditFilter {
    fn query(&self, tenant: &Tenant) -> Result<Document, StoreError> {
        let mut query = doc! { "tenant_id": tenant.id().as_str() };
        if let Some(ip) = &self.ip {
            query.insert(IP_INDEX, bytes(&tenant.keys.blind(IP_INDEX, ip.as_bytes())?));
        }
        // Fields as in `INDEXED`.
        for (field, value) in [
            ("entry.actor.id", self.actor.as_ref()),
            ("entry.action", self.action.as_ref()),
            ("entry.resource.type", self.resource_type.as_ref()),
            ("entry.resource.id", self.resource_id.as_ref()),
        ] {
            if let Some(value) = value {
                // A text is no operator. The local server uses no index for `$eq`.
                query.insert(field, value);
            }
        }
        let mut at = Document::new();
        if let Some(from) = self.from {
            at.insert("$gte", bound_of_time(from));
        }
        if let Some(to) = self.to {
            at.insert("$lt", bound_of_time(to));
        }
        if !at.is_empty() {
            query.insert("at", at);
        }
        Ok(query)
    }

    /// Whether one index has all that fits, newest first and little else. The
    /// id of a resource has its type with it; of a period the numbers are known,
    /// but for some entries at its ends.
    fn is_indexed(&self) -> bool {
        let by_resource = self.resource_type.is_some() || self.resource_id.is_some();
        let members = [self.actor.is_some(), self.action.is_some(), by_resource, self.ip.is_some()];
        members.into_iter().filter(|wanted| *wanted).count() <= 1
    }

    /// Whether a record that the database found fits: of a source address it
    /// knows 16 bits only.
    fn fits(&self, record: &AuditRecord) -> bool {
        self.ip.as_ref().is_none_or(|ip| {
            let source = record.personal.get(SOURCE_IP).and_then(|found| found.value.as_str());
            source == Some(ip)
        })
    }
}

/// A stored audit entry with the openings of its personal values.
pub struct AuditRecord {
    /// The entry as it entered the tree.
    pub entry: CommittedEntry,
    /// Hash of its leaf, as it was stored with the entry.
    pub leaf: Hash,
    /// What opens its commitments, less what was erased.
    pub personal: Personal,
}

/// What a query found.
pub struct AuditPage {
    /// The entries that fit, newest first.
    pub records: Vec<AuditRecord>,
    /// Where the query stopped though neither enough was found nor the end
    /// reached: what lies below this number was not looked at.
    pub stopped: Option<u64>,
}

/// A read of many entries.
pub struct AuditBatches<'t> {
    tenant: &'t Tenant,
    filter: AuditFilter,
    cursor: mongodb::Cursor<Document>,
    range: Range<u64>,
    left: u32,
}

/// A part of a read of many entries.
pub struct AuditBatch {
    /// The entries that fit, oldest first.
    pub records: Vec<AuditRecord>,
    /// Every entry below this number was looked at.
    pub next: u64,
}

impl AuditBatches<'_> {
    /// The next batch; `None` after the last.
    ///
    /// # Errors
    /// As [`Tenant::audit_entries_where`].
    pub async fn next(&mut self) -> Result<Option<AuditBatch>, StoreError> {
        if self.left == 0 || self.range.is_empty() {
            return Ok(None);
        }
        let mut found = Vec::new();
        while found.len() < BATCH as usize && self.left > 0 {
            let Some(document) = self.cursor.try_next().await? else {
                self.left = 0;
                break;
            };
            found.push(document);
            self.left -= 1;
            if self.left == 0 {
                // The limit, and perhaps not the end of what fits.
                return self.batch(&found, false).await.map(Some);
            }
        }
        self.batch(&found, self.left == 0).await.map(Some)
    }

    async fn batch(&mut self, found: &[Document], last: bool) -> Result<AuditBatch, StoreError> {
        let mut records = self.tenant.audit_records(found).await?;
        let after = records.last().map_or(self.range.start, |record| record.entry.seq + 1);
        self.range.start = if last { self.range.end } else { after };
        records.retain(|record| self.filter.fits(record));
        Ok(AuditBatch { records, next: self.range.start })
    }
}

impl Tenant {
    async fn audit_records(&self, found: &[Document]) -> Result<Vec<AuditRecord>, StoreError> {
        let sealed = found.iter().map(envelopes).collect::<Result<Vec<_>, _>>()?;
        self.prefetch(sealed.iter().flatten().map(|envelope| envelope.subject)).await?;
        let mut records = Vec::with_capacity(found.len());
        for (document, envelopes) in found.iter().zip(sealed) {
            let (entry, leaf) = recorded(document)?;
            // Of what was erased the commitments remain.
            let (personal, _) = self.openings(entry.id.into(), &envelopes).await?;
            records.push(AuditRecord { entry, leaf, personal });
        }
        Ok(records)
    }

    /// What opens the commitments of the entry `id`, and whose values do not
    /// open since they were erased.
    pub(super) async fn openings(
        &self,
        id: Id,
        envelopes: &[Envelope],
    ) -> Result<(Personal, Vec<Subject>), StoreError> {
        let (mut personal, mut erased) = (Personal::new(), Vec::new());
        for envelope in envelopes {
            match self.open_envelope(place(id), envelope).await {
                Ok(plain) => {
                    let openings = serde_json::from_slice::<Personal>(&plain);
                    personal.extend(openings.map_err(StoreError::defect)?);
                }
                Err(CryptoError::Erased) => erased.push(envelope.subject),
                Err(error) => return Err(error.into()),
            }
        }
        Ok((personal, erased))
    }
}

/// A bound of a period, for entries whose time is to the millisecond: of one
/// within a millisecond the next is the bound.
fn bound_of_time(at: Timestamp) -> DateTime {
    let floor = at.as_millisecond();
    let within = at.as_nanosecond() > i128::from(floor) * 1_000_000;
    DateTime::from_millis(floor + i64::from(within))
}

/// The entry in a stored document, with its leaf. Nothing is shown, exported or
/// signed that is not what was recorded, or stands in another's place.
pub(super) fn recorded(document: &Document) -> Result<(CommittedEntry, Hash), StoreError> {
    let only = |field| document.get(field).cloned().unwrap_or(Bson::Null);
    let entry: CommittedEntry = deserialize_from_bson(only("entry"))?;
    let leaf = deserialize_from_bson(only("leaf"))?;
    let seq = seq_of(document)?;
    if entry.seq != seq {
        let found = entry.seq;
        return Err(StoreError::defect(format!("audit entry {found} stands in place of {seq}")));
    }
    if entry.leaf_hash().map_err(StoreError::defect)? != leaf {
        return Err(StoreError::defect(format!("audit entry {seq} is not its leaf's")));
    }
    Ok((entry, leaf))
}

/// The number under which an entry, or the size under which a checkpoint, is
/// stored.
pub(super) fn seq_of(document: &Document) -> Result<u64, StoreError> {
    let seq = document.get_i64("_id").ok().and_then(|seq| u64::try_from(seq).ok());
    seq.ok_or_else(|| StoreError::Trail("something stored in the trail has no number".into()))
}

/// The stages that find the newest of the entries with numbers in `range` that
/// fit `query`, at most `limit`. The first condition is one that a single index
/// answers; MongoDB puts both together and chooses by itself, the local server
/// uses an index for no other.
fn newest_first(query: &Document, range: &Range<u64>, limit: i64) -> Vec<Document> {
    let mut rest = query.clone();
    let mut found = doc! { "_id": { "$gte": bound(range.start), "$lt": bound(range.end) } };
    let leading = INDEXED.into_iter().find(|field| rest.contains_key(field));
    for field in [Some("tenant_id"), leading].into_iter().flatten() {
        if let Some(value) = rest.remove(field) {
            found.insert(field, value);
        }
    }
    vec![
        doc! { "$match": found },
        doc! { "$match": rest },
        doc! { "$sort": { "tenant_id": 1, "_id": -1 } },
        doc! { "$limit": limit },
    ]
}

fn bound(seq: u64) -> i64 {
    i64::try_from(seq).unwrap_or(i64::MAX)
}

pub(super) fn envelopes(document: &Document) -> Result<Vec<Envelope>, StoreError> {
    let stored = document.get_array("personal").map_err(StoreError::defect)?;
    let envelopes: Option<Vec<_>> = stored.iter().map(Envelope::from_bson).collect();
    envelopes.ok_or_else(|| StoreError::defect("personal values of an entry are not sealed"))
}

/// Where the openings of an entry's personal values are sealed.
fn place(entry: Id) -> Place<'static> {
    Place { collection: schema::AUDIT_ENTRIES, document: entry, field: "personal" }
}

impl Tenant {
    /// At most `limit` audit entries that fit, newest first, from below
    /// `before`. Reads no more than 5 times 200 entries, or 5 times `limit` if
    /// that is more, and where no index leads to them the database looks at no
    /// more than some 104,000; there it can stop before anything is found. A
    /// period is looked for where its entries are, give or take 20 minutes; one
    /// that tells a time further from when it was appended is found without a
    /// period only.
    ///
    /// # Errors
    /// [`StoreError`] when the database does not answer.
    pub async fn audit_entries_where(
        &self,
        filter: &AuditFilter,
        before: Option<u64>,
        limit: i64,
    ) -> Result<AuditPage, StoreError> {
        let query = filter.query(self)?;
        let most = usize::try_from(limit).map_err(StoreError::defect)?;
        let at_once = if filter.ip.is_some() { limit.max(CANDIDATES) } else { limit };
        let mut before = match before {
            Some(before) => before,
            None => self.audit_tree().await?.size(),
        };
        let period = self.numbers_of_period(filter).await?;
        before = before.min(period.end);
        let first = period.start.min(before);
        // What is rare is then looked for in all that is older.
        let window = if filter.is_indexed() { u64::MAX } else { WINDOW };
        let mut from = before.saturating_sub(LATELY).max(first);
        let mut fitting = Vec::new();
        for _ in 0..ROUNDS {
            let records = self.newest_within(&query, from..before, at_once).await?;
            let exhausted = i64::try_from(records.len()).is_ok_and(|found| found < at_once);
            let last = records.last().map(|record| record.entry.seq);
            fitting.extend(records.into_iter().filter(|record| filter.fits(record)));
            if fitting.len() >= most || (exhausted && from == first) {
                fitting.truncate(most);
                return Ok(AuditPage { records: fitting, stopped: None });
            }
            (before, from) = if exhausted {
                (from, from.saturating_sub(window).max(first))
            } else {
                (last.unwrap_or(from), from)
            };
        }
        Ok(AuditPage { records: fitting, stopped: Some(before) })
    }

    /// The newest audit entry that fits, of all that there are: for questions of
    /// the code itself, whose filters find little. Not by source address, of
    /// which the database does not know all.
    ///
    /// # Errors
    /// As [`Tenant::audit_entries_where`].
    pub async fn newest_audit_entry(
        &self,
        filter: &AuditFilter,
    ) -> Result<Option<AuditRecord>, StoreError> {
        let query = filter.query(self)?;
        let size = self.audit_tree().await?.size();
        let lately = size.saturating_sub(LATELY);
        let newest = self.newest_within(&query, lately..size, 1).await?.pop();
        match newest {
            None if lately > 0 => Ok(self.newest_within(&query, 0..lately, 1).await?.pop()),
            newest => Ok(newest),
        }
    }

    /// Of the entries with numbers in `range` that the database finds by `query`
    /// the newest, at most `limit`.
    async fn newest_within(
        &self,
        query: &Document,
        range: Range<u64>,
        limit: i64,
    ) -> Result<Vec<AuditRecord>, StoreError> {
        let found: Vec<Document> = self
            .audit_entries()
            .aggregate(newest_first(query, &range, limit))
            .max_time(QUERY_LIMIT)
            .await?
            .try_collect()
            .await?;
        self.audit_records(&found).await
    }

    /// Between which numbers the entries of the filter's period are, and some
    /// others at the ends. What is more than [`SKEW`] older than its beginning
    /// was appended before all of it, what is as much younger than its end after
    /// all of it.
    async fn numbers_of_period(&self, filter: &AuditFilter) -> Result<Range<u64>, StoreError> {
        let mut numbers = 0..u64::MAX;
        if let Some(from) = filter.from {
            let at = |ago| bound_of_time(from.checked_sub(ago).unwrap_or(Timestamp::MIN));
            let near = doc! { "$gte": at(SKEW + NEAR), "$lt": at(SKEW) };
            let rest = doc! { "$lt": at(SKEW + NEAR) };
            if let Some(older) = self.next_in_time(near, rest, -1).await? {
                numbers.start = older + 1;
            }
        }
        if let Some(to) = filter.to {
            let at = |later| bound_of_time(to.checked_add(later).unwrap_or(Timestamp::MAX));
            let near = doc! { "$gte": at(SKEW), "$lt": at(SKEW + NEAR) };
            let rest = doc! { "$gte": at(SKEW + NEAR) };
            if let Some(younger) = self.next_in_time(near, rest, 1).await? {
                numbers.end = younger;
            }
        }
        Ok(numbers)
    }

    /// The number of the entry whose time is `near`, or else in the `rest`: of
    /// several the earliest for the order 1, the latest for -1.
    async fn next_in_time(
        &self,
        near: Document,
        rest: Document,
        order: i32,
    ) -> Result<Option<u64>, StoreError> {
        for at in [near, rest] {
            let found = self
                .audit_entries()
                .find_one(doc! { "tenant_id": self.id().as_str(), "at": at })
                .sort(doc! { "tenant_id": order, "at": order, "_id": -order })
                .max_time(QUERY_LIMIT)
                .await?;
            if let Some(found) = found {
                // What others are looked for by must itself be what was recorded.
                let (entry, _) = recorded(&found)?;
                if time_of(found.get("at")) != Some(entry.at) {
                    let seq = entry.seq;
                    let what = format!("audit entry {seq} is found under another time");
                    return Err(StoreError::defect(what));
                }
                return Ok(Some(entry.seq));
            }
        }
        Ok(None)
    }

    /// Audit entries that fit, oldest first, with numbers in `range`, at most
    /// `limit` of them, in batches.
    ///
    /// # Errors
    /// As [`Tenant::audit_entries_where`].
    pub async fn audit_entries_within(
        &self,
        filter: &AuditFilter,
        range: Range<u64>,
        limit: u32,
    ) -> Result<AuditBatches<'_>, StoreError> {
        let mut query = filter.query(self)?;
        query.insert("_id", doc! { "$gte": bound(range.start), "$lt": bound(range.end) });
        // One cursor for all batches. The index is walked backwards.
        let cursor = self
            .audit_entries()
            .find(query)
            .sort(doc! { "tenant_id": -1, "_id": 1 })
            .limit(limit.into())
            .batch_size(BATCH)
            .await?;
        Ok(AuditBatches { tenant: self, filter: filter.clone(), cursor, range, left: limit })
    }

    /// The audit entry with this number.
    ///
    /// # Errors
    /// As [`Tenant::audit_entries_where`].
    pub async fn audit_entry(&self, seq: u64) -> Result<Option<AuditRecord>, StoreError> {
        let Ok(seq) = i64::try_from(seq) else {
            return Ok(None);
        };
        let only = doc! { "_id": seq, "tenant_id": self.id().as_str() };
        let found = self.audit_entries().find_one(only).await?;
        Ok(self.audit_records(found.as_slice()).await?.pop())
    }

    /// Size and right edge of the audit tree.
    ///
    /// # Errors
    /// As [`Tenant::audit_entries_where`].
    pub async fn audit_tree(&self) -> Result<TreeHead, StoreError> {
        let found = self
            .collection::<Document>(schema::AUDIT_HEAD)
            .find_one(doc! { "_id": HEAD_ID, "tenant_id": self.id().as_str() })
            .await?
            .ok_or_else(|| StoreError::defect("the audit head is missing"))?;
        head_of(&found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_member_is_found_by_its_index_and_two_are_not() {
        let some = |text: &str| Some(text.to_owned());
        let all = AuditFilter::default();
        assert!(all.is_indexed());
        let actor = AuditFilter { actor: some("a"), ..all.clone() };
        assert!(actor.is_indexed());
        let resource = AuditFilter { resource_type: some("t"), resource_id: some("r"), ..all };
        assert!(resource.is_indexed());
        let period = AuditFilter { from: Some(Timestamp::UNIX_EPOCH), ..actor.clone() };
        assert!(period.is_indexed());
        for wider in [
            AuditFilter { action: some("b"), ..actor.clone() },
            AuditFilter { resource_type: some("t"), ..actor },
            AuditFilter { ip: some("::1"), ..resource },
            AuditFilter { action: some("b"), ..period },
        ] {
            assert!(!wider.is_indexed(), "{wider:?}");
        }
    }

    #[test]
    fn the_first_condition_is_one_that_an_index_answers() {
        let numbers = doc! { "$gte": 3_i64, "$lt": i64::MAX };
        let query = |members: Document| {
            let mut query = doc! { "tenant_id": "acme" };
            query.extend(members);
            newest_first(&query, &(3..u64::MAX), 7)
        };
        let later = doc! { "at": { "$gte": 1 } };
        let mut both = doc! { "entry.action": "a", "entry.actor.id": "u" };
        both.extend(later.clone());
        let mut rest = doc! { "entry.action": "a" };
        rest.extend(later.clone());
        let found = doc! { "_id": &numbers, "tenant_id": "acme", "entry.actor.id": "u" };
        assert_eq!(
            query(both),
            [
                doc! { "$match": found },
                doc! { "$match": rest },
                doc! { "$sort": { "tenant_id": 1, "_id": -1 } },
                doc! { "$limit": 7_i64 },
            ]
        );
        let only = query(later.clone());
        assert_eq!(only[0], doc! { "$match": { "_id": numbers, "tenant_id": "acme" } });
        assert_eq!(only[1], doc! { "$match": later });
    }

    #[test]
    fn a_bound_within_a_millisecond_leaves_out_what_is_before_it() {
        let bound = |text: &str| bound_of_time(text.parse().unwrap()).timestamp_millis();
        assert_eq!(bound("1970-01-01T00:00:01.001Z"), 1_001);
        assert_eq!(bound("1970-01-01T00:00:01.0010001Z"), 1_002);
        assert_eq!(bound("1970-01-01T00:00:01.001999999Z"), 1_002);
    }
}
