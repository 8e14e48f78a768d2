//! Bundles: everything that a tenant holds of a person, for that person (GDPR
//! Art. 15(3), Art. 20(1)): machine-readable as JSON and CSV, readable as PDF,
//! in one ZIP file.

mod paper;
mod tables;

use std::collections::BTreeMap;
use std::io::{Cursor, Write as _};

use jiff::Timestamp;
use keystone::audit::merkle::Hash;
use keystone::crypto::Subject;
use keystone::http::Call;
use keystone::tenant::{Dossier, Id, Period, StoreError, Stored, Tenant};
use keystone::{Problem, bundles, erasure, random};
use keystone_report::{LINK_LIFE, Storage};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

use crate::request::{LastBundle, State, SubjectRequest};

/// The form of `data.json`; a reader refuses what it does not know.
const FORMAT: &str = "keystone-subject-data/1";

/// A bundle to be made.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "NewSubjectBundle")]
pub struct NewBundle {
    /// Only what was recorded at this moment or later. The person's own record
    /// is in every bundle.
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    from: Option<Timestamp>,
    /// Only what was recorded before this moment.
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    to: Option<Timestamp>,
}

/// A bundle that was made.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "SubjectBundle")]
pub struct BundleView {
    /// Id.
    id: Id,
    /// The request.
    request_id: Id,
    /// Documents in it.
    documents: usize,
    /// Audit entries in it.
    entries: usize,
    /// Name of the file.
    name: String,
    /// Length in bytes.
    size: usize,
    /// SHA-256 of the file, hex; the audit trail holds it too.
    sha256: String,
    /// Where to fetch it, for five minutes. Another bundle can be made at any
    /// time.
    url: String,
}

/// A bundle, stored.
pub struct Bundle {
    view: BundleView,
    key: String,
    request_version: i64,
    subject: Subject,
    /// The erasures of the person before their data was read.
    erasures: Vec<Id>,
    period: Period,
    /// How many documents there are of each collection.
    counts: BTreeMap<&'static str, usize>,
}

/// All that a bundle shows.
struct Contents {
    tenant_name: String,
    tenant_id: String,
    request: Stored<SubjectRequest>,
    subject: Subject,
    erasures: Vec<Id>,
    dossier: Dossier,
    /// Sessions of a user that are alive, which lie outside the database.
    sessions: Vec<Map<String, Value>>,
    period: Period,
    made_at: Timestamp,
}

impl NewBundle {
    /// Makes the bundle `id` for a request and stores its file. Nothing refers
    /// to the file until the request says that there is one.
    ///
    /// # Errors
    /// 404 when there is no such request; 409 when it asks for no data, or is
    /// not being answered, or who asks is not confirmed, or the person is being
    /// erased; 422 when a shorter period must be asked for; 503 when a store does
    /// not answer.
    pub async fn make(&self, call: &Call, request: Id, id: Id) -> Result<Bundle, Problem> {
        let contents = self.read(call, request).await?;
        let bytes = contents.zipped()?;
        let sha256 = Hash::of(&[&bytes]);
        let tenant = call.tenant().id();
        let key = format!("{}{id}.zip", bundles::folder(tenant, request));
        let name = format!("{tenant}-personal-data-{id}.zip");
        let size = bytes.len();
        let storage = Storage::new(call.platform()).await?;
        storage.put(&key, "application/zip", bytes, sha256).await?;
        let holdings = contents.dossier.holdings.iter();
        Ok(Bundle {
            view: BundleView {
                id,
                request_id: request,
                documents: contents.dossier.documents(),
                entries: contents.dossier.entries.len(),
                url: storage.link(tenant, &key, &name).await?,
                name,
                size,
                sha256: sha256.to_string(),
            },
            key,
            request_version: contents.request.version,
            subject: contents.subject,
            erasures: contents.erasures,
            period: contents.period,
            counts: holdings.map(|holding| (holding.collection, holding.documents.len())).collect(),
        })
    }

    async fn read(&self, call: &Call, request: Id) -> Result<Contents, Problem> {
        let tenant = call.tenant();
        let request = tenant.get::<SubjectRequest>(request).await?.ok_or(Problem::NotFound)?;
        let subject = ready(&request.entity)?;
        if let (Some(from), Some(to)) = (self.from, self.to)
            && from >= to
        {
            return Err(Problem::invalid("/to", "Must be later than the beginning."));
        }
        let period = Period { from: self.from, to: self.to };
        // Before anything of the person is read: see `Bundle::must_not_outlive`.
        let erasures = erasure::concluded_of(tenant, subject).await?;
        let sessions = match subject {
            Subject::User(user) => sessions(call, user).await?,
            _ => Vec::new(),
        };
        Ok(Contents {
            tenant_name: tenant.profile().legal_name.clone(),
            tenant_id: tenant.id().to_string(),
            request,
            subject,
            erasures,
            dossier: tenant.dossier(subject, period).await?,
            sessions,
            period,
            made_at: call.now(),
        })
    }
}

/// Whom a bundle for this request is about, if one can be made.
fn ready(request: &SubjectRequest) -> Result<Subject, Problem> {
    let conflict = |detail: &str| Problem::Conflict(detail.to_owned());
    if !request.kind.wants_bundle() {
        return Err(conflict("Only requests of access and portability get a bundle."));
    }
    let subject = request.person();
    let subject =
        subject.ok_or_else(|| conflict("Say first whom the request is about (subject)."))?;
    request.must_be_identified()?;
    if request.state != State::InProgress {
        return Err(conflict("The request is not in_progress."));
    }
    Ok(subject)
}

/// The sessions of a user that are alive.
async fn sessions(call: &Call, user: Id) -> Result<Vec<Map<String, Value>>, Problem> {
    let sessions = call.platform().sessions().await?.of_user(user, call.now()).await?;
    let shown = sessions.into_iter().map(|session| {
        Map::from_iter([
            ("id".to_owned(), json!(session.sid)),
            ("signed_in_at".to_owned(), json!(session.created_at)),
            ("last_seen".to_owned(), json!(session.last_seen)),
            ("ends_at".to_owned(), json!(session.expires_at)),
            ("source_ip".to_owned(), json!(session.source_ip)),
            ("user_agent".to_owned(), json!(session.user_agent)),
            ("proved_by".to_owned(), json!(session.amr)),
        ])
    });
    Ok(shown.collect())
}

impl Bundle {
    /// The version of the request that it was made for.
    pub fn request_version(&self) -> i64 {
        self.request_version
    }

    /// Refuses it if the person was erased since their data was read: it would be
    /// handed out in clear after that. Transactions of a tenant are serial, so in
    /// one that records the bundle no erasure begins any more; one that begins
    /// later finds the file.
    ///
    /// # Errors
    /// 409 when they were, or are being erased; 503 when the database does not
    /// answer.
    pub async fn must_not_outlive(&self, tenant: &Tenant) -> Result<(), Problem> {
        if erasure::concluded_of(tenant, self.subject).await? == self.erasures {
            return Ok(());
        }
        Err(Problem::Conflict("The person was erased meanwhile.".into()))
    }

    /// Deletes the file of a bundle that was not recorded, or not surely. Nothing
    /// refers to it.
    ///
    /// # Errors
    /// 503 when it does not go: then the bucket deletes it in time.
    pub async fn discard(&self, call: &Call) -> Result<(), Problem> {
        Storage::new(call.platform()).await?.delete(&self.key).await?;
        Ok(())
    }

    /// The bundle as it is shown.
    pub fn view(&self) -> &BundleView {
        &self.view
    }

    /// What the audit trail keeps of it.
    pub fn facts(&self) -> Value {
        let view = &self.view;
        // The number stands where the scope of a breach looks for it.
        json!({ "documents": view.documents, "bundle": {
            "id": view.id,
            "sha256": view.sha256,
            "documents": self.counts,
            "entries": view.entries,
            "from": self.period.from,
            "to": self.period.to,
        } })
    }

    /// The request with this bundle.
    pub fn recorded_in(&self, request: &SubjectRequest, now: Timestamp) -> SubjectRequest {
        let (id, sha256) = (self.view.id, self.view.sha256.clone());
        SubjectRequest {
            bundles: request.bundles + 1,
            last_bundle: Some(LastBundle { id, at: now, sha256 }),
            ..request.clone()
        }
    }
}

impl Contents {
    fn zipped(&self) -> Result<Vec<u8>, Problem> {
        let data = serde_json::to_vec_pretty(&self.data()).map_err(StoreError::defect)?;
        let files = [
            ("summary.pdf", self.paper()?),
            ("data.json", data),
            ("data.csv", self.data_table()?),
            ("activity.csv", self.activity_table()?),
        ];
        let options = SimpleFileOptions::default().compression_method(CompressionMethod::Deflated);
        let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
        // The file's hash stays in the audit trail. Without something that nobody
        // knows, an erased telephone number could be tried against it.
        let unknown = random::bytes::<32>().map_err(StoreError::from)?;
        let unknown = Hash::of(&[&unknown]).to_string();
        zip.set_comment(unknown).map_err(StoreError::defect)?;
        for (name, bytes) in files {
            zip.start_file(name, options).map_err(StoreError::defect)?;
            zip.write_all(&bytes).map_err(StoreError::defect)?;
        }
        Ok(zip.finish().map_err(StoreError::defect)?.into_inner())
    }

    /// All of it, machine-readable.
    fn data(&self) -> Value {
        let collections: Map<String, Value> = self
            .dossier
            .holdings
            .iter()
            .map(|holding| {
                let documents = holding.documents.iter().map(|document| {
                    let mut fields = document.fields.clone();
                    fields.insert("id".to_owned(), json!(document.id));
                    Value::Object(fields)
                });
                (holding.collection.to_owned(), documents.collect())
            })
            .collect();
        json!({
            "format": FORMAT,
            "controller": { "name": self.tenant_name, "id": self.tenant_id },
            "subject": self.subject.to_string(),
            "request": self.request.id,
            "made_at": self.made_at,
            "from": self.period.from,
            "to": self.period.to,
            "data": collections,
            "sessions": self.sessions,
            "activity": self.dossier.entries,
        })
    }
}

/// The link's life, for the route's summary to be true.
const _: () = assert!(LINK_LIFE.as_secs() == 300, "five minutes");

#[cfg(test)]
pub(super) mod tests {
    use std::io::Read as _;

    use keystone::tenant::{Holding, portable::PortableDocument};

    use super::*;
    use crate::request::tests::request;
    use crate::request::{IdentityCheck, IdentityMethod, IdentityResult, Kind};

    fn object(value: Value) -> Map<String, Value> {
        let Value::Object(object) = value else { panic!("no object") };
        object
    }

    /// A bundle with so many documents and entries.
    pub(super) fn contents(count: u64) -> Contents {
        let at = Timestamp::UNIX_EPOCH;
        let document = |n: u64| PortableDocument {
            id: Id::from_u128(u128::from(n)),
            fields: object(json!({
                "phone": "+353861234567",
                "delivery_address": { "line1": "=1 Quay \"Street\"\u{202e}", "town": null },
                "list": ["a", { "b": n }],
            })),
        };
        let entry = |seq: u64| {
            object(json!({
                "seq": seq, "at": "2026-01-01T00:00:00.000Z", "action": "customer.update",
                "outcome": "success", "by": "user", "source_ip": "10.0.0.1",
                "resource": { "type": "customer", "id": "x" },
                "changes": [{ "path": "/phone", "value": "+353861234567" }],
            }))
        };
        let request = request(Kind::Access, State::InProgress);
        let id = Id::from_u128(7);
        Contents {
            tenant_name: "Acme Dairy Ltd".into(),
            tenant_id: "acme-dairy".into(),
            request: Stored { id, version: 3, created_at: at, updated_at: at, entity: request },
            subject: Subject::Customer(Id::from_u128(9)),
            erasures: vec![],
            dossier: Dossier {
                holdings: vec![Holding {
                    collection: "customers",
                    documents: (0..count).map(document).collect(),
                }],
                entries: (0..count).map(entry).collect(),
            },
            sessions: vec![],
            period: Period::default(),
            made_at: at,
        }
    }

    #[test]
    fn a_bundle_of_any_size_holds_its_four_files() {
        for count in [0, 3, 300] {
            let bytes = contents(count).zipped().unwrap();
            assert_ne!(bytes, contents(count).zipped().unwrap(), "nobody can make it again");
            let mut zip = zip::ZipArchive::new(Cursor::new(bytes)).unwrap();
            let names: Vec<String> =
                zip.file_names().map(|name| name.unwrap().into_owned()).collect();
            assert_eq!(names, ["summary.pdf", "data.json", "data.csv", "activity.csv"]);
            let mut text = String::new();
            zip.by_name("data.json").unwrap().read_to_string(&mut text).unwrap();
            let data: Value = serde_json::from_str(&text).unwrap();
            assert_eq!(data["format"], FORMAT);
            let documents = data["data"]["customers"].as_array().unwrap().len() as u64;
            assert_eq!(documents, count);
            let mut pdf = Vec::new();
            zip.by_name("summary.pdf").unwrap().read_to_end(&mut pdf).unwrap();
            assert!(pdf.starts_with(b"%PDF-1.7"), "{count}");
        }
    }

    #[test]
    fn nobody_gets_a_bundle_before_it_is_known_who_they_are() {
        let subject = Subject::User(Id::from_u128(9));
        let mut asked = request(Kind::Access, State::InProgress);
        assert!(ready(&asked).is_err(), "about whom?");
        asked.subject = Some(subject.to_string());
        assert!(ready(&asked).is_err(), "who asks?");
        let (method, on) = (IdentityMethod::SignedIn, asked.received_on);
        let result = IdentityResult::Confirmed;
        asked.identity.push(IdentityCheck { method, result, on });
        assert_eq!(ready(&asked), Ok(subject));
        for other in [Kind::Erasure, Kind::Objection, Kind::Rectification, Kind::Restriction] {
            assert!(ready(&SubjectRequest { kind: other, ..asked.clone() }).is_err());
        }
        for state in [State::Open, State::IdentityCheck, State::Fulfilled, State::Refused] {
            assert!(ready(&SubjectRequest { state, ..asked.clone() }).is_err());
        }
    }
}
