//! `POST /v1/events`

use keystone::Problem;
use keystone::audit::entry::Resource;
use keystone::auth::Permission;
use keystone::http::{Answer, Assurance, Call, Method, Reply, Route, Spec, schema_of};

use crate::capture::record_one;
use crate::epcis::document::{EventSchema, read_bare};
use crate::epcis::json::Json;
use crate::event::{StoredEvent, to_json};
use crate::movement::of_event;
use crate::posting::posted;
use crate::status::Status;

/// The route.
pub const ROUTE: Route = Route {
    spec: Spec {
        name: "create-event",
        method: Method::Post,
        path: "/v1/events",
        summary: "Records one EPCIS 2.0 event, as a draft.",
        query: None,
        body: Some(schema_of::<EventSchema>),
        answer: Answer {
            status: 201,
            media_type: "application/ld+json",
            schema: Some(schema_of::<EventSchema>),
            also: &[],
        },
    },
    permission: Permission::WriteTraceability,
    assurance: Assurance::Full,
};

/// The handler. An event that is there already is answered as it is.
pub async fn handle(call: Call) -> Result<Reply, Problem> {
    let (event, mut errors) = read_bare(&Json::read(call.request().text()?)?);
    let times = event.as_ref().map(|event| event.wrong_times(call.now())).unwrap_or_default();
    for (member, message) in times {
        errors.note(member, message);
    }
    let event = event.filter(|_| errors.0.is_empty()).ok_or(Problem::Invalid(errors.0))?;
    let id = call.new_id()?;
    let lines = posted(&call, of_event(&event, id))?;
    let event = StoredEvent::new(event, id, call.principal().user(), call.now(), Status::Draft)?;
    call.audited("event.create", async |tx| {
        let stored = record_one(tx, &call, id, &event, &lines).await?;
        if stored.id != id {
            tx.about(Resource { kind: "event".into(), id: stored.id.to_string() });
        }
        let location = format!("/v1/events/{}", stored.id);
        let body = to_json(&stored, Some(&stored.entity.context));
        Ok(Reply::linked_data(Some(location), body).with_version(stored.version))
    })
    .await
}
