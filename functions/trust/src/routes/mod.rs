//! One file per route.

use keystone::http::{PublicRoute, Route};

pub mod create_questionnaire;
pub mod get_oscal;
pub mod get_posture;
pub mod get_questionnaire;
pub mod list_postures;

/// Every guarded route of this crate.
pub const ROUTES: [&Route; 2] = [&create_questionnaire::ROUTE, &get_questionnaire::ROUTE];

/// Every public route of this crate.
pub const PUBLIC_ROUTES: [&PublicRoute; 3] =
    [&get_oscal::ROUTE, &get_posture::ROUTE, &list_postures::ROUTE];
