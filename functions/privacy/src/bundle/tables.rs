//! The tables of a bundle: RFC 4180 in UTF-8, a header line, CRLF. What a
//! spreadsheet would take for a formula gets an apostrophe in front; the JSON
//! has the values as they are.

use keystone::Problem;
use keystone::cell::harmless;
use keystone::tenant::StoreError;
use serde_json::{Map, Value};

use super::Contents;

/// The columns of `activity.csv`.
const ACTIVITY: [&str; 10] = [
    "seq",
    "at",
    "action",
    "outcome",
    "by",
    "resource_type",
    "resource_id",
    "source_ip",
    "user_agent",
    "changes",
];

/// One value of a document.
pub struct Field {
    /// The collection, or `sessions`.
    pub place: &'static str,
    /// Id of the document.
    pub id: String,
    /// Dotted path of the value; of a list with the number, from 0.
    pub path: String,
    /// The value.
    pub value: String,
}

impl Contents {
    /// Every value of every document, in order.
    pub(super) fn fields(&self) -> Vec<Field> {
        let mut fields = Vec::new();
        for holding in &self.dossier.holdings {
            for document in &holding.documents {
                flatten(
                    holding.collection,
                    &document.id.to_string(),
                    &document.fields,
                    &mut fields,
                );
            }
        }
        for session in &self.sessions {
            flatten("sessions", &text(session.get("id")), session, &mut fields);
        }
        fields
    }

    /// `data.csv`.
    pub(super) fn data_table(&self) -> Result<Vec<u8>, Problem> {
        let fields = self.fields();
        let rows = fields.iter().map(|field| [field.place, &field.id, &field.path, &field.value]);
        table(["place", "id", "field", "value"], rows)
    }

    /// `activity.csv`.
    pub(super) fn activity_table(&self) -> Result<Vec<u8>, Problem> {
        let rows: Vec<[String; 10]> = self
            .dossier
            .entries
            .iter()
            .map(|entry| {
                ACTIVITY.map(|column| match column.strip_prefix("resource_") {
                    Some(member) => text(entry.get("resource").and_then(|of| of.get(member))),
                    None => text(entry.get(column)),
                })
            })
            .collect();
        table(ACTIVITY, rows.iter().map(|row| row.each_ref().map(String::as_str)))
    }
}

fn table<'r, const N: usize>(
    columns: [&str; N],
    rows: impl Iterator<Item = [&'r str; N]>,
) -> Result<Vec<u8>, Problem> {
    let mut writer =
        csv::WriterBuilder::new().terminator(csv::Terminator::CRLF).from_writer(Vec::new());
    writer.write_record(columns).map_err(StoreError::defect)?;
    for row in rows {
        let cells = row.map(|cell| harmless(cell).into_owned());
        writer.write_record(cells).map_err(StoreError::defect)?;
    }
    Ok(writer.into_inner().map_err(StoreError::defect)?)
}

fn flatten(place: &'static str, id: &str, fields: &Map<String, Value>, to: &mut Vec<Field>) {
    for (name, value) in fields {
        flatten_value(place, id, name, value, to);
    }
}

fn flatten_value(place: &'static str, id: &str, path: &str, value: &Value, to: &mut Vec<Field>) {
    let mut below = |name: &str, value: &Value| {
        flatten_value(place, id, &format!("{path}.{name}"), value, to);
    };
    match value {
        Value::Object(members) => members.iter().for_each(|(name, value)| below(name, value)),
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(at, value)| below(&at.to_string(), value));
        }
        Value::Null => {}
        other => to.push(Field {
            place,
            id: id.to_owned(),
            path: path.to_owned(),
            value: text(Some(other)),
        }),
    }
}

/// A value as a cell shows it; nothing for what is absent, or an empty list.
pub fn text(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(Value::Array(items)) if items.is_empty() => String::new(),
        Some(other) => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::contents;

    fn rows(table: &[u8]) -> Vec<Vec<String>> {
        let mut reader = csv::Reader::from_reader(table);
        let rows = reader.records().map(|row| row.unwrap().iter().map(Into::into).collect());
        rows.collect()
    }

    #[test]
    fn every_value_has_a_row_and_none_is_a_formula() {
        let rows = rows(&contents(1).data_table().unwrap());
        let shown: Vec<[&str; 2]> = rows.iter().map(|row| [&*row[2], &*row[3]]).collect();
        let expected = [
            ["delivery_address.line1", "'=1 Quay \"Street\"\u{202e}"],
            ["list.0", "a"],
            ["list.1.b", "0"],
            ["phone", "'+353861234567"],
        ];
        let mut sorted = shown.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, expected);
        assert!(rows.iter().all(|row| row[0] == "customers"));
    }

    #[test]
    fn an_entry_is_a_row() {
        let rows = rows(&contents(2).activity_table().unwrap());
        assert_eq!(rows.len(), 2);
        assert_eq!(
            rows[1][..8],
            [
                "1",
                "2026-01-01T00:00:00.000Z",
                "customer.update",
                "success",
                "user",
                "customer",
                "x",
                "10.0.0.1"
            ]
        );
        assert!(rows[1][9].contains("/phone"));
    }
}
