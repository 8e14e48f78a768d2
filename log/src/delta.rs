//! What a state change did to a document: RFC 6902 operations that also carry
//! the value before, so that they can be read in either direction.
//!
//! The bookkeeping fields of a stored document (`_id`, `tenant_id`, `version`,
//! `created_at`, `updated_at`) are no part of a delta; the caller leaves them
//! out.
//!
//! # Bounds
//! A published entry bundle gives an entry a 16-bit length, so an entry's
//! canonical form stays below 65,536 bytes. Of these a delta takes at most
//! [`MAX_DELTA_BYTES`]. A value of more than [`MAX_VALUE_BYTES`] is replaced by
//! `{"bytes": n, "sha256": hex}`, length and SHA-256 of its RFC 8785 form. Where
//! that is not enough, values of more than 512 bytes are replaced too, and in
//! the end the delta becomes one operation on the whole document (path `""`)
//! with both states as digests. So that a reader can rely on the form, a value
//! that happens to have exactly these two members is itself replaced.

use std::{collections::BTreeSet, fmt};

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value, json};

use super::merkle::Hash;

/// The longest value that a delta records verbatim, in bytes of its RFC 8785
/// form.
pub const MAX_VALUE_BYTES: usize = 8 * 1024;

/// The longest delta, in bytes of its RFC 8785 form inside a sealed entry.
pub const MAX_DELTA_BYTES: usize = 48 * 1024;

/// How long values may be, in the order tried.
const VALUE_LIMITS: [usize; 2] = [MAX_VALUE_BYTES, 512];

/// An operation of RFC 6902 §4. A delta uses these three of the six.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Op {
    /// The value came to be (RFC 6902 §4.1).
    Add,
    /// The value ceased to be (RFC 6902 §4.2).
    Remove,
    /// The value became another (RFC 6902 §4.3).
    Replace,
}

/// One operation of a delta, with the value before and after.
///
/// `before` is present for `remove` and `replace`, `value` for `add` and
/// `replace`; `null` is a value like any other. In a sealed entry both are
/// commitments where `personal` is true.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Change {
    /// What happened.
    pub op: Op,
    /// Where: a JSON pointer (RFC 6901) into the document as the operations
    /// before this one left it.
    pub path: String,
    /// The value before.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub before: Option<Value>,
    /// The value after.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub value: Option<Value>,
    /// Whether the values are about a person and so must stay erasable.
    pub personal: bool,
}

/// Keeps a `null` that is there apart from a member that is not.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(deserializer).map(Some)
}

impl fmt::Debug for Change {
    /// Leaves the values out: they may be personal, and debug output ends up
    /// in logs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Change")
            .field("op", &self.op)
            .field("path", &self.path)
            .field("personal", &self.personal)
            .finish_non_exhaustive()
    }
}

/// The operations that turn `before` into `after`; a document that does not
/// exist counts as one without members.
///
/// `personal` lists JSON pointers (RFC 6901) of personal fields; each covers
/// all that is below it. An object that is personal in part is recorded member
/// by member, so that only those parts are flagged; an array that holds a
/// personal part is flagged in whole. A pointer should name an array rather
/// than one of its elements, whose indexes move.
///
/// # Errors
/// When a value has no RFC 8785 form.
pub fn delta(
    before: Option<&Value>,
    after: Option<&Value>,
    personal: &[&str],
) -> Result<Vec<Change>, serde_json::Error> {
    let absent = Value::Object(Map::new());
    let mut exact = Recorder { personal, changes: Vec::new() };
    exact.record("", Some(before.unwrap_or(&absent)), Some(after.unwrap_or(&absent)));

    for limit in VALUE_LIMITS {
        let changes = exact
            .changes
            .iter()
            .map(|change| bounded(change, limit))
            .collect::<Result<Vec<_>, _>>()?;
        if sealed_len(&changes)? <= MAX_DELTA_BYTES {
            return Ok(changes);
        }
    }
    Ok(vec![Change {
        op: match (before, after) {
            (None, _) => Op::Add,
            (_, None) => Op::Remove,
            _ => Op::Replace,
        },
        path: String::new(),
        before: before.map(digest).transpose()?,
        value: after.map(digest).transpose()?,
        // The digests cover what did not change as well.
        personal: !personal.is_empty(),
    }])
}

struct Recorder<'a> {
    personal: &'a [&'a str],
    changes: Vec<Change>,
}

impl Recorder<'_> {
    /// Records how the value at `path` changed. An object's members are
    /// visited in the order of their names.
    fn record(&mut self, path: &str, before: Option<&Value>, after: Option<&Value>) {
        match (before, after) {
            (None, None) => {}
            (Some(before), Some(after)) if before == after => {}
            (Some(Value::Object(before)), Some(Value::Object(after))) => {
                self.members(path, before, after);
            }
            (Some(Value::Array(before)), Some(Value::Array(after))) => {
                self.elements(path, before, after);
            }
            _ => {
                let (before_shell, before_members) = self.split(path, before);
                let (after_shell, after_members) = self.split(path, after);
                let none = Map::new();
                self.members(path, before_members.unwrap_or(&none), &none);
                self.push(path, before_shell, after_shell);
                self.members(path, &none, after_members.unwrap_or(&none));
            }
        }
    }

    fn members(&mut self, path: &str, before: &Map<String, Value>, after: &Map<String, Value>) {
        let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
        for name in names {
            let path = format!("{path}/{}", name.replace('~', "~0").replace('/', "~1"));
            self.record(&path, before.get(name), after.get(name));
        }
    }

    /// Elements are compared by index, between what both arrays start with and
    /// what both end with, so that one insertion is one operation.
    fn elements(&mut self, path: &str, before: &[Value], after: &[Value]) {
        let start = before.iter().zip(after).take_while(|(b, a)| b == a).count();
        let (before, after) = (&before[start..], &after[start..]);
        let end = before.iter().rev().zip(after.iter().rev()).take_while(|(b, a)| b == a).count();
        let (before, after) = (&before[..before.len() - end], &after[..after.len() - end]);

        for index in 0..after.len() {
            self.record(&format!("{path}/{}", start + index), before.get(index), after.get(index));
        }
        // From the last, because removing an element moves those behind it.
        for index in (after.len()..before.len()).rev() {
            self.record(&format!("{path}/{}", start + index), before.get(index), None);
        }
    }

    /// An object that is personal only in part becomes an empty one and its
    /// members, to be recorded one by one.
    fn split<'v>(
        &self,
        path: &str,
        value: Option<&'v Value>,
    ) -> (Option<Value>, Option<&'v Map<String, Value>>) {
        let in_part = !self.personal.iter().any(|personal| covers(personal, path))
            && self.personal.iter().any(|personal| covers(path, personal));
        match value {
            Some(Value::Object(members)) if in_part => {
                (Some(Value::Object(Map::new())), Some(members))
            }
            other => (other.cloned(), None),
        }
    }

    fn push(&mut self, path: &str, before: Option<Value>, value: Option<Value>) {
        let op = match (&before, &value) {
            (None, _) => Op::Add,
            (_, None) => Op::Remove,
            _ => Op::Replace,
        };
        // An empty object on the way to a personal field tells nothing.
        let hollow = [&before, &value]
            .into_iter()
            .flatten()
            .all(|value| value.is_null() || value.as_object().is_some_and(Map::is_empty));
        let personal = self
            .personal
            .iter()
            .any(|personal| covers(personal, path) || (covers(path, personal) && !hollow));
        self.changes.push(Change { op, path: path.to_owned(), before, value, personal });
    }
}

/// Whether `path` is `pointer` or below it, by whole reference tokens.
fn covers(pointer: &str, path: &str) -> bool {
    path.strip_prefix(pointer).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// The change with each value of more than `limit` bytes as a digest.
fn bounded(change: &Change, limit: usize) -> Result<Change, serde_json::Error> {
    let bound = |value: &Value| {
        let too_long = serde_json_canonicalizer::to_vec(value)?.len() > limit;
        if too_long || looks_like_digest(value) { digest(value) } else { Ok(value.clone()) }
    };
    Ok(Change {
        before: change.before.as_ref().map(bound).transpose()?,
        value: change.value.as_ref().map(bound).transpose()?,
        ..change.clone()
    })
}

fn digest(value: &Value) -> Result<Value, serde_json::Error> {
    let canonical = serde_json_canonicalizer::to_vec(value)?;
    Ok(json!({ "bytes": canonical.len(), "sha256": Hash::of(&[&canonical]) }))
}

fn looks_like_digest(value: &Value) -> bool {
    value.as_object().is_some_and(|members| {
        members.len() == 2 && members.contains_key("bytes") && members.contains_key("sha256")
    })
}

/// The length of the delta in an entry, where each personal value is a
/// commitment.
fn sealed_len(changes: &[Change]) -> Result<usize, serde_json::Error> {
    let commitment = json!({ "commitment": Hash([0; 32]) });
    let sealed: Vec<Change> = changes
        .iter()
        .map(|change| {
            let seal = |value: &Value| {
                if change.personal { commitment.clone() } else { value.clone() }
            };
            Change {
                before: change.before.as_ref().map(seal),
                value: change.value.as_ref().map(seal),
                ..change.clone()
            }
        })
        .collect();
    Ok(serde_json_canonicalizer::to_vec(&sealed)?.len())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn apply(document: &Value, changes: &[Change]) -> Value {
        let patch: json_patch::Patch =
            serde_json::from_value(serde_json::to_value(changes).unwrap()).unwrap();
        let mut document = document.clone();
        json_patch::patch(&mut document, &patch).unwrap();
        document
    }

    fn inverse(changes: &[Change]) -> Vec<Change> {
        changes
            .iter()
            .rev()
            .map(|change| Change {
                op: match change.op {
                    Op::Add => Op::Remove,
                    Op::Remove => Op::Add,
                    Op::Replace => Op::Replace,
                },
                path: change.path.clone(),
                before: change.value.clone(),
                value: change.before.clone(),
                personal: change.personal,
            })
            .collect()
    }

    /// As JSON, with `personal` left out where false.
    fn shown(changes: &[Change]) -> Value {
        let mut shown = serde_json::to_value(changes).unwrap();
        for change in shown.as_array_mut().unwrap() {
            let change = change.as_object_mut().unwrap();
            if change["personal"] == false {
                change.remove("personal");
            }
        }
        shown
    }

    #[test]
    fn an_update_is_its_changed_fields() {
        let before =
            json!({ "name": "Arcadia", "size": { "l": 1, "w": 2 }, "note": null, "old": 1 });
        let after =
            json!({ "name": "Arkadia", "size": { "l": 1, "w": 3 }, "note": 4, "new": null });
        assert_eq!(
            shown(&delta(Some(&before), Some(&after), &[]).unwrap()),
            json!([
                { "op": "replace", "path": "/name", "before": "Arcadia", "value": "Arkadia" },
                { "op": "add", "path": "/new", "value": null },
                { "op": "replace", "path": "/note", "before": null, "value": 4 },
                { "op": "remove", "path": "/old", "before": 1 },
                { "op": "replace", "path": "/size/w", "before": 2, "value": 3 },
            ])
        );
        assert_eq!(delta(Some(&before), Some(&before), &[]).unwrap(), []);
        assert_eq!(delta(None, None, &[]).unwrap(), []);
    }

    #[test]
    fn a_new_document_is_its_fields_and_a_deleted_one_the_reverse() {
        let document =
            json!({ "lot": "L-1", "contact": { "email": "a@b.example", "town": "Graz" } });
        let personal = ["/contact/email", "/elsewhere"];
        let created = delta(None, Some(&document), &personal).unwrap();
        assert_eq!(
            shown(&created),
            json!([
                { "op": "add", "path": "/contact", "value": {} },
                { "op": "add", "path": "/contact/email", "value": "a@b.example", "personal": true },
                { "op": "add", "path": "/contact/town", "value": "Graz" },
                { "op": "add", "path": "/lot", "value": "L-1" },
            ])
        );
        assert_eq!(
            shown(&delta(Some(&document), None, &personal).unwrap()),
            json!([
                { "op": "remove", "path": "/contact/email", "before": "a@b.example", "personal": true },
                { "op": "remove", "path": "/contact/town", "before": "Graz" },
                { "op": "remove", "path": "/contact", "before": {} },
                { "op": "remove", "path": "/lot", "before": "L-1" },
            ])
        );
    }

    #[test]
    fn personal_covers_whole_tokens_and_what_is_below() {
        let flags = |personal: &[&str]| -> Vec<(String, bool)> {
            let document = json!({
                "name": "x", "names": ["y"], "who": { "name": "z" }, "list": [{ "name": "w" }],
                "a/b": 1,
            });
            let changes = delta(None, Some(&document), personal).unwrap();
            changes.into_iter().map(|change| (change.path, change.personal)).collect()
        };
        let flagged = |personal: &[&str]| -> Vec<String> {
            flags(personal).into_iter().filter(|(_, flag)| *flag).map(|(path, _)| path).collect()
        };
        assert_eq!(flagged(&["/name"]), ["/name"]);
        assert_eq!(flagged(&["/who"]), ["/who"]);
        assert_eq!(flagged(&["/who/name"]), ["/who/name"]);
        assert_eq!(flagged(&["/list/0/name"]), ["/list"]);
        assert_eq!(flagged(&["/a~1b"]), ["/a~1b"]);
        assert_eq!(flagged(&[""]).len(), 5);
        assert_eq!(flagged(&[]), [""; 0]);
    }

    #[test]
    fn a_part_that_replaces_something_else_keeps_its_flag() {
        let before = json!({ "contact": "by post" });
        let after = json!({ "contact": { "email": "a@b.example" } });
        let changes = delta(Some(&before), Some(&after), &["/contact/email"]).unwrap();
        assert_eq!(
            shown(&changes),
            json!([
                { "op": "replace", "path": "/contact", "before": "by post", "value": {}, "personal": true },
                { "op": "add", "path": "/contact/email", "value": "a@b.example", "personal": true },
            ])
        );
        assert_eq!(apply(&after, &inverse(&changes)), before);
    }

    #[test]
    fn an_insertion_into_a_list_is_one_operation() {
        let before = json!({ "list": [1, 2, 3] });
        let after = json!({ "list": [1, 9, 2, 3] });
        assert_eq!(
            shown(&delta(Some(&before), Some(&after), &[]).unwrap()),
            json!([{ "op": "add", "path": "/list/1", "value": 9 }])
        );
        assert_eq!(
            shown(&delta(Some(&after), Some(&before), &[]).unwrap()),
            json!([{ "op": "remove", "path": "/list/1", "before": 9 }])
        );
    }

    #[test]
    fn a_long_value_becomes_its_digest() {
        // Its canonical form has two quotation marks more.
        let fits = "x".repeat(MAX_VALUE_BYTES - 2);
        let long = "x".repeat(MAX_VALUE_BYTES - 1);
        let changes =
            delta(None, Some(&json!({ "fits": fits, "long": long })), &["/long"]).unwrap();
        assert_eq!(
            shown(&changes),
            json!([
                { "op": "add", "path": "/fits", "value": fits },
                {
                    "op": "add",
                    "path": "/long",
                    "value": {
                        "bytes": 8193,
                        "sha256": Hash::of(&[b"\"", long.as_bytes(), b"\""]),
                    },
                    "personal": true,
                },
            ])
        );
    }

    #[test]
    fn what_only_looks_like_a_digest_is_digested() {
        let forged = json!({ "bytes": 1, "sha256": "00" });
        let changes = delta(None, Some(&json!({ "field": forged })), &[]).unwrap();
        assert_eq!(
            changes[0].value,
            Some(json!({ "bytes": 25, "sha256": Hash::of(&[br#"{"bytes":1,"sha256":"00"}"#]) }))
        );
    }

    #[test]
    fn a_delta_is_bounded_whatever_the_documents() {
        let fields = |count: usize, len: usize, filler: &str| -> Value {
            (0..count).map(|i| (format!("field-{i:05}"), Value::from(filler.repeat(len)))).collect()
        };
        for (count, len, expected) in [(6, 8_000, 6), (12, 8_000, 12), (2_000, 1, 1)] {
            let (before, after) = (fields(count, len, "x"), fields(count, len, "y"));
            for (before, after) in
                [(None, Some(&after)), (Some(&before), Some(&after)), (Some(&before), None)]
            {
                for personal in [[].as_slice(), &["/field-00000"], &[""]] {
                    let changes = delta(before, after, personal).unwrap();
                    assert_eq!(changes.len(), expected);
                    assert!(sealed_len(&changes).unwrap() <= MAX_DELTA_BYTES);
                }
            }
        }
        // Short values become longer as commitments.
        let document = fields(500, 1, "x");
        assert_eq!(delta(None, Some(&document), &[]).unwrap().len(), 500);
        assert_eq!(delta(None, Some(&document), &[""]).unwrap().len(), 1);

        let document = fields(2_000, 1, "x");
        let changes = delta(None, Some(&document), &["/unchanged"]).unwrap();
        let value = digest(&document).unwrap();
        assert_eq!(
            shown(&changes),
            json!([{ "op": "add", "path": "", "value": value, "personal": true }])
        );
    }

    #[test]
    fn debug_output_shows_no_value() {
        let changes = delta(None, Some(&json!({ "name": "Wanda" })), &[]).unwrap();
        assert!(!format!("{changes:?}").contains("Wanda"));
    }

    /// JSON of any shape, with few names so that documents share some.
    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            (-3..3_i64).prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            "[ab~/\"é]{0,3}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 40, 5, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
                prop::collection::btree_map("[abc~/]{0,2}", inner, 0..5)
                    .prop_map(|members| members.into_iter().collect()),
            ]
        })
    }

    fn personal() -> impl Strategy<Value = Vec<String>> {
        prop::collection::vec("(/([abc]|~0|~1|0){1,2}){0,3}", 0..3)
    }

    proptest! {
        #[test]
        fn applies_forwards_and_backwards(
            before in prop::option::of(value()),
            after in prop::option::of(value()),
            personal in personal(),
        ) {
            let personal: Vec<&str> = personal.iter().map(String::as_str).collect();
            let changes = delta(before.as_ref(), after.as_ref(), &personal).unwrap();
            let absent = json!({});
            let (before, after) = (before.as_ref().unwrap_or(&absent), after.as_ref().unwrap_or(&absent));
            prop_assert_eq!(&apply(before, &changes), after);
            prop_assert_eq!(&apply(after, &inverse(&changes)), before);

            // Survives storage, `null` included.
            let stored = serde_json::to_string(&changes).unwrap();
            let loaded: Vec<Change> = serde_json::from_str(&stored).unwrap();
            prop_assert!(loaded == changes);
        }

        /// Nothing of a personal field is left in the operations that are not
        /// flagged.
        #[test]
        fn no_personal_value_escapes(before in value(), after in value(), personal in personal()) {
            fn mark(value: &mut Value) {
                match value {
                    Value::Array(elements) => elements.iter_mut().for_each(mark),
                    Value::Object(members) => members.values_mut().for_each(mark),
                    other => *other = format!("SECRET {other}").into(),
                }
            }
            let (mut before, mut after) = (before, after);
            for document in [&mut before, &mut after] {
                for pointer in &personal {
                    if let Some(value) = document.pointer_mut(pointer) {
                        mark(value);
                    }
                }
            }
            let personal: Vec<&str> = personal.iter().map(String::as_str).collect();
            let open: Vec<Change> = delta(Some(&before), Some(&after), &personal)
                .unwrap()
                .into_iter()
                .filter(|change| !change.personal)
                .collect();
            prop_assert!(!serde_json::to_string(&open).unwrap().contains("SECRET"));
        }
    }
}
