//! What the functions' own database user may do, and what the database itself
//! refuses: the last line of defence when a function is compromised.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use keystone::tenant::schema;
use keystone_tests::Stack;
use mongodb::bson::spec::BinarySubtype;
use mongodb::bson::{Binary, Bson, DateTime, Document, doc};
use mongodb::error::{Error, ErrorKind, WriteFailure};
use mongodb::{Client, Database};

const UNAUTHORIZED: i32 = 13;
const VALIDATION_FAILED: i32 = 121;

async fn functions_user(stack: &Stack) -> Client {
    Client::with_uri_str(stack.value("MONGODB_APP_URI")).await.unwrap()
}

fn code(error: &Error) -> i32 {
    match error.kind.as_ref() {
        ErrorKind::Command(command) => command.code,
        ErrorKind::Write(WriteFailure::WriteError(write)) => write.code,
        other => panic!("{other:?}"),
    }
}

async fn refused(database: &Database, command: Document, wanted: i32) {
    let error = database.run_command(command.clone()).await.expect_err(&command.to_string());
    assert_eq!(code(&error), wanted, "{command}");
}

#[tokio::test]
async fn audit_entries_and_histories_cannot_be_changed_or_removed() {
    let stack = Stack::load();
    let tenant = stack.tenant("rights", &[]).await;
    let user = functions_user(&stack).await;
    let audit = user.database(&format!("t_{}_audit", tenant.slug()));
    let entries = audit.collection::<Document>("entries");
    let before = entries.count_documents(doc! {}).await.unwrap();
    assert!(before > 0);
    for command in [
        doc! { "update": "entries", "updates": [{ "q": { "_id": 0_i64 }, "u": { "$set": { "leaf": "00" } } }] },
        doc! { "findAndModify": "entries", "query": { "_id": 0_i64 }, "update": { "$set": { "leaf": "00" } } },
        doc! { "delete": "entries", "deletes": [{ "q": {}, "limit": 0 }] },
        doc! { "drop": "entries" },
        doc! { "dropDatabase": 1 },
        doc! { "collMod": "entries", "validator": {} },
        doc! { "update": "event_history", "updates": [{ "q": {}, "u": { "$set": { "reason": "" } } }] },
        doc! { "delete": "event_history", "deletes": [{ "q": {}, "limit": 0 }] },
        doc! { "drop": "event_history" },
        doc! { "update": "recall_findings", "updates": [{ "q": {}, "u": { "$set": { "lots": [] } } }] },
        doc! { "delete": "recall_findings", "deletes": [{ "q": {}, "limit": 0 }] },
        doc! { "delete": "recall_packs", "deletes": [{ "q": {}, "limit": 0 }] },
    ] {
        refused(&audit, command, UNAUTHORIZED).await;
    }
    assert_eq!(entries.count_documents(doc! {}).await.unwrap(), before);
    tenant.finish().await;
}

#[tokio::test]
async fn wrapped_keys_are_read_and_nothing_else() {
    let stack = Stack::load();
    let tenant = stack.tenant("rights", &[]).await;
    let user = functions_user(&stack).await;
    let keys = user.database(&format!("t_{}_keys", tenant.slug()));
    let stored = keys.collection::<Document>("data_keys");
    assert_eq!(stored.count_documents(doc! {}).await.unwrap(), 1);
    for command in [
        doc! { "insert": "data_keys", "documents": [{ "_id": "k", "tenant_id": tenant.slug() }] },
        doc! { "update": "data_keys", "updates": [{ "q": {}, "u": { "$set": { "version": 9 } } }] },
        doc! { "delete": "data_keys", "deletes": [{ "q": {}, "limit": 0 }] },
        doc! { "drop": "data_keys" },
    ] {
        refused(&keys, command, UNAUTHORIZED).await;
    }
    // Nor is anything removed from the rest.
    let data = user.database(&format!("t_{}", tenant.slug()));
    for collection in ["users", "audit_head", "customers"] {
        let all = doc! { "delete": collection, "deletes": [{ "q": {}, "limit": 0 }] };
        refused(&data, all, UNAUTHORIZED).await;
        refused(&data, doc! { "drop": collection }, UNAUTHORIZED).await;
    }
    tenant.finish().await;
}

#[tokio::test]
async fn who_rotates_keys_defines_removes_and_grants_nothing() {
    let stack = Stack::load();
    let tenant = stack.tenant("rights", &[]).await;
    let keeper = Client::with_uri_str(stack.value("MONGODB_KEEPER_URI")).await.unwrap();
    for suffix in ["", "_keys", "_audit"] {
        let database = keeper.database(&format!("t_{}{suffix}", tenant.slug()));
        let collection = match suffix {
            "" => "customers",
            "_keys" => "data_keys",
            _ => "entries",
        };
        let stored = database.collection::<Document>(collection);
        stored.count_documents(doc! {}).await.unwrap();
        for command in [
            doc! { "delete": collection, "deletes": [{ "q": {}, "limit": 0 }] },
            doc! { "collMod": collection, "validator": {} },
            doc! { "drop": collection },
            doc! { "dropDatabase": 1 },
        ] {
            refused(&database, command, UNAUTHORIZED).await;
        }
    }
    let control = keeper.database("keystone_control");
    let remove = doc! { "delete": "tenants", "deletes": [{ "q": { "_id": "ghost" }, "limit": 1 }] };
    refused(&control, remove, UNAUTHORIZED).await;
    let admin = keeper.database("admin");
    let grant = doc! { "grantRolesToUser": "keystone_keeper", "roles": ["root"] };
    refused(&admin, grant, UNAUTHORIZED).await;
    let privileges = doc! {
        "grantPrivilegesToRole": "keystoneKeeper",
        "privileges": [{ "resource": { "db": "", "collection": "" }, "actions": ["remove"] }],
    };
    refused(&admin, privileges, UNAUTHORIZED).await;
    tenant.finish().await;
}

#[tokio::test]
async fn the_functions_user_makes_no_tenants_users_or_roles() {
    let stack = Stack::load();
    let user = functions_user(&stack).await;
    let insert = doc! { "insert": "tenants", "documents": [{ "_id": "ghost", "state": "active" }] };
    refused(&user.database("keystone_control"), insert, UNAUTHORIZED).await;
    refused(&user.database("t_ghost"), doc! { "find": "users" }, UNAUTHORIZED).await;
    let admin = user.database("admin");
    refused(&admin, doc! { "createUser": "ghost", "pwd": "x", "roles": [] }, UNAUTHORIZED).await;
    let grant = doc! { "grantRolesToUser": "keystone_app", "roles": ["root"] };
    refused(&admin, grant, UNAUTHORIZED).await;
}

#[tokio::test]
async fn the_database_refuses_plaintext_and_other_tenants_documents() {
    let stack = Stack::load();
    let tenant = stack.tenant("rights", &[]).await;
    let user = functions_user(&stack).await;
    let data = user.database(&format!("t_{}", tenant.slug()));
    let customer = |id: &str| {
        let now = DateTime::from_millis(0);
        doc! {
            "_id": id, "tenant_id": tenant.slug(), "version": 1_i64, "created_at": now,
            "updated_at": now, "name": "n", "country": "IE", "gln": null,
            "delivery_address": null, "phone": null,
        }
    };
    let insert = |document: Document| doc! { "insert": "customers", "documents": [document] };
    let write_error = async |document: Document| {
        let customers = data.collection::<Document>("customers");
        let error = customers.insert_one(document).await.unwrap_err();
        assert_eq!(code(&error), VALIDATION_FAILED);
    };
    // The control: without the defect the same document is accepted.
    data.run_command(insert(customer("control"))).await.unwrap();
    let control =
        doc! { "delete": "customers", "deletes": [{ "q": { "_id": "control" }, "limit": 1 }] };
    refused(&data, control.clone(), UNAUTHORIZED).await;
    let administrator = stack.database().await.database(data.name());
    administrator.run_command(control).await.unwrap();

    let mut in_clear = customer("a");
    in_clear.insert("phone", "+353861234567");
    write_error(in_clear).await;
    let mut elsewhere = customer("b");
    elsewhere.insert("tenant_id", "another-tenant");
    write_error(elsewhere).await;
    let mut nobody = customer("c");
    nobody.remove("tenant_id");
    write_error(nobody).await;
    tenant.finish().await;
}

#[tokio::test]
async fn every_collection_refuses_plaintext_and_documents_of_nobody() {
    let stack = Stack::load();
    let tenant = stack.tenant("rights", &[]).await;
    let user = functions_user(&stack).await;
    let administrator = stack.database().await;
    let id = "01890000-0000-7000-8000-000000000000";
    let envelope = || {
        let bytes = Binary { subtype: BinarySubtype::Generic, bytes: vec![7; 44] };
        doc! { "v": 1, "kid": id, "sub": format!("customer:{id}"), "ct": bytes }
    };
    let with = |member: &str, value: Bson| {
        let mut other = envelope();
        other.insert(member, value);
        Bson::Document(other)
    };
    let text = || Bson::String("+353861234567".into());
    let mut fields = 0;
    for collection in schema::COLLECTIONS {
        let suffix = if collection.append_only { "_audit" } else { "" };
        let name = format!("t_{}{suffix}", tenant.slug());
        let documents = user.database(&name).collection::<Document>(collection.name);
        let now = DateTime::from_millis(0);
        let right = |of: &str| {
            let mut document = doc! {
                "_id": of, "tenant_id": tenant.slug(), "version": 1_i64, "created_at": now,
                "updated_at": now,
            };
            document
                .extend(collection.sealed.iter().map(|field| ((*field).to_owned(), Bson::Null)));
            document
        };
        let refused = async |document: Document, what: &str| {
            let error = documents.insert_one(&document).await;
            let error = error.expect_err(&format!("{} takes {what}", collection.name));
            assert_eq!(code(&error), VALIDATION_FAILED, "{}: {what}", collection.name);
        };
        // The control: without a defect the same document is accepted, sealed or
        // empty.
        let mut sealed = right("control");
        let envelopes = collection.sealed.iter();
        sealed.extend(envelopes.map(|field| ((*field).to_owned(), Bson::Document(envelope()))));
        let kept = administrator.database(&name).collection::<Document>(collection.name);
        for control in [sealed, right("control")] {
            documents.insert_one(&control).await.unwrap();
            kept.delete_one(doc! { "_id": "control" }).await.unwrap();
        }

        let mut nobodys = right("nobodys");
        nobodys.remove("tenant_id");
        refused(nobodys, "a document of nobody").await;
        let mut elsewhere = right("elsewhere");
        elsewhere.insert("tenant_id", "another-tenant");
        refused(elsewhere, "another tenant's document").await;
        for field in collection.sealed {
            fields += 1;
            for (what, value) in [
                ("text", text()),
                ("a list", Bson::Array(vec![text()])),
                ("a document", Bson::Document(doc! { "value": text() })),
                ("another version", with("v", Bson::Int32(2))),
                ("text for the version", with("v", text())),
                ("text for the key", with("kid", text())),
                ("text for the subject", with("sub", text())),
                ("text for the ciphertext", with("ct", text())),
                ("text beside it", with("note", text())),
            ] {
                let mut document = right("in-clear");
                document.insert(*field, value);
                refused(document, &format!("{what} in {field}")).await;
            }
        }
    }
    assert!(fields >= 14, "{fields} sealed fields were tried");
    tenant.finish().await;
}
