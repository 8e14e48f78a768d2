//! The readable part of a bundle: what it is, what it holds, and the rights of
//! whoever gets it.

use keystone::Problem;
use keystone::tenant::StoreError;
use keystone_report::{Column, Fonts, Part, Pen, Report, Table, render, time};
use serde_json::Value;

use super::Contents;
use super::tables::{Field, text};

/// What a collection is called in words.
fn in_words(collection: &str) -> &str {
    match collection {
        "users" => "Your account",
        "mailed_tokens" => "Links that were mailed to you",
        "settings" => "You as a contact of the organisation",
        "suppliers" => "You as a supplier's contact",
        "customers" => "You as a customer's contact",
        "batches" => "Lots that came from you",
        "outbox" => "Messages to you",
        "idempotency" => "Copies of answers, kept for a day",
        "erasures" => "Erasures of your data",
        "audit_exports" => "Exports that you asked for",
        "audit_reviews" => "Reviews that you attested",
        "lot_movements" => "Goods that came from you or went to you",
        "event_history" => "Statuses that you set",
        "recalls" => "Recalls that you started or closed",
        "recall_findings" => "Goods of recalls that came from you or went to you",
        "recall_notices" => "What was said to you, or recorded by you, in recalls",
        "recall_packs" => "Recall packs that you made",
        "data_subject_requests" => "Requests about your data",
        "notices" => "Notices that you acknowledged",
        "sub_processor_notices" => "Your objections to sub-processors",
        "operator_accesses" => "Accesses of Keystone's staff that you ended",
        "sessions" => "Sessions in which you are signed in",
        other => other,
    }
}

const RIGHTS: [&str; 4] = [
    "You can ask for wrong data to be put right (Art. 16 GDPR), for your data to be erased (Art. \
     17) or used no further (Art. 18), and you can object to its use (Art. 21).",
    "You can complain to a supervisory authority (Art. 77), in Ireland the Data Protection \
     Commission.",
    "For which purposes, on which legal basis and for how long your data is used, who else \
     receives it, and where it came from, the controller's privacy notice says; the controller \
     adds what is special to you.",
    "Data about other people is left out (Art. 15(4)). Passwords and other means of signing in \
     are not handed out to anybody.",
];

impl Contents {
    /// `summary.pdf`.
    pub(super) fn paper(&self) -> Result<Vec<u8>, Problem> {
        let fonts = Fonts::load().map_err(StoreError::defect)?;
        let mut pen = Pen::new(&fonts);
        self.front(&mut pen);
        let data = Data(self.fields());
        let activity = Activity(self);
        let report = Report {
            title: format!("Personal data held by {}", self.tenant_name),
            footer: format!(
                "Personal data held by {}, request {}, {} UTC",
                self.tenant_name,
                self.request.id,
                time(self.made_at)
            ),
            made_at: self.made_at,
            parts: vec![Part::Text(pen.pages()), Part::Table(&data), Part::Table(&activity)],
            attachments: Vec::new(),
        };
        Ok(render(&fonts, report).map_err(StoreError::defect)?)
    }

    fn front(&self, pen: &mut Pen<'_>) {
        pen.heading(20.0, 26.0, "Your personal data");
        pen.write(0.0, 12.0, 22.0, false, &self.tenant_name);
        let request = &self.request.entity;
        pen.fact("Request", &self.request.id.to_string());
        pen.fact("For", request.kind.words());
        pen.fact("Received on", &request.received_on.to_string());
        pen.fact("Made at (UTC)", &time(self.made_at));
        pen.fact("You are here", &self.subject.to_string());
        if self.period.from.is_some() || self.period.to.is_some() {
            let bound = |at: Option<_>| at.map_or("any time".to_owned(), time);
            let (from, to) = (bound(self.period.from), bound(self.period.to));
            pen.fact("Period (UTC)", &format!("{from} to {to}"));
        }
        pen.heading(14.0, 22.0, "What is held");
        for holding in &self.dossier.holdings {
            pen.fact(&holding.documents.len().to_string(), in_words(holding.collection));
        }
        if !self.sessions.is_empty() {
            pen.fact(&self.sessions.len().to_string(), "Sessions in which you are signed in");
        }
        pen.fact(
            &self.dossier.entries.len().to_string(),
            "Records of what you did, or what was done with your data",
        );
        pen.heading(14.0, 22.0, "Your rights, and what is not here");
        for text in RIGHTS {
            pen.paragraph(text);
        }
        pen.paragraph(
            "The same data is in data.json, for programs, and in data.csv and activity.csv, for \
             spreadsheets.",
        );
    }
}

/// Every value that is held.
struct Data(Vec<Field>);

const DATA: [Column; 4] = [
    Column { heading: "What", width: 190.0 },
    Column { heading: "Record", width: 170.0 },
    Column { heading: "Field", width: 150.0 },
    Column { heading: "Value", width: 260.0 },
];

impl Table for Data {
    fn title(&self) -> &'static str {
        "Your data"
    }

    fn columns(&self) -> &[Column] {
        &DATA
    }

    fn rows(&self) -> usize {
        self.0.len()
    }

    fn row(&self, index: usize, cell: &mut dyn FnMut(usize, &str)) {
        let Some(field) = self.0.get(index) else { return };
        cell(0, in_words(field.place));
        cell(1, &field.id);
        cell(2, &field.path);
        cell(3, &field.value);
    }
}

/// The audit entries.
struct Activity<'c>(&'c Contents);

const ACTIVITY: [Column; 5] = [
    Column { heading: "Time (UTC)", width: 115.0 },
    Column { heading: "Action", width: 130.0 },
    Column { heading: "By whom, with what result", width: 120.0 },
    Column { heading: "Of what", width: 165.0 },
    Column { heading: "Address, client, your data in it", width: 240.0 },
];

impl Table for Activity<'_> {
    fn title(&self) -> &'static str {
        "What you did, and what was done with your data"
    }

    fn columns(&self) -> &[Column] {
        &ACTIVITY
    }

    fn rows(&self) -> usize {
        self.0.dossier.entries.len()
    }

    fn row(&self, index: usize, cell: &mut dyn FnMut(usize, &str)) {
        let Some(entry) = self.0.dossier.entries.get(index) else { return };
        cell(0, &text(entry.get("at")));
        cell(1, &text(entry.get("action")));
        cell(2, &text(entry.get("by")));
        cell(2, &text(entry.get("outcome")));
        let resource = |member: &str| text(entry.get("resource").and_then(|of| of.get(member)));
        cell(3, &resource("type"));
        cell(3, &resource("id"));
        for member in ["source_ip", "user_agent"] {
            if let Some(value) = entry.get(member) {
                cell(4, &text(Some(value)));
            }
        }
        for change in entry.get("changes").and_then(Value::as_array).into_iter().flatten() {
            let (path, value) = (text(change.get("path")), text(change.get("value")));
            cell(4, &format!("{path}: {value}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use keystone::tenant::schema;

    use super::*;

    #[test]
    fn every_collection_that_names_people_has_words() {
        for collection in schema::COLLECTIONS {
            let named = collection.people.is_some_and(|people| !people.references.is_empty());
            if named {
                assert_ne!(in_words(collection.name), collection.name);
            }
        }
    }
}
