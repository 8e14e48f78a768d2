//! Identity: sign-in, sessions, second factors, invitations, users and their
//! roles, and what a tenant decides about them.

pub mod contacts;
pub mod mailed_token;
pub mod operator_access;
pub mod own_password;
pub mod routes;
pub mod second_factor;
pub mod sign_in;
pub mod tenant;
pub mod user;
