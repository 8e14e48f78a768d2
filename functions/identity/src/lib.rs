//! Identity: sign-in, sessions, invitations, users and their roles.

pub mod routes;
pub mod user;
