//! EPCIS 2.0 (GS1, 2022): events, the documents that carry them, and the
//! identifiers and words that they are made of. Nothing here knows of HTTP or
//! of the database.

mod canonical;
pub mod document;
pub mod epc;
pub mod event;
pub mod json;
pub mod quantity;
mod read;
pub mod sensor;
pub mod vocabulary;

#[cfg(test)]
mod gs1_tests;
