//! Identity: sign-in, sign-out, invitations.

pub mod routes;
