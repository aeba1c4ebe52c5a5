//! One page of a list: walks an index, each row with the record that it names, until the page is full.
//!
//! Promises: a page examines one row more than it shows, in one read, where all rows are to be shown; where some are not,
//! it reads on, at most [`MAX_ROWS`] in all. A page may therefore be short, and still have a next one.

use std::sync::Arc;

use super::{
    Directory,
    load::Began,
    page::{MAX_SIZE, Page, PageRequest},
    shelf::Shelved,
};
use crate::{
    error::Result,
    keys::ring::Keyring,
    store::{Index, Record, RecordKey, Row},
};

/// The most rows that one page examines, besides the one that tells whether a full page is the last.
const MAX_ROWS: usize = MAX_SIZE;
/// How much more each further read takes: where one row is not shown, many may not be.
const GROWTH: usize = 4;

/// A page that is being filled.
#[derive(Debug)]
pub(super) struct Listing<'a, T> {
    index: &'a Index,
    page: &'a PageRequest,
    items: Vec<T>,
    /// The row that was taken last, or the one behind which the page begins.
    cursor: Option<String>,
    examined: usize,
    /// How many rows the next read takes.
    chunk: usize,
    /// Known as soon as no more rows need be read.
    end: Option<End>,
}

#[derive(Clone, Copy, Debug)]
enum End {
    /// No rows stand behind the page.
    Last,
    /// There are rows behind the page, or there may be.
    More,
}

// === impl Listing ===

impl<'a, T> Listing<'a, T> {
    pub(super) fn new(index: &'a Index, page: &'a PageRequest) -> Self {
        // One row more than wanted tells whether there is a next page.
        let chunk = page.size + 1;
        Self { index, page, items: Vec::new(), cursor: page.cursor.clone(), examined: 0, chunk, end: None }
    }

    /// Takes rows into the page, in the order of the index; `None` is not to be shown.
    pub(super) fn take(&mut self, rows: impl IntoIterator<Item = (String, Option<T>)>) {
        for (id, item) in rows {
            if self.is_full() {
                self.end = Some(End::More);
                return;
            }
            self.items.extend(item);
            self.cursor = Some(id);
        }
    }

    pub(super) fn into_page(self, ring: &Keyring) -> Result<Page<T>> {
        let next = match (self.end, &self.cursor) {
            (Some(End::More), Some(last)) => self.page.next(last, ring)?,
            (Some(End::More | End::Last) | None, _) => String::new(),
        };
        Ok(Page { items: self.items, next })
    }

    fn is_full(&self) -> bool {
        self.items.len() >= self.page.size
    }

    /// How many rows to read next, at least one.
    fn limit(&self) -> usize {
        // A full page only asks whether anything stands behind it.
        if self.is_full() { 1 } else { self.chunk }
    }

    /// Notes that of `limit` rows so many were found.
    fn note(&mut self, limit: usize, found: usize) {
        self.examined += found;
        self.chunk = (self.chunk * GROWTH).min(MAX_ROWS.saturating_sub(self.examined));
        if found < limit {
            self.end = Some(End::Last);
        } else if self.chunk == 0 {
            self.end = Some(End::More);
        }
    }
}

// === impl Directory ===

impl Directory {
    /// One page of the records of an index that are to be shown, by id.
    pub(super) async fn list_records<R: Shelved>(
        &self,
        index: &Index,
        page: &PageRequest,
        shown: impl Fn(&R) -> bool,
    ) -> Result<Page<Arc<R>>> {
        let mut listing = Listing::new(index, page);
        while let Some(rows) = self.next_rows::<R, _>(&mut listing).await? {
            listing.take(rows.into_iter().map(|(id, record)| (id, record.filter(|record| shown(record)))));
        }
        listing.into_page(&self.core.ring)
    }

    /// The next rows that may belong on the page, each with its record; `None`: the page is complete.
    pub(super) async fn next_rows<R: Shelved, T>(
        &self,
        listing: &mut Listing<'_, T>,
    ) -> Result<Option<Vec<(String, Option<Arc<R>>)>>> {
        if listing.end.is_some() {
            return Ok(None);
        }
        let limit = listing.limit();
        let began = self.core.log.ticket();
        let rows = self.core.store.rows(listing.index, R::KIND, listing.cursor.as_deref(), limit).await?;
        listing.note(limit, rows.len());
        let mut records = Vec::with_capacity(rows.len());
        for Row { id, record } in rows {
            let place = RecordKey { tenant: listing.index.tenant.clone(), kind: R::KIND, id };
            let record = match record {
                Some(record) => self.listed(&place, &record, began).await?,
                None => None,
            };
            records.push((place.id, record));
        }
        Ok(Some(records))
    }

    /// The copy of a listed record in memory, which may be newer, or what was read.
    async fn listed<R: Shelved>(&self, place: &RecordKey, read: &Record, began: Began) -> Result<Option<Arc<R>>> {
        let shelf = R::shelf(&self.shelves);
        if let Some(known) = R::key_at(place).and_then(|key| shelf.get(&key)).flatten() {
            return Ok(Some(known));
        }
        let found = self.keep(place, Some(read), began)?;
        self.repair(place, read).await?;
        Ok(found)
    }
}
