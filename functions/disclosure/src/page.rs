//! Public pages, as HTML.

use askama::Template;
use keystone::Problem;

/// The media type of a page.
pub(crate) const HTML: &str = "text/html";
/// The media type of data.
pub(crate) const JSON: &str = "application/json";

/// A page of a table.
#[derive(Template)]
#[template(path = "page.html")]
pub(crate) struct Page<'a> {
    /// Its title.
    pub title: &'a str,
    /// What stands above the table.
    pub paragraphs: &'a [String],
    /// Its columns.
    pub columns: &'a [&'a str],
    /// Its rows, a cell for each column.
    pub rows: Vec<Vec<String>>,
    /// What stands there in place of a table without rows.
    pub empty: &'a str,
}

/// The page as text.
///
/// # Errors
/// [`Problem::Internal`] when it cannot be written.
pub(crate) fn html(page: &Page<'_>) -> Result<String, Problem> {
    page.render().map_err(|error| {
        tracing::error!(cause = %error, "a page cannot be written");
        Problem::Internal
    })
}
