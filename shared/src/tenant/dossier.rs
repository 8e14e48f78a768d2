//! What a tenant holds of one person (GDPR Art. 15(1) and (3), Art. 20), found
//! by what the schema says of every collection, and the audit entries that
//! name them. Of others there is nothing in it (Art. 15(4)): what was sealed
//! for somebody else stays closed, and other people's ids are left out.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashSet};

use futures::TryStreamExt;
use jiff::Timestamp;
use mongodb::bson::{Bson, Document, doc, serialize_to_vec};
use serde_json::{Map, Value, json};

use super::audit_log::{SOURCE_IP, USER_AGENT, envelopes, recorded};
use super::portable::PortableDocument;
use super::read::{Filter, to_json};
use super::schema::{Collection, People, Portable, Reference, Spelling};
use super::{Id, StoreError, Tenant, bson_time, schema};
use crate::Problem;
use crate::audit::entry::{CommittedEntry, Personal, at_text};
use crate::crypto::{CryptoError, Envelope, Place, Subject, decode};

/// Most documents that a dossier holds, and most bytes of them as they are
/// stored: it is made within one request.
pub const MOST_DOCUMENTS: usize = 5_000;
const MOST_BYTES: usize = 32 * 1024 * 1024;
/// Most audit entries that a dossier holds.
pub const MOST_ENTRIES: usize = 10_000;

/// What stands in place of another person's id.
const SOMEBODY_ELSE: &str = "(another person)";
/// What stands in place of the token in a link that was mailed.
const WITHHELD: &str = "(withheld)";
/// What comes before such a token.
const TOKEN: &str = "#token=";

/// What is held of a person.
#[derive(Debug)]
pub struct Dossier {
    /// Their documents, by collection in the order of the schema; only
    /// collections that hold some.
    pub holdings: Vec<Holding>,
    /// The audit entries that name them, newest first.
    pub entries: Vec<Map<String, Value>>,
}

/// A person's documents of one collection.
#[derive(Debug)]
pub struct Holding {
    /// The collection.
    pub collection: &'static str,
    /// What is theirs of its documents, newest first, in clear.
    pub documents: Vec<PortableDocument>,
}

/// The time to which a dossier is confined; unbounded where absent.
#[derive(Debug, Clone, Copy, Default)]
pub struct Period {
    /// Not before.
    pub from: Option<Timestamp>,
    /// Before.
    pub to: Option<Timestamp>,
}

impl Period {
    /// As a condition on a time of the database; none if it has no bounds.
    fn condition(self) -> Option<Document> {
        let mut bounds = Document::new();
        bounds.extend(self.from.map(|from| ("$gte".to_owned(), bson_time(from).into())));
        bounds.extend(self.to.map(|to| ("$lt".to_owned(), bson_time(to).into())));
        (!bounds.is_empty()).then_some(bounds)
    }
}

/// What a dossier holds so far.
#[derive(Default)]
struct Held {
    documents: usize,
    bytes: usize,
}

impl Held {
    fn take(&mut self, document: &Document) -> Result<(), Problem> {
        self.documents += 1;
        self.bytes += serialize_to_vec(document).map_err(StoreError::from)?.len();
        let fits = self.documents <= MOST_DOCUMENTS && self.bytes <= MOST_BYTES;
        if fits { Ok(()) } else { Err(too_much()) }
    }
}

/// A stored document, with the references by which it was found.
struct Found {
    document: Document,
    references: Vec<&'static Reference>,
}

impl Tenant {
    /// Whether there is a record of this person.
    ///
    /// # Errors
    /// [`StoreError`] when the database does not answer.
    pub async fn knows(&self, subject: Subject) -> Result<bool, StoreError> {
        let Some((collection, id)) = schema::records_of(subject.kind()).zip(subject.id()) else {
            return Ok(false);
        };
        let one = Filter::all().eq("_id", id.to_string()).for_tenant(self.id());
        Ok(self.entities(collection).find_one(one).await?.is_some())
    }

    /// The requests of people about their data that are about `subject`.
    pub(crate) async fn requests_about(&self, subject: Subject) -> Result<Vec<Id>, StoreError> {
        let about = Filter::all().eq("subject", subject.to_string()).for_tenant(self.id());
        let requests = self.entities(&schema::DATA_SUBJECT_REQUESTS);
        let found = requests.find(about).projection(doc! { "_id": 1 }).await?;
        let found: Vec<Document> = found.try_collect().await?;
        let id = |document: &Document| document.get_str("_id").ok().and_then(|id| id.parse().ok());
        Ok(found.iter().filter_map(id).collect())
    }

    /// Everything that is held of a person; documents that were made and
    /// entries that were recorded in `period`, and their own record in any
    /// case. Whoever hands it out records that first.
    ///
    /// # Errors
    /// 422 for `/from` when there is more than one dossier can hold; 503 when a
    /// store does not answer.
    pub async fn dossier(&self, subject: Subject, period: Period) -> Result<Dossier, Problem> {
        self.prefetch([subject]).await?;
        let (mut holdings, mut held) = (Vec::new(), Held::default());
        for collection in schema::collections_of(self.id()) {
            let found = self.found(collection, subject, period, &mut held).await?;
            let mut documents = Vec::with_capacity(found.len());
            for found in found.into_values().rev() {
                documents.push(self.theirs(collection, subject, found).await?);
            }
            if !documents.is_empty() {
                holdings.push(Holding { collection: collection.name, documents });
            }
        }
        let mut dossier = Dossier { holdings, entries: self.entries_of(subject, period).await? };
        self.leave_out_others(subject, &mut dossier).await?;
        Ok(dossier)
    }

    /// The documents of `collection` that lead to the person, by id.
    async fn found(
        &self,
        collection: &'static Collection,
        subject: Subject,
        period: Period,
        held: &mut Held,
    ) -> Result<BTreeMap<String, Found>, Problem> {
        let name = subject.to_string();
        let references = collection.people.map_or(&[][..], |people| people.references);
        let references = references.iter().filter(|one| one.kind == subject.kind());
        let named = references.map(|one| (one.field.to_owned(), one.spelled(subject), Some(one)));
        let sealed = collection.sealed.iter();
        let sealed = sealed.map(|field| (format!("{field}.sub"), name.clone(), None));
        let mut found: BTreeMap<String, Found> = BTreeMap::new();
        for (field, value, reference) in named.chain(sealed) {
            let mut query = doc! { "tenant_id": self.id().as_str(), field.as_str(): value };
            // One's own record, and what the tenant has one of, belong to any time.
            let timeless = field == "_id" || collection.name == schema::SETTINGS.name;
            if let Some(made) = period.condition().filter(|_| !timeless) {
                query.insert("created_at", made);
            }
            let mut cursor =
                self.entities(collection).find(query).await.map_err(StoreError::from)?;
            while let Some(document) = cursor.try_next().await.map_err(StoreError::from)? {
                let id = document.get_str("_id").map_err(StoreError::defect)?.to_owned();
                let one = match found.entry(id) {
                    Entry::Occupied(known) => known.into_mut(),
                    Entry::Vacant(new) => {
                        held.take(&document)?;
                        new.insert(Found { document, references: Vec::new() })
                    }
                };
                one.references.extend(reference);
            }
        }
        Ok(found)
    }

    /// What is the person's of a document, in clear.
    async fn theirs(
        &self,
        collection: &'static Collection,
        subject: Subject,
        found: Found,
    ) -> Result<PortableDocument, StoreError> {
        let Found { mut document, references } = found;
        let id: Id =
            document.get_str("_id").ok().and_then(|id| id.parse().ok()).ok_or_else(|| {
                StoreError::defect(format!("a document without an id in {}", collection.name))
            })?;
        let withheld = withheld(collection);
        // What was said in a request is the person's whom the request is about.
        let whole = references.iter().any(|reference| reference.theirs.is_empty());
        let said = Subject::Request(id);
        let mut own = Map::new();
        for field in collection.sealed {
            let envelope = document.remove(*field).as_ref().and_then(Envelope::from_bson);
            let envelope = envelope.filter(|envelope| {
                envelope.subject == subject || (whole && envelope.subject == said)
            });
            let Some(envelope) = envelope.filter(|_| !withheld.contains(field)) else { continue };
            let place = Place { collection: collection.name, document: id, field };
            let value = match self.open_envelope(place, &envelope).await {
                Ok(plain) => decode::<Value>(&plain)?,
                Err(CryptoError::Erased) => Value::Null,
                Err(error) => return Err(error.into()),
            };
            own.insert((*field).to_owned(), value);
        }
        for blind in collection.blind {
            document.remove(blind.field);
        }
        document.remove("_id");
        document.remove("tenant_id");
        let Value::Object(plain) = to_json(&Bson::Document(document)) else {
            return Err(StoreError::defect("a document that is none"));
        };
        let mut fields = if whole {
            plain
        } else {
            let names = names_of(subject);
            let paths = references.iter().flat_map(|one| one.theirs);
            let kept = ["created_at", "updated_at"];
            let mut fields = Map::new();
            for path in kept.iter().chain(paths) {
                copy(&plain, &mut fields, path, &names);
            }
            fields
        };
        fields.extend(own);
        let mut fields = Value::Object(fields);
        for path in withheld {
            remove(&mut fields, path);
        }
        let Value::Object(fields) = fields else { return Err(StoreError::defect("no object")) };
        Ok(PortableDocument { id, fields })
    }

    /// The audit entries about the person or with personal values of theirs,
    /// newest first: what they did themselves is among them, since it has
    /// their address.
    async fn entries_of(
        &self,
        subject: Subject,
        period: Period,
    ) -> Result<Vec<Map<String, Value>>, Problem> {
        let mut found: BTreeMap<i64, Document> = BTreeMap::new();
        let by_resource = names_of(subject).map(|name| ("entry.resource.id", name));
        let by_value = ("personal.sub", subject.to_string());
        for (field, name) in by_resource.into_iter().chain([by_value]) {
            let mut query = doc! { "tenant_id": self.id().as_str(), field: name };
            if let Some(at) = period.condition() {
                query.insert("at", at);
            }
            let mut cursor = self
                .audit_entries()
                .find(query)
                .sort(doc! { "tenant_id": 1, "_id": -1 })
                .await
                .map_err(StoreError::from)?;
            while let Some(entry) = cursor.try_next().await.map_err(StoreError::from)? {
                found.insert(entry.get_i64("_id").map_err(StoreError::defect)?, entry);
                if found.len() > MOST_ENTRIES {
                    return Err(too_much());
                }
            }
        }
        let mut entries = Vec::with_capacity(found.len());
        for document in found.into_values().rev() {
            let (entry, _) = recorded(&document)?;
            let mut own = envelopes(&document)?;
            own.retain(|envelope| envelope.subject == subject);
            let (personal, _) = self.openings(entry.id.into(), &own).await?;
            entries.push(entry_of(subject, &entry, &personal));
        }
        Ok(entries)
    }

    /// Takes the ids of other people out of the dossier, and tokens.
    async fn leave_out_others(
        &self,
        subject: Subject,
        dossier: &mut Dossier,
    ) -> Result<(), StoreError> {
        let mut ids = BTreeSet::new();
        dossier.each_text(&mut |text| ids.extend(ids_in(text).map(|(_, id)| id.to_owned())));
        ids.remove(&subject.id().unwrap_or(Id::from_u128(0)).to_string());
        let ids: Vec<String> = ids.into_iter().collect();
        let mut others = HashSet::new();
        for kind in ["user", "supplier", "customer"] {
            let Some(collection) = schema::records_of(kind) else { continue };
            for some in ids.chunks(500) {
                let query = doc! { "tenant_id": self.id().as_str(), "_id": { "$in": some } };
                let records = self.entities(collection);
                let found = records.find(query).projection(doc! { "_id": 1 }).await?;
                let found: Vec<Document> = found.try_collect().await?;
                let id = |document: &Document| document.get_str("_id").ok().map(str::to_owned);
                others.extend(found.iter().filter_map(id));
            }
        }
        dossier.each_text(&mut |text| {
            let mut cleared = text.clone();
            // From the end, so that places stay what they are.
            let places: Vec<(usize, String)> =
                ids_in(text).map(|(at, id)| (at, id.to_owned())).collect();
            for (at, id) in places.into_iter().rev().filter(|(_, id)| others.contains(id)) {
                cleared.replace_range(at..at + id.len(), SOMEBODY_ELSE);
            }
            *text = without_tokens(&cleared);
        });
        Ok(())
    }
}

impl Dossier {
    /// How many documents there are.
    pub fn documents(&self) -> usize {
        self.holdings.iter().map(|holding| holding.documents.len()).sum()
    }

    fn each_text(&mut self, act: &mut impl FnMut(&mut String)) {
        let documents = self.holdings.iter_mut().flat_map(|holding| &mut holding.documents);
        let fields = documents.map(|document| &mut document.fields);
        for object in fields.chain(&mut self.entries) {
            object.values_mut().for_each(|value| each_text(value, act));
        }
    }
}

fn each_text(value: &mut Value, act: &mut impl FnMut(&mut String)) {
    match value {
        Value::String(text) => act(text),
        Value::Array(items) => items.iter_mut().for_each(|item| each_text(item, act)),
        Value::Object(members) => members.values_mut().for_each(|member| each_text(member, act)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

impl Reference {
    /// The person as the field names them.
    fn spelled(&self, subject: Subject) -> String {
        let id = subject.id().map(|id| id.to_string()).unwrap_or_default();
        match self.spelling {
            Spelling::Id => id,
            Spelling::Urn => format!("urn:uuid:{id}"),
            Spelling::Subject => subject.to_string(),
        }
    }
}

/// How a person may be named in a list or as a resource.
fn names_of(subject: Subject) -> [String; 2] {
    [subject.id().map(|id| id.to_string()).unwrap_or_default(), subject.to_string()]
}

/// The paths that are not handed out.
fn withheld(collection: &Collection) -> Vec<&'static str> {
    let kept = match collection.portable {
        Portable::Without(fields) => fields,
        Portable::Nothing => &[],
    };
    let People { withheld, .. } =
        collection.people.unwrap_or(People { references: &[], withheld: &[] });
    kept.iter().chain(withheld).copied().collect()
}

/// Copies what is at the dotted `path`; of a list what names the person.
fn copy(from: &Map<String, Value>, to: &mut Map<String, Value>, path: &str, names: &[String]) {
    let (first, rest) = path.split_once('.').map_or((path, None), |(a, b)| (a, Some(b)));
    match (from.get(first), rest) {
        (Some(Value::Object(inner)), Some(rest)) => {
            let place = to.entry(first).or_insert_with(|| json!({}));
            if let Value::Object(place) = place {
                copy(inner, place, rest, names);
            }
        }
        (Some(Value::Array(items)), None) => {
            let theirs: Vec<Value> =
                items.iter().filter(|item| mentions(item, names)).cloned().collect();
            to.insert(first.to_owned(), Value::Array(theirs));
        }
        (Some(value), None) => {
            to.insert(first.to_owned(), value.clone());
        }
        _ => {}
    }
}

fn mentions(value: &Value, names: &[String]) -> bool {
    match value {
        Value::String(text) => names.contains(text),
        Value::Array(items) => items.iter().any(|item| mentions(item, names)),
        Value::Object(members) => members.values().any(|member| mentions(member, names)),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

fn remove(value: &mut Value, path: &str) {
    let Value::Object(members) = value else { return };
    match path.split_once('.') {
        Some((first, rest)) => {
            if let Some(inner) = members.get_mut(first) {
                remove(inner, rest);
            }
        }
        None => {
            members.remove(path);
        }
    }
}

/// What an entry says of the person: when what was done, by them or about
/// them, and the values that are theirs.
fn entry_of(subject: Subject, entry: &CommittedEntry, personal: &Personal) -> Map<String, Value> {
    let [id, name] = names_of(subject);
    let acted = entry.actor.id == id && subject.kind() == "user";
    let own = (entry.resource.kind == subject.kind() && entry.resource.id == id)
        || entry.resource.id == name;
    let prefix = format!("/{}:{id}/", subject.kind());
    let opened = |path: &str| personal.get(path).map(|opening| opening.value.clone());
    let mut changes = Vec::new();
    for (index, change) in entry.delta.iter().enumerate() {
        let path = |member| format!("/delta/{index}/{member}");
        let (before, value) = if change.personal {
            (opened(&path("before")), opened(&path("value")))
        } else {
            // Other documents stand under their kind and id.
            let others = change.path.split('/').nth(1).is_some_and(|first| first.contains(':'));
            if (own && !others) || change.path.starts_with(&prefix) {
                (change.before.clone(), change.value.clone())
            } else {
                (None, None)
            }
        };
        if before.is_none() && value.is_none() {
            continue;
        }
        let mut shown = Map::from_iter([("path".to_owned(), json!(change.path))]);
        shown.extend(before.map(|before| ("before".to_owned(), before)));
        shown.extend(value.map(|value| ("value".to_owned(), value)));
        changes.push(Value::Object(shown));
    }
    let by = if acted { json!("the person") } else { json!(entry.actor.kind) };
    let mut shown = Map::from_iter([
        ("seq".to_owned(), json!(entry.seq)),
        ("at".to_owned(), json!(at_text(entry.at))),
        ("action".to_owned(), json!(entry.action)),
        ("outcome".to_owned(), json!(entry.outcome)),
        ("by".to_owned(), by),
        ("resource".to_owned(), json!({ "type": entry.resource.kind, "id": entry.resource.id })),
        ("changes".to_owned(), Value::Array(changes)),
    ]);
    for (member, path) in [("source_ip", SOURCE_IP), ("user_agent", USER_AGENT)] {
        shown.extend(opened(path).map(|value| (member.to_owned(), value)));
    }
    shown
}

/// The ids in a text, 36 characters with hyphens, with where they begin.
fn ids_in(text: &str) -> impl Iterator<Item = (usize, &str)> {
    const LEN: usize = 36;
    let is_id = |part: &str| {
        part.bytes().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
    };
    let starts = text.char_indices().map(|(at, _)| at);
    starts.filter_map(move |at| {
        text.get(at..at + LEN).filter(|part| is_id(part)).map(|part| (at, part))
    })
}

/// The text without the tokens of links in it: they let their bearer in.
fn without_tokens(text: &str) -> String {
    let mut parts = text.split(TOKEN);
    let mut cleared = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        cleared.push_str(TOKEN);
        cleared.push_str(WITHHELD);
        cleared.push_str(part.trim_start_matches(|c: char| c.is_ascii_alphanumeric()));
    }
    cleared
}

fn too_much() -> Problem {
    Problem::invalid(
        "/from",
        format!(
            "There is more than one bundle holds ({MOST_DOCUMENTS} documents of 32 MiB in \
             all, {MOST_ENTRIES} audit entries). Ask for several periods, one after another."
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_found_wherever_they_stand() {
        let id = "01890000-0000-7000-8000-000000000000";
        for (text, at) in [
            (id.to_owned(), vec![0]),
            (format!("urn:uuid:{id}"), vec![9]),
            (format!("ä user:{id} and {id}."), vec![8, 49]),
            (id[1..].to_owned(), vec![]),
            ("01890000x0000-7000-8000-000000000000".to_owned(), vec![]),
            (String::new(), vec![]),
        ] {
            let found: Vec<usize> = ids_in(&text).map(|(at, _)| at).collect();
            assert_eq!(found, at, "{text}");
        }
    }

    #[test]
    fn no_token_is_left() {
        let text = "Go to https://x.example/invitations/acme#token=0af9\n\nor #token= not";
        let cleared = "Go to https://x.example/invitations/acme#token=(withheld)\n\n\
                       or #token=(withheld) not";
        assert_eq!(without_tokens(text), cleared);
        assert_eq!(without_tokens("nothing"), "nothing");
    }

    #[test]
    fn of_a_list_only_what_names_the_person_is_copied() {
        let subject = Subject::Customer(Id::from_u128(7));
        let names = names_of(subject);
        let mine = json!({ "recipient": names[0], "lots": [1] });
        let document = json!({
            "recipients": [mine, { "recipient": "somebody", "lots": [2] }],
            "contacts": { "primary": { "name": "A" }, "billing": { "name": "B" } },
            "other": 1,
        });
        let Value::Object(document) = document else { panic!() };
        let mut copied = Map::new();
        for path in ["recipients", "contacts.primary", "contacts.security", "none"] {
            copy(&document, &mut copied, path, &names);
        }
        let expected = json!({ "recipients": [mine], "contacts": { "primary": { "name": "A" } } });
        assert_eq!(Value::Object(copied), expected);
        let mut withheld = expected.clone();
        remove(&mut withheld, "contacts.primary.name");
        remove(&mut withheld, "recipients");
        remove(&mut withheld, "nothing.at.all");
        assert_eq!(withheld, json!({ "contacts": { "primary": {} } }));
    }
}
