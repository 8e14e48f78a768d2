//! Entries and filters in words, for people who read a report.

use keystone::Problem;
use keystone::audit::entry::ActorKind;
use keystone::tenant::AuditRecord;
use serde_json::Value;

use crate::filter::FilterInput;
use crate::report::Row;
use crate::view::AuditEntryView;

/// The row of an entry.
///
/// # Errors
/// [`Problem::Internal`] when the stored record was tampered with.
pub fn row(record: &AuditRecord) -> Result<Row, Problem> {
    let view = AuditEntryView::new(record)?;
    let entry = &record.entry;
    let kind = match entry.actor.kind {
        ActorKind::User => "user",
        ActorKind::Job => "job",
        ActorKind::Operator => "operator",
        ActorKind::Anonymous => "anonymous",
    };
    let actor = match &entry.actor.role {
        Some(role) => format!("{kind} {} ({role})", entry.actor.id),
        None => format!("{kind} {}", entry.actor.id),
    };
    Ok(Row {
        seq: entry.seq,
        at: entry.at,
        actor,
        action: entry.action.clone(),
        outcome: entry.outcome,
        resource: format!("{} {}", entry.resource.kind, entry.resource.id),
        source_ip: view.source_ip.as_ref().map(in_words).unwrap_or_default(),
        request_id: entry.request_id.clone(),
        changes: view.delta.iter().map(change_in_words).collect(),
        leaf: record.leaf,
    })
}

/// `name: "A" → "B"`.
fn change_in_words(change: &Value) -> String {
    let path = change["path"].as_str().unwrap_or_default().trim_start_matches('/');
    let before = change.get("before").map(in_words);
    let after = change.get("value").map(in_words);
    match (before, after) {
        (Some(before), Some(after)) => format!("{path}: {before} → {after}"),
        (None, Some(after)) => format!("{path}: {after}"),
        (Some(before), None) => format!("{path}: {before} removed"),
        (None, None) => path.to_owned(),
    }
}

fn in_words(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Object(members) => {
            if members.get("erased") == Some(&Value::Bool(true)) {
                return "erased".into();
            }
            match (members.get("sealed"), members.get("secret")) {
                (Some(Value::String(tag)), _) => format!("sealed [{tag}]"),
                (_, Some(Value::String(tag))) => format!("secret [{tag}]"),
                _ => value.to_string(),
            }
        }
        other => other.to_string(),
    }
}

/// What a filter asks for beside the period, one line each.
pub fn describe(filter: &FilterInput) -> Vec<String> {
    let ip = filter.ip.map(|ip| ip.to_string());
    [
        ("actor", &filter.actor),
        ("action", &filter.action),
        ("resource type", &filter.resource_type),
        ("resource id", &filter.resource_id),
        ("source IP", &ip),
    ]
    .into_iter()
    .filter_map(|(name, value)| value.as_ref().map(|value| format!("{name}: {value}")))
    .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn changes_read_like_sentences() {
        let shown = |change: Value| change_in_words(&change);
        assert_eq!(
            shown(
                json!({ "op": "replace", "path": "/state", "before": "available", "value": "on_hold" })
            ),
            "state: available → on_hold"
        );
        assert_eq!(
            shown(json!({ "op": "add", "path": "/banking", "value": { "sealed": "ab12" } })),
            "banking: sealed [ab12]"
        );
        assert_eq!(
            shown(json!({ "op": "remove", "path": "/gln", "before": "123" })),
            "gln: 123 removed"
        );
    }
}
