//! The signed report of an incident: what a controller needs for its own
//! notification (Art. 33(3) GDPR) and its documentation (Art. 33(5)), as a
//! PDF/A-3b. It shows the incident as it is when it is made.

use jiff::Timestamp;
use keystone::Problem;
use keystone::audit::merkle::Hash;
use keystone::config::Setting;
use keystone::http::Call;
use keystone::mail::State as MailState;
use keystone::tenant::{Id, StoreError};
use keystone_report::{
    Attachment, Column, Fonts, LINK_LIFE, Part, Pen, Report, Signer, Storage, Table, render, time,
};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::json;

use crate::clocks::OurState;
use crate::incident::IncidentView;

/// What a function needs that makes reports.
pub const MAKER_SETTINGS: [Setting; 3] =
    [Setting::ReportSigningKey, Setting::ReportCertificateSecret, Setting::ExportBucket];

/// A report that was made.
#[derive(Clone, Serialize, JsonSchema)]
#[schemars(rename = "IncidentReport")]
pub struct Made {
    /// The incident.
    incident_id: Id,
    /// Name of the file.
    name: String,
    /// Length in bytes.
    size: u64,
    /// SHA-256 of the whole file, hex; the audit trail holds it too.
    sha256: String,
    /// Where to fetch it, for five minutes; another can be made at any time.
    url: String,
}

impl Made {
    /// SHA-256 of the whole file, hex.
    pub fn sha256(&self) -> &str {
        &self.sha256
    }
}

/// Where the audit trail stood.
struct Trail {
    size: u64,
    root: Hash,
    /// The last signed checkpoint, which covers what came before it.
    checkpoint: Option<String>,
}

/// All that a report shows.
struct Contents {
    incident: IncidentView,
    trail: Trail,
    tenant_name: String,
    tenant_id: String,
    made_at: Timestamp,
    made_by: String,
}

/// Makes and stores the report of an incident. Nothing refers to the file but
/// the answer, and the bucket deletes it.
///
/// # Errors
/// 404 when there is no such incident; 503 when a store does not answer.
pub async fn make(call: &Call, incident: Id) -> Result<Made, Problem> {
    let contents = Contents::read(call, incident).await?;
    let signer = Signer::load(call.platform(), call.now()).await?;
    let pdf = contents.render()?;
    let pdf = signer.sign(pdf, "Incident report", call.now()).await?;
    let (size, sha256) = (pdf.len() as u64, Hash::of(&[&pdf]));
    let slug = call.tenant().id();
    let key = format!("incidents/{slug}/{incident}/{}.pdf", call.new_id()?);
    let storage = Storage::new(call.platform()).await?;
    storage.put(&key, "application/pdf", pdf, sha256).await?;
    let name = format!("{slug}-incident-{incident}.pdf");
    let url = storage.link(slug, &key, &name).await?;
    Ok(Made { incident_id: incident, name, size, sha256: sha256.to_string(), url })
}

impl Contents {
    async fn read(call: &Call, id: Id) -> Result<Self, Problem> {
        let tenant = call.tenant();
        let incident = IncidentView::whole(tenant, id, call.now()).await?;
        let tree = tenant.audit_tree().await?;
        let checkpoint = tenant.last_checkpoint().await?.map(|last| last.link.checkpoint);
        Ok(Self {
            incident,
            trail: Trail { size: tree.size(), root: tree.root(), checkpoint },
            tenant_name: tenant.profile().legal_name.clone(),
            tenant_id: tenant.id().to_string(),
            made_at: call.now(),
            made_by: format!("{} ({})", call.principal().user(), call.principal().role().name()),
        })
    }

    /// The report before it is signed.
    fn render(&self) -> Result<Vec<u8>, Problem> {
        let fonts = Fonts::load().map_err(StoreError::defect)?;
        let mut pen = Pen::new(&fonts);
        self.write(&mut pen);
        let (told, timeline) = (ToldTable(&self.incident), Timeline(&self.incident));
        let report = Report {
            title: format!("Incident report for {}", self.tenant_name),
            footer: format!(
                "Incident {} of {} ({}), {} UTC",
                self.incident.id,
                self.tenant_name,
                self.tenant_id,
                time(self.made_at)
            ),
            made_at: self.made_at,
            parts: vec![Part::Text(pen.pages()), Part::Table(&told), Part::Table(&timeline)],
            attachments: self.attachments()?,
        };
        Ok(render(&fonts, report).map_err(StoreError::defect)?)
    }

    fn write(&self, pen: &mut Pen<'_>) {
        let incident = &self.incident;
        pen.heading(20.0, 26.0, "Incident report");
        pen.write(0.0, 12.0, 22.0, false, &self.tenant_name);
        pen.fact("Incident", &incident.id.to_string());
        pen.fact("Confirmed (UTC)", &time(incident.confirmed_at));
        pen.heading(11.0, 15.0, "The breach (GDPR Art. 33(3))");
        pen.fact("(a) Nature", &incident.nature);
        pen.fact("(a) People", &incident.affected.subjects_in_words());
        pen.fact("(a) Records", &incident.affected.records_in_words());
        pen.fact("(b) Contact", &incident.contact.in_words());
        pen.fact("(c) Consequences", &incident.consequences);
        pen.fact("(d) Measures", &incident.measures);
        for told in &incident.told {
            if let Some(text) = &told.text {
                pen.fact(&format!("Since then, {}", told.sequence), text);
            }
        }
        self.clocks(pen);
        for told in incident.by_hand.iter().chain(&incident.updates_by_hand) {
            let what = match told.sequence {
                0 => "Told by hand".to_owned(),
                update => format!("By hand, {update}"),
            };
            pen.fact(&what, &format!("{}: {}", time(told.at), told.how));
        }
        pen.heading(11.0, 15.0, "Record");
        pen.fact("Made at (UTC)", &time(self.made_at));
        pen.fact("Made by", &self.made_by);
        pen.fact("Audit trail", &format!("{} entries", self.trail.size));
        pen.fact("Merkle root", &self.trail.root.to_string());
        match &self.trail.checkpoint {
            Some(checkpoint) => {
                for (index, line) in checkpoint.lines().enumerate() {
                    pen.fact(if index == 0 { "Last checkpoint" } else { "" }, line);
                }
            }
            None => pen.fact("Last checkpoint", "none is signed yet"),
        }
        pen.heading(11.0, 15.0, "How to verify this report");
        for text in VERIFY {
            pen.paragraph(text);
        }
    }

    fn clocks(&self, pen: &mut Pen<'_>) {
        let (ours, yours) = (&self.incident.clocks.ours, &self.incident.clocks.yours);
        pen.heading(11.0, 15.0, "Our clock as processor (Art. 33(2))");
        pen.fact("Target (UTC)", &format!("{} (24 hours)", time(ours.target)));
        pen.fact("Deadline (UTC)", &format!("{} (72 hours)", time(ours.deadline)));
        let delivered = ours.delivered_at.map_or("not yet".to_owned(), time);
        pen.fact("Delivered (UTC)", &delivered);
        let state = match ours.state {
            OurState::Running => "runs, within the target",
            OurState::Late => "runs, target NOT met",
            OurState::WithinTarget => "target met",
            OurState::WithinDeadline => "deadline met, target NOT met",
            OurState::Missed => "deadline NOT met",
        };
        pen.fact("State", state);
        pen.heading(11.0, 15.0, "Your clock as controller (Art. 33(1))");
        match (yours.started_at, yours.deadline) {
            (Some(started), Some(deadline)) => {
                pen.fact("Started (UTC)", &format!("{}, our notice", time(started)));
                let over = if yours.over { ", over" } else { "" };
                pen.fact("Deadline (UTC)", &format!("{} (72 hours){over}", time(deadline)));
            }
            _ => pen.fact("Started (UTC)", "not yet: our notice is not delivered"),
        }
    }

    fn attachments(&self) -> Result<Vec<Attachment<'static>>, Problem> {
        let json = json!({
            "format": "keystone-incident/1",
            "tenant": self.tenant_id,
            "made_at": self.made_at,
            "incident": self.incident,
            "audit": {
                "size": self.trail.size,
                "root": self.trail.root,
                "checkpoint": self.trail.checkpoint,
            },
        });
        Ok(vec![Attachment {
            name: "incident.json",
            mime: "application/json",
            description: "What this report says, machine-readable",
            bytes: serde_json::to_vec_pretty(&json).map_err(StoreError::defect)?,
        }])
    }
}

const VERIFY: [&str; 3] = [
    "1. Signature: open this file in a PDF reader that checks signatures, or run pdfsig. The \
     signature must be valid and cover the whole document.",
    "2. File: compare the SHA-256 of the whole file with the one that the audit trail recorded \
     when this report was made (incident_report.create).",
    "3. Trail: ask for proofs of the entries of this incident (incident.notify, incident.update, \
     incident.write_again; mail.send of its letters) and check them with keystone-verify against a \
     checkpoint of at least the size printed above.",
];

const fn column(heading: &'static str, width: f32) -> Column {
    Column { heading, width }
}

/// What the tenant was told, and how far the mails came.
struct ToldTable<'v>(&'v IncidentView);

const TOLD: [Column; 4] = [
    column("No.", 40.0),
    column("Recorded (UTC)", 130.0),
    column("Mail", 200.0),
    column("Text", 400.0),
];

impl Table for ToldTable<'_> {
    fn title(&self) -> &'static str {
        "What was told"
    }

    fn columns(&self) -> &[Column] {
        &TOLD
    }

    fn rows(&self) -> usize {
        self.0.told.len()
    }

    fn row(&self, index: usize, cell: &mut dyn FnMut(usize, &str)) {
        let Some(told) = self.0.told.get(index) else { return };
        cell(0, &told.sequence.to_string());
        cell(1, &time(told.at));
        let state = match told.mail.state {
            MailState::Pending => "waits".to_owned(),
            MailState::Sent => format!("sent {}", time(told.mail.since)),
            MailState::Failed => format!("given up {}", time(told.mail.since)),
            MailState::Bounced => format!("came back {}", time(told.mail.since)),
        };
        cell(2, &state);
        cell(3, told.text.as_deref().unwrap_or("The notice: all of the section above."));
    }
}

/// All that happened.
struct Timeline<'v>(&'v IncidentView);

const TIMELINE: [Column; 3] =
    [column("Time (UTC)", 130.0), column("What", 300.0), column("Which, and by whom", 340.0)];

impl Table for Timeline<'_> {
    fn title(&self) -> &'static str {
        "Timeline"
    }

    fn columns(&self) -> &[Column] {
        &TIMELINE
    }

    fn rows(&self) -> usize {
        self.0.timeline.len()
    }

    fn row(&self, index: usize, cell: &mut dyn FnMut(usize, &str)) {
        let Some(entry) = self.0.timeline.get(index) else { return };
        cell(0, &time(entry.at));
        cell(1, entry.what.words());
        match entry.sequence {
            Some(0) => cell(2, "the notice"),
            Some(number) => cell(2, &format!("further information {number}")),
            None => {}
        }
        if let Some(by) = entry.by {
            cell(2, &by.to_string());
        }
    }
}

/// The link's life, for what the answer says of it to be true.
const _: () = assert!(LINK_LIFE.as_secs() == 300, "five minutes");

#[cfg(test)]
mod tests {
    use super::*;
    use crate::incident::tests::view;

    #[test]
    fn a_report_of_any_text_conforms() {
        let texts = ["plain", "controls \u{0}\u{202e} and 🧀, 乳製品, مرحبا", &"long ".repeat(400)];
        for (text, letters) in texts.into_iter().zip([
            vec![],
            vec![MailState::Sent, MailState::Failed, MailState::Bounced],
            vec![MailState::Pending; 200],
        ]) {
            let mut incident = view(&letters, Timestamp::UNIX_EPOCH);
            incident.nature = text.to_owned();
            let contents = Contents {
                incident,
                trail: Trail { size: 3, root: Hash([7; 32]), checkpoint: None },
                tenant_name: "Acme Dairy Co-operative Ltd".into(),
                tenant_id: "acme-dairy".into(),
                made_at: Timestamp::UNIX_EPOCH,
                made_by: "somebody".into(),
            };
            assert!(contents.render().unwrap().starts_with(b"%PDF-1.7"), "{text}");
        }
    }
}
