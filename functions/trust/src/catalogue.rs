//! The control catalogue: every control of the public page in its own words,
//! with what is claimed of it, who answers for it, and what shows it.

use std::sync::LazyLock;

use jiff::civil::Date;
use keystone::audit::merkle::Hash;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::checks::Check;

const SOURCE: &str = include_str!("../catalogue.json");

/// What the public page claims of a control.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Declared {
    /// In force today; also what the page promises without a label.
    Live,
    /// Being built.
    InProgress,
    /// To be built.
    Planned,
    /// There is no such certificate.
    NotCertified,
}

/// A control.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Control {
    /// Its id, such as `C3.1`.
    pub id: String,
    /// The section of the public page.
    pub section: String,
    /// The claim, in the page's words.
    pub claim: String,
    /// What is claimed.
    pub status: Declared,
    /// Who answers for it.
    pub owner: String,
    /// What shows that it is so.
    pub shown_by: String,
    /// What is checked; at least one for what is live.
    pub checks: Vec<Check>,
    /// When it is to be live; for what is in progress or planned.
    #[serde(default)]
    pub target_on: Option<Date>,
    /// What a reader should know beside.
    #[serde(default)]
    pub note: Option<String>,
    /// The API's operations that must be there and guarded, for
    /// [`Check::Operations`].
    #[serde(default)]
    pub operations: Vec<String>,
}

impl Control {
    /// Whether the date is past for which it was announced.
    pub fn is_late(&self, today: Date) -> bool {
        let ahead = matches!(self.status, Declared::InProgress | Declared::Planned);
        ahead && self.target_on.is_some_and(|target| target < today)
    }
}

/// The catalogue.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Catalogue {
    /// Always `keystone-catalogue/1`.
    #[serde(rename = "format")]
    _format: String,
    controls: Vec<Control>,
}

static CATALOGUE: LazyLock<Vec<Control>> = LazyLock::new(|| {
    let read: Result<Catalogue, _> = serde_json::from_str(SOURCE);
    // A test reads it too, so a build that was tested has it.
    read.map(|read| read.controls).unwrap_or_default()
});

/// All controls, in the order of the public page.
pub fn controls() -> &'static [Control] {
    &CATALOGUE
}

/// The control with this id.
pub fn control(id: &str) -> Option<&'static Control> {
    controls().iter().find(|control| control.id == id)
}

/// SHA-256 of the catalogue, hex: a posture names what it was made from.
pub fn digest() -> String {
    Hash::of(&[SOURCE.as_bytes()]).to_string()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    const PAGE: &str = include_str!("../public-page.txt");

    #[test]
    fn what_is_live_is_checked_and_what_is_not_yet_has_a_date() {
        serde_json::from_str::<Catalogue>(SOURCE).unwrap();
        let mut ids = HashSet::new();
        for control in controls() {
            assert!(ids.insert(&control.id), "{} stands there twice", control.id);
            let live = control.status == Declared::Live;
            assert!(!live || !control.checks.is_empty(), "{} has no check", control.id);
            let ahead = matches!(control.status, Declared::InProgress | Declared::Planned);
            assert_eq!(control.target_on.is_some(), ahead, "{}", control.id);
            let routes = control.checks.contains(&Check::Operations);
            assert_eq!(!control.operations.is_empty(), routes, "{}", control.id);
            assert!(!control.owner.is_empty() && !control.shown_by.is_empty(), "{}", control.id);
        }
    }

    #[test]
    fn every_check_serves_a_control() {
        for check in Check::ALL {
            let used = controls().iter().any(|control| control.checks.contains(&check));
            assert!(used, "{} is in no control", check.name());
        }
    }

    #[test]
    fn claims_are_in_the_words_of_the_public_page() {
        for control in controls() {
            assert!(PAGE.contains(&control.claim), "{} is not on the page", control.id);
        }
    }

    #[test]
    fn every_labelled_line_of_the_public_page_is_in_the_catalogue_with_its_label() {
        let labels = [
            ("LIVE", Declared::Live),
            ("IN PROGRESS", Declared::InProgress),
            ("PLANNED", Declared::Planned),
            ("NOT CERTIFIED", Declared::NotCertified),
        ];
        let mut found = 0;
        for line in PAGE.lines().map(|line| line.trim_start_matches("- ")) {
            let label = labels.iter().find(|(label, _)| line.starts_with(label));
            let Some((label, status)) = label else { continue };
            let text = &line[label.len()..];
            let of_line: Vec<&Control> =
                controls().iter().filter(|control| text.contains(&control.claim)).collect();
            assert!(!of_line.is_empty(), "no control for: {line}");
            assert!(of_line.iter().all(|control| control.status == *status), "{line}");
            found += 1;
        }
        assert_eq!(found, 21, "labelled lines of the page");
    }

    #[test]
    fn a_date_that_is_past_is_late() {
        let mfa = control("C8").unwrap();
        assert!(!mfa.is_late("2026-09-30".parse().unwrap()));
        assert!(mfa.is_late("2026-10-01".parse().unwrap()));
        assert!(!control("C3.1").unwrap().is_late("2030-01-01".parse().unwrap()));
    }
}
