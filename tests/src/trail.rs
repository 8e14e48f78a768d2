//! A tenant's audit trail as it lies in the database, checked by itself.

use futures::TryStreamExt;
use keystone::audit::entry::CommittedEntry;
use keystone::audit::merkle::{Hash, TreeHead};
use mongodb::bson::{Bson, Document, deserialize_from_bson, deserialize_from_document, doc};

use crate::Stack;

/// A stored audit trail.
pub struct Trail {
    /// The entries in the order of their numbers.
    pub entries: Vec<CommittedEntry>,
    leaves: Vec<Hash>,
    head: TreeHead,
}

impl Trail {
    /// The trail of the tenant `slug`, read with the administrator's rights.
    pub async fn read(stack: &Stack, slug: &str) -> Self {
        let client = stack.database().await;
        let stored: Vec<Document> = client
            .database(&format!("t_{slug}_audit"))
            .collection("entries")
            .find(doc! {})
            .sort(doc! { "_id": 1 })
            .await
            .expect("the entries can be read")
            .try_collect()
            .await
            .expect("the entries can be read");
        let head: Document = client
            .database(&format!("t_{slug}"))
            .collection("audit_head")
            .find_one(doc! {})
            .await
            .expect("the head can be read")
            .expect("there is a head");
        let field = |document: &Document, name| document.get(name).cloned().unwrap_or(Bson::Null);
        let head = doc! { "size": field(&head, "size"), "edge": field(&head, "edge") };
        Self {
            entries: stored
                .iter()
                .map(|entry| deserialize_from_bson(field(entry, "entry")).expect("an entry"))
                .collect(),
            leaves: stored
                .iter()
                .map(|entry| deserialize_from_bson(field(entry, "leaf")).expect("a hash"))
                .collect(),
            head: deserialize_from_document(head).expect("a tree head"),
        }
    }

    /// Checks that numbers are dense, that each leaf is the hash of its entry,
    /// and that the head is that of these leaves.
    pub fn verify(&self) {
        let mut tree = TreeHead::empty();
        for (index, (entry, leaf)) in self.entries.iter().zip(&self.leaves).enumerate() {
            assert_eq!(usize::try_from(entry.seq), Ok(index), "numbers have no gaps");
            assert_eq!(entry.leaf_hash().ok(), Some(*leaf), "entry {index} is what was hashed");
            tree.append(*leaf);
        }
        assert_eq!(self.head, tree, "the head is that of the entries");
    }
}
