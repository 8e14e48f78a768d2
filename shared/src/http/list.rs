//! Lists: pages of items, newest first, with an opaque cursor.

use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Call;
use crate::Problem;
use crate::audit::entry::Resource;
use crate::auth::Permission;
use crate::tenant::{Entity, Filter, Id, Page, Stored};

/// Items on a page unless the client says otherwise.
pub const PAGE: i64 = 50;

/// The paging parameters of every list.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PageQuery {
    /// At most this many; 50 unless given.
    #[schemars(range(min = 1, max = 100))]
    pub limit: Option<i64>,
    /// Where the page before ended.
    #[schemars(length(min = 1, max = 200))]
    pub cursor: Option<String>,
}

/// One page of a list.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "{T}List")]
pub struct List<T> {
    /// The items, newest first.
    pub items: Vec<T>,
    /// Pass it as `cursor` for the next page; absent on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<String>,
}

impl<T> List<T> {
    /// A page from up to `limit + 1` items found: the one too many only says
    /// that there is a next page, which begins after the last item's `key`.
    pub fn new<K: ToString>(mut found: Vec<T>, limit: i64, key: impl Fn(&T) -> K) -> Self {
        let limit = usize::try_from(limit).unwrap_or(0);
        let more = found.len() > limit;
        found.truncate(limit);
        let next_cursor =
            found.last().filter(|_| more).map(|last| URL_SAFE_NO_PAD.encode(key(last).to_string()));
        Self { items: found, next_cursor }
    }

    /// The same page, which, were it the last, goes on after `key` where there
    /// is one: it was looked for no further.
    #[must_use]
    pub fn or_from<K: ToString>(mut self, key: Option<K>) -> Self {
        let cursor = || key.map(|key| URL_SAFE_NO_PAD.encode(key.to_string()));
        self.next_cursor = self.next_cursor.or_else(cursor);
        self
    }

    /// The same page with other items.
    pub fn map<U>(&self, view: impl Fn(&T) -> U) -> List<U> {
        List { items: self.items.iter().map(view).collect(), next_cursor: self.next_cursor.clone() }
    }

    /// The same page with other items, if each can be made.
    ///
    /// # Errors
    /// The first error of `view`.
    pub fn try_map<U, E>(&self, view: impl Fn(&T) -> Result<U, E>) -> Result<List<U>, E> {
        Ok(List {
            items: self.items.iter().map(view).collect::<Result<_, _>>()?,
            next_cursor: self.next_cursor.clone(),
        })
    }
}

impl<T> List<T> {
    /// As [`List::try_map`], for items whose making waits.
    ///
    /// # Errors
    /// The first error of `view`.
    pub async fn try_map_async<U, E>(
        &self,
        view: impl AsyncFn(&T) -> Result<U, E>,
    ) -> Result<List<U>, E> {
        let mut items = Vec::with_capacity(self.items.len());
        for item in &self.items {
            items.push(view(item).await?);
        }
        Ok(List { items, next_cursor: self.next_cursor.clone() })
    }
}

impl PageQuery {
    /// How many items to show.
    pub fn limit(&self) -> i64 {
        self.limit.unwrap_or(PAGE)
    }

    /// The key after which the page begins.
    ///
    /// # Errors
    /// 422 for `cursor` when it is not one of ours.
    pub fn after<K: FromStr>(&self) -> Result<Option<K>, Problem> {
        self.cursor.as_deref().map(decode).transpose()
    }
}

fn decode<K: FromStr>(cursor: &str) -> Result<K, Problem> {
    URL_SAFE_NO_PAD
        .decode(cursor)
        .ok()
        .and_then(|bytes| String::from_utf8(bytes).ok())
        .and_then(|key| key.parse().ok())
        .ok_or_else(|| Problem::invalid("cursor", "Use the cursor of the page before."))
}

impl Call {
    /// A page of the tenant's entities that fit `filter`.
    ///
    /// # Errors
    /// 422 for a bad cursor; 503 when the database does not answer.
    pub async fn page<E: Entity>(
        &self,
        filter: Filter,
        query: &PageQuery,
    ) -> Result<List<Stored<E>>, Problem> {
        let limit = query.limit();
        let page = Page { after: query.after::<Id>()?, limit: limit + 1 };
        let found = self.tenant().list::<E>(filter, page).await?;
        Ok(List::new(found, limit, |stored| stored.id))
    }

    /// A page of the tenant's entities whose sealed value behind the blind
    /// index `index` is `text`. Only for whom `permission` shows such values
    /// in clear: whoever may not read them may not guess them either. The
    /// search is recorded as `action` before it is answered, also one that
    /// finds nothing: each answer tells what a value is or is not.
    ///
    /// # Errors
    /// 403 to anybody else; otherwise as [`Call::page`].
    pub async fn page_sealed<E: Entity>(
        &self,
        permission: Permission,
        action: &'static str,
        (index, text): (&'static str, &str),
        query: &PageQuery,
    ) -> Result<List<Stored<E>>, Problem> {
        if !self.sees(permission) {
            return Err(Problem::Forbidden);
        }
        let limit = query.limit();
        let page = Page { after: query.after::<Id>()?, limit: limit + 1 };
        let found = self.tenant().list_sealed::<E>(index, text, page).await?;
        let list = List::new(found, limit, |stored| stored.id);
        let resource = Resource { kind: E::RESOURCE.into(), id: "many".into() };
        let field = index.trim_end_matches("_index");
        self.disclose(action, resource, &[field], list.items.len()).await?;
        Ok(list)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cursor_of_a_page_leads_to_the_next() {
        let page = List::new(vec![9, 8, 7], 2, |n| *n);
        assert_eq!(page.items, [9, 8]);
        let query = PageQuery { limit: None, cursor: page.next_cursor };
        assert_eq!(query.after::<u64>(), Ok(Some(8)));
        assert_eq!(List::new(vec![7], 2, |n| *n).next_cursor, None);
    }

    #[test]
    fn a_page_on_which_the_search_stopped_leads_on() {
        let stopped = List::new(vec![9], 2, |n| *n).or_from(Some(4));
        let query = PageQuery { limit: None, cursor: stopped.next_cursor };
        assert_eq!(query.after::<u64>(), Ok(Some(4)));
        let full = List::new(vec![9, 8, 7], 2, |n| *n);
        let cursor = full.next_cursor.clone();
        assert_eq!(full.or_from(Some(4)).next_cursor, cursor);
        assert_eq!(List::new(vec![7], 2, |n| *n).or_from(None::<u64>).next_cursor, None);
    }

    #[test]
    fn a_cursor_that_is_not_ours_is_refused() {
        for cursor in ["!", "", "AAAA", "////"] {
            let query = PageQuery { limit: None, cursor: Some(cursor.into()) };
            assert!(query.after::<u64>().is_err(), "{cursor}");
        }
    }
}
