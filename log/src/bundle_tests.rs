use proptest::prelude::*;

use super::*;
use crate::checkpoint::tests::signed_checkpoint;
use crate::entry::Draft;
use crate::entry::tests::{draft, salts};
use crate::note::tests::{NAME, key, pair};

struct Log {
    entries: Vec<(CommittedEntry, Hash, Personal)>,
    nodes: Vec<Vec<Hash>>,
    head: TreeHead,
}

fn log(size: u64) -> Log {
    let mut log = Log { entries: Vec::new(), nodes: Vec::new(), head: TreeHead::empty() };
    for seq in 0..size {
        let draft = Draft { request_id: format!("r-{seq}"), ..draft() };
        let (entry, personal) = draft.seal(seq, salts()).unwrap();
        let leaf = entry.leaf_hash().unwrap();
        log.nodes.push(log.head.append(leaf));
        log.entries.push((entry, leaf, personal));
    }
    log
}

impl Log {
    fn bundle(&self, indices: impl IntoIterator<Item = u64>, filter: Option<Value>) -> Vec<u8> {
        let size = self.head.size();
        let checkpoint = signed_checkpoint(size, self.head.root());
        let header = Header::new("acme", checkpoint, filter, jiff::Timestamp::UNIX_EPOCH);
        let mut writer = Writer::new(Vec::new(), &header, size).unwrap();
        for piece in cover(indices, size) {
            match piece {
                Piece::Leaf(index) => {
                    let (entry, leaf, personal) = &self.entries[usize::try_from(index).unwrap()];
                    writer.entry(entry, leaf, personal).unwrap();
                }
                Piece::Subtree(subtree) => {
                    let nodes = &self.nodes[usize::try_from(subtree.last).unwrap()];
                    writer.subtree(subtree, &nodes[subtree.height as usize]).unwrap();
                }
            }
        }
        writer.finish().unwrap()
    }
}

fn check(bundle: &[u8]) -> Result<Verified, BundleError> {
    verify(bundle, &[key(NAME, &pair(0))], |_| ())
}

fn some() -> Value {
    serde_json::json!({ "action": "batch.update" })
}

#[test]
fn bundles_of_each_tree_verify() {
    let whole = log(300);
    for size in 0..=300 {
        let mut part = Log { entries: Vec::new(), nodes: Vec::new(), head: TreeHead::empty() };
        for (entry, nodes) in whole.entries.iter().zip(&whole.nodes).take(size) {
            part.head.append(entry.1);
            part.entries.push(entry.clone());
            part.nodes.push(nodes.clone());
        }
        let size = size as u64;
        let all = check(&part.bundle(0..size, None)).unwrap();
        assert_eq!((all.entries, all.hidden, all.gaps), (size, 0, 0));
        assert_eq!((all.opened, all.unopened), (4 * size, 0));
        for step in [2 + usize::try_from(size).unwrap() % 70, 1000] {
            let shown = check(&part.bundle((1..size).step_by(step), Some(some()))).unwrap();
            assert_eq!(shown.entries + shown.hidden, size);
            assert_eq!(shown.entries, (1..size).step_by(step).count() as u64);
        }
    }
}

#[test]
fn each_leaf_alone_verifies_in_each_tree() {
    let whole = log(300);
    for size in 1..=300 {
        let pieces: Vec<Piece> = cover([size / 2], size).collect();
        assert!(pieces.len() <= 17, "{size}");
        let mut tree = TreeHead::empty();
        for index in 0..size {
            tree = TreeHead::empty();
            for piece in cover([index], size) {
                let (last, height) = match piece {
                    Piece::Leaf(index) => (index, 0),
                    Piece::Subtree(subtree) => (subtree.last, subtree.height),
                };
                let node = whole.nodes[usize::try_from(last).unwrap()][height as usize];
                tree.append_subtree(height, node).unwrap();
            }
        }
        let leaves: Vec<Hash> = whole.entries.iter().map(|entry| entry.1).collect();
        let root = crate::merkle::root_of(&leaves[..usize::try_from(size).unwrap()]);
        assert_eq!((tree.size(), tree.root()), (size, root));
    }
}

#[test]
fn cover_leaves_out_what_does_not_fit() {
    let leaf = Piece::Leaf;
    let gap = |last, height| Piece::Subtree(Subtree { last, height });
    assert_eq!(cover([], 0).count(), 0);
    assert_eq!(cover([], 7).collect::<Vec<_>>(), [gap(3, 2), gap(5, 1), gap(6, 0)]);
    assert_eq!(
        cover([1, 0, 1, 5, 9], 7).collect::<Vec<_>>(),
        [gap(0, 0), leaf(1), gap(3, 1), gap(4, 0), leaf(5), gap(6, 0)]
    );
}

#[test]
fn the_writer_keeps_the_order() {
    let log = log(3);
    let header = Header::new("acme", "", None, jiff::Timestamp::UNIX_EPOCH);
    let mut writer = Writer::new(Vec::new(), &header, 2).unwrap();
    let write = |writer: &mut Writer<_>, index: usize| {
        let (entry, leaf, personal) = &log.entries[index];
        writer.entry(entry, leaf, personal)
    };
    assert!(matches!(write(&mut writer, 1), Err(WriteError::Order { expected: 0, found: 1 })));
    write(&mut writer, 0).unwrap();
    assert!(write(&mut writer, 0).is_err());
    let subtree = Subtree { last: 3, height: 1 };
    assert!(writer.subtree(subtree, &log.entries[0].1).is_err());
    assert_eq!(writer.gap_before(2).collect::<Vec<_>>(), [Subtree { last: 1, height: 0 }]);
    write(&mut writer, 1).unwrap();
    assert!(write(&mut writer, 2).is_err());
    assert_eq!((writer.next(), writer.entries()), (2, 2));
}

/// What can be done to a bundle's lines, each named with line and entry.
#[test]
fn tampering_is_named() {
    let log = log(7);
    let text = String::from_utf8(log.bundle(0..7, None)).unwrap();
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    let fails = |changed: &[&str], expected: &str| {
        let error = check(changed.concat().as_bytes()).unwrap_err().to_string();
        assert!(error.starts_with(expected), "{error}");
    };
    let mut edited = lines.clone();
    let line = lines[4].replace("batch.update", "batch.delete");
    edited[4] = &line;
    fails(&edited, "line 5: entry 3 was changed: it gives the leaf ");

    let mut deleted = lines.clone();
    deleted.remove(4);
    fails(&deleted, "line 5: entries 3 to 3 are missing");

    let mut swapped = lines.clone();
    swapped.swap(4, 5);
    fails(&swapped, "line 5: entries 3 to 3 are missing");

    let mut doubled = lines.clone();
    doubled.insert(4, lines[3]);
    fails(&doubled, "line 5: entry 2 stands where entry 3 belongs");

    let mut cut = lines.clone();
    cut.truncate(6);
    fails(&cut, "line 7: the bundle breaks off before its end line");
    cut.push("{\"end\":{\"entries\":5}}\n");
    fails(&cut, "line 7: entries 5 to 6 are missing");

    let mut longer = lines.clone();
    longer.push("\n");
    fails(&longer, "line 10: something follows the end of the bundle");

    let value = lines[1].replace("192.0.2.7", "192.0.2.8");
    let mut personal = lines.clone();
    personal[1] = &value;
    fails(&personal, "line 2: not a line of an audit bundle: /source_ip: the personal value");

    // A forger who recomputes leaf and openings still meets the checkpoint.
    let mut forged = log;
    let (entry, personal) =
        Draft { action: "batch.delete".into(), ..draft() }.seal(3, salts()).unwrap();
    let leaf = entry.leaf_hash().unwrap();
    let root = forged.head.root().to_string();
    let honest = signed_checkpoint(7, forged.head.root());
    forged.entries[3] = (entry, leaf, personal);
    let bundle = String::from_utf8(forged.bundle(0..7, None)).unwrap();
    assert!(bundle.contains(&serde_json::to_string(&honest).unwrap()));
    let error = check(bundle.as_bytes()).unwrap_err().to_string();
    assert!(error.starts_with("line 9: the entries and subtrees lead to the root"), "{error}");
    assert!(error.contains(&root), "{error}");
}

#[test]
fn withheld_and_erased_values_are_counted() {
    let mut log = log(2);
    log.entries[1].2.remove("/source_ip");
    let verified = check(&log.bundle(0..2, None)).unwrap();
    assert_eq!((verified.opened, verified.unopened), (7, 1));
}

#[test]
fn what_is_shown_fits_the_filter_that_is_stated() {
    let log = log(3);
    let fits = serde_json::json!({
        "action": "batch.update", "actor": "u-1", "resource_type": "batch", "resource_id": "b-1",
        "from": "2026-01-02T03:04:05Z", "to": "2026-01-02T03:04:06Z", "volume": 1, "ip": "::1",
    });
    assert!(check(&log.bundle([1], Some(fits.clone()))).is_ok());
    for (member, value) in [
        ("action", "batch.create"),
        ("actor", "u-2"),
        ("resource_type", "event"),
        ("resource_id", "b-2"),
        ("from", "2026-01-02T03:04:06Z"),
        ("to", "2026-01-02T03:04:05Z"),
    ] {
        let mut stated = fits.clone();
        stated[member] = value.into();
        let error = check(&log.bundle([1], Some(stated))).unwrap_err().to_string();
        let expected =
            format!("entry 1 does not fit the filter that the header states, by its {member}");
        assert!(error.ends_with(&expected), "{error}");
    }
    // Nothing but a filter explains that something is left out.
    for wrong in [
        serde_json::json!({ "action": 1 }),
        serde_json::json!({}),
        serde_json::json!([]),
        serde_json::json!([null, null, null, null, null, null, null, 1]),
        serde_json::json!("all"),
        serde_json::json!({ "actor": null }),
        serde_json::json!({ "action": "batch.update", "colour": "red" }),
        serde_json::json!({ "volume": 0 }),
        serde_json::json!({ "ip": "somewhere" }),
    ] {
        let error = check(&log.bundle([1], Some(wrong.clone()))).unwrap_err();
        assert!(matches!(error.fault, Fault::Filter), "{wrong}: {error}");
    }
    assert!(check(&log.bundle([1], Some(serde_json::json!({ "volume": 2 })))).is_ok());
}

#[test]
fn a_bundle_without_filter_shows_everything() {
    let log = log(9);
    let error = check(&log.bundle([0, 8], None)).unwrap_err();
    assert_eq!(
        error.to_string(),
        "line 3: the header names no filter, but entries 1 to 1 are not shown"
    );
}

#[test]
fn another_tenants_entry_or_checkpoint_is_refused() {
    let log = log(2);
    let bundle = String::from_utf8(log.bundle(0..2, None)).unwrap();
    let renamed = bundle.replacen("\"tenant\":\"acme\"", "\"tenant\":\"acne\"", 1);
    let error = check(renamed.as_bytes()).unwrap_err().to_string();
    assert!(error.contains("the header names the tenant acne"), "{error}");
    let entry = bundle.replacen("\"tenant_id\":\"acme\"", "\"tenant_id\":\"acne\"", 1);
    let error = check(entry.as_bytes()).unwrap_err().to_string();
    assert_eq!(error, "line 2: entry 0 is of the tenant \"acne\"");
    let error = verify(bundle.as_bytes(), &[key(NAME, &pair(1))], |_| ()).unwrap_err();
    assert!(error.to_string().contains("none of the given keys signed"), "{error}");
}

#[test]
fn the_time_of_writing_is_one() {
    let bundle = String::from_utf8(log(2).bundle(0..2, None)).unwrap();
    let with = |text: &str| {
        let honest = "\"generated_at\":\"1970-01-01T00:00:00.000Z\"";
        assert!(bundle.contains(honest));
        let stated = format!("\"generated_at\":{}", Value::from(text));
        check(bundle.replacen(honest, &stated, 1).as_bytes())
    };
    with("2026-01-02T03:04:05.678Z").unwrap();
    for wrong in [
        "",
        "now",
        "2026-01-02T03:04:05Z",
        "2026-01-02T03:04:05.678+00:00",
        "2026-02-30T03:04:05.678Z",
        "2026-01-02T03:04:05.678Z\u{1b}[2J\nVERIFIED",
    ] {
        let error = with(wrong).unwrap_err().to_string();
        assert_eq!(
            error,
            "line 1: this is no header of an audit bundle: it does not say when it was written",
            "{wrong:?}"
        );
    }
}

#[test]
fn an_entry_line_verifies_alone() {
    let log = log(1);
    let (entry, leaf, personal) = &log.entries[0];
    let line = String::from_utf8(entry_line(entry, leaf, personal).unwrap()).unwrap();
    let canonical = String::from_utf8(entry.canonical().unwrap()).unwrap();
    let expected =
        VerifiedEntry { seq: 0, canonical: &canonical, leaf: *leaf, opened: 4, unopened: 0 };
    assert_eq!(verify_entry_line(&line).unwrap(), expected);
    let changed = line.replace("batch.update", "batch.delete");
    assert!(matches!(verify_entry_line(&changed), Err(Fault::Leaf { seq: 0, .. })));
}

proptest! {
    /// Whatever byte of a bundle changes, it is noticed, but for the two things
    /// that are the writer's statement: filter and time of writing.
    #[test]
    fn a_changed_byte_is_noticed(place in any::<usize>(), to in any::<u8>()) {
        let log = log(5);
        let mut bundle = log.bundle([1, 2], Some(some()));
        let text = String::from_utf8(bundle.clone()).unwrap();
        let header_end = text.find('\n').unwrap();
        let place = place % bundle.len();
        prop_assume!(bundle[place] != to);
        bundle[place] = to;
        match check(&bundle) {
            Err(_) => {}
            Ok(verified) => {
                prop_assert!(place < header_end);
                let honest = check(text.as_bytes()).unwrap();
                prop_assert_eq!(verified.checkpoint, honest.checkpoint);
                prop_assert_eq!(verified.header.tenant, honest.header.tenant);
            }
        }
    }

    #[test]
    fn no_bytes_break_it(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = check(&bytes);
    }
}
