//! The request pipeline: event in, answer out, with everything between that a
//! handler must not be able to forget.
//!
//! Order: read the event, authenticate, open the tenant, authorise, check
//! size and media type, and only then the handler. Every outcome is a response
//! with the security headers; a failed invocation is a crash of ours only.

mod call;
mod event;
mod input;
mod list;
mod pipeline;
mod reply;
mod route;

pub use call::{Call, PublicCall, Request, escaped};
pub use event::Event;
pub use input::{present, value as read_value};
pub use list::{List, PageQuery};
pub use pipeline::{Pipeline, serve, serve_public};
pub use reply::{Reply, Response};
pub use route::{Answer, Assurance, CSV, Method, PublicRoute, Route, Spec, schema_of};
