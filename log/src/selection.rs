//! By what the entries of a bundle were chosen, as its header states it.

use std::net::IpAddr;
use std::num::NonZeroU64;

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;

/// A stated filter. Entries are held against all of its members but two: the
/// source address, to which an entry commits without showing it, and the volume,
/// which says that others hold the rest.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Selection {
    actor: Option<String>,
    action: Option<String>,
    resource_type: Option<String>,
    resource_id: Option<String>,
    from: Option<Timestamp>,
    to: Option<Timestamp>,
    #[expect(dead_code, reason = "only its form is checked")]
    ip: Option<IpAddr>,
    #[expect(dead_code, reason = "only its form is checked")]
    volume: Option<NonZeroU64>,
}

impl Selection {
    /// The selection that a header states; `None` when it is none that an export
    /// can have: without a member, or with one that it does not know or whose form
    /// is another. Nothing else may explain that an entry is left out.
    pub(crate) fn of(filter: &Value) -> Option<Self> {
        let members = filter.as_object()?;
        if members.is_empty() || members.values().any(Value::is_null) {
            return None;
        }
        serde_json::from_value(filter.clone()).ok()
    }

    /// The member that this entry, in its canonical form, does not fit.
    pub(crate) fn misfit(&self, canonical: &str) -> Option<&'static str> {
        let entry: Value = serde_json::from_str(canonical).unwrap_or_default();
        let is = |wanted: &Option<String>, pointer| {
            let found = entry.pointer(pointer).and_then(Value::as_str);
            wanted.as_deref().is_none_or(|wanted| found == Some(wanted))
        };
        let at = entry["at"].as_str().and_then(|at| at.parse::<Timestamp>().ok());
        let after = self.from.is_none_or(|from| at.is_some_and(|at| at >= from));
        let before = self.to.is_none_or(|to| at.is_some_and(|at| at < to));
        let members = [
            ("actor", is(&self.actor, "/actor/id")),
            ("action", is(&self.action, "/action")),
            ("resource_type", is(&self.resource_type, "/resource/type")),
            ("resource_id", is(&self.resource_id, "/resource/id")),
            ("from", after),
            ("to", before),
        ];
        members.into_iter().find(|(_, fits)| !fits).map(|(member, _)| member)
    }
}
