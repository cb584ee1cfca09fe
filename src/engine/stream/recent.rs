//! The newest publications in memory: recovery after a short absence needs no storage read, and a row that many request
//! is parsed once. Results are the same as the storage's.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;

use crate::engine::effect::HistoryQuery;
use crate::engine::input::{Newest, StoredPublication};
use crate::engine::publication::{Publication, STORED_VERSION};

/// The most bytes of retained texts, and likewise of parsed ones.
const MAX_BYTES: usize = 4 * 1024 * 1024;

/// The end of the history.
pub(super) struct Recent {
    /// The newest rows without a gap, ending with the newest.
    rows: VecDeque<RecentRow>,
    /// The offset of the first of them; if there is none, of the next one.
    first: u64,
    bytes: usize,
    /// Their offsets, by place.
    by_place: BTreeSet<(Rc<str>, u64)>,
    /// Publications that were requested, by offset, with their times.
    parsed: BTreeMap<u64, (u64, Rc<Publication>)>,
    parsed_bytes: usize,
}

struct RecentRow {
    place: Rc<str>,
    version: u64,
    text: Rc<str>,
    time: u64,
    /// Total bytes of all rows up to it.
    total_bytes: u64,
}

impl Recent {
    /// Empty, after the row of this offset.
    pub(super) fn after(offset: u64) -> Recent {
        Recent {
            rows: VecDeque::new(),
            first: offset.saturating_add(1),
            bytes: 0,
            by_place: BTreeSet::new(),
            parsed: BTreeMap::new(),
            parsed_bytes: 0,
        }
    }

    /// Adds the newest row.
    pub(super) fn push(&mut self, newest: Newest, (version, text): (u64, Rc<str>), place: &str) {
        let known = self.by_place.range((Rc::from(place), 0)..).next().filter(|(known, _)| &**known == place);
        let place = known.map_or_else(|| Rc::from(place), |(known, _)| known.clone());
        self.by_place.insert((place.clone(), newest.offset));
        self.bytes += text.len();
        let Newest { time, total_bytes, .. } = newest;
        self.rows.push_back(RecentRow { place, version, text, time, total_bytes });
        while self.bytes > MAX_BYTES {
            self.drop_first();
        }
    }

    /// The rows that a query would read, and how many were scanned; `None` if the query needs the storage.
    pub(super) fn find(&self, query: &HistoryQuery) -> Option<(Vec<StoredPublication>, u64)> {
        let next = query.after.saturating_add(1);
        if next < self.first {
            return None;
        }
        let (offsets, scanned) = self.offsets(query, next);
        let mut found = Vec::new();
        let mut bytes = 0;
        for offset in offsets {
            if found.len() as u64 >= query.rows || bytes > query.bytes {
                break;
            }
            let row = self.row(offset)?;
            bytes += row.text.len() as u64;
            let text = row.text.to_string();
            found.push(StoredPublication { offset, time: row.time, version: row.version, text });
        }
        Some((found, scanned))
    }

    /// The publication of a row; `None` if it is unreadable.
    pub(super) fn parse(&mut self, row: &StoredPublication) -> Option<Rc<Publication>> {
        // The newest row loses its text once its retention has passed.
        if row.version != STORED_VERSION {
            return None;
        }
        if let Some((_, known)) = self.parsed.get(&row.offset) {
            return Some(known.clone());
        }
        let publication = Rc::new(Publication::stored(row.version, &row.text)?);
        self.parsed_bytes += row.text.len();
        self.parsed.insert(row.offset, (row.time, publication.clone()));
        while self.parsed_bytes > MAX_BYTES
            && let Some((_, (_, first))) = self.parsed.pop_first()
        {
            self.parsed_bytes -= first.source.len();
        }
        Some(publication)
    }

    /// Drops rows that may have been trimmed: up to this offset, time or total of bytes.
    pub(super) fn forget(&mut self, last: &Newest) {
        let is_over = |first: u64, row: &RecentRow| {
            first <= last.offset || row.time <= last.time || row.total_bytes <= last.total_bytes
        };
        while self.rows.front().is_some_and(|row| is_over(self.first, row)) {
            self.drop_first();
        }
        let first = self.first;
        self.parsed.retain(|offset, (time, publication)| {
            let stays = *offset > last.offset && *time > last.time && (*offset >= first || last.total_bytes == 0);
            self.parsed_bytes -= if stays { 0 } else { publication.source.len() };
            stays
        });
    }

    /// The offsets of the selected rows from `next` on, and how many were scanned.
    fn offsets(&self, query: &HistoryQuery, next: u64) -> (Vec<u64>, u64) {
        if query.selection.is_whole {
            let skipped = usize::try_from(next - self.first).unwrap_or(usize::MAX);
            let is_selected = |(_, row): &(u64, &RecentRow)| query.selection.has(&row.place);
            let selected = (next..).zip(self.rows.iter().skip(skipped)).filter(is_selected);
            let offsets = selected.map(|(offset, _)| offset).collect();
            return (offsets, self.rows.len().saturating_sub(skipped) as u64);
        }
        let places: BTreeSet<&String> = query.selection.places.iter().collect();
        let of = |place: &String| {
            let place: Rc<str> = Rc::from(place.as_str());
            self.by_place.range((place.clone(), next)..=(place, u64::MAX)).map(|(_, offset)| *offset)
        };
        let mut offsets: Vec<u64> = places.into_iter().flat_map(of).collect();
        offsets.sort_unstable();
        let scanned = offsets.len() as u64;
        (offsets, scanned)
    }

    fn row(&self, offset: u64) -> Option<&RecentRow> {
        self.rows.get(usize::try_from(offset.checked_sub(self.first)?).ok()?)
    }

    fn drop_first(&mut self) {
        let Some(row) = self.rows.pop_front() else { return };
        self.bytes -= row.text.len();
        self.by_place.remove(&(row.place, self.first));
        self.first += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::effect::Selection;

    fn query(after: u64) -> HistoryQuery {
        let selection = Selection { is_whole: false, places: vec!["a".to_owned()], is_all: false };
        HistoryQuery { after, selection, rows: u64::MAX, bytes: u64::MAX }
    }

    fn offsets(recent: &Recent, after: u64) -> Option<Vec<u64>> {
        recent.find(&query(after)).map(|(rows, _)| rows.iter().map(|row| row.offset).collect())
    }

    fn push(recent: &mut Recent, offset: u64, text: &str, place: &str) {
        let newest = Newest { offset, time: offset, total_bytes: offset };
        recent.push(newest, (STORED_VERSION, Rc::from(text)), place);
    }

    #[test]
    fn it_has_a_bound_and_knows_how_far_back_it_reaches() {
        let mut recent = Recent::after(10);
        let text = "x".repeat(MAX_BYTES / 100);
        for offset in 11..=300 {
            push(&mut recent, offset, &text, if offset % 10 == 0 { "a" } else { "b" });
        }
        assert!(recent.bytes <= MAX_BYTES && recent.rows.len() >= 100 && recent.by_place.len() == recent.rows.len());
        let first = recent.first;
        assert_eq!(offsets(&recent, first - 2), None, "that is the storage's to tell");
        assert_eq!(offsets(&recent, first - 1).unwrap().last(), Some(&300));
        assert_eq!(offsets(&recent, 285), Some(vec![290, 300]));
        assert_eq!(offsets(&recent, 300), Some(Vec::new()));
    }

    #[test]
    fn what_may_be_trimmed_is_forgotten() {
        let mut recent = Recent::after(0);
        (1..=9).for_each(|offset| push(&mut recent, offset, "x", "a"));
        for (last, first) in [
            (Newest { offset: 2, time: 0, total_bytes: 0 }, 3),
            (Newest { offset: 2, time: 4, total_bytes: 0 }, 5),
            (Newest { offset: 2, time: 4, total_bytes: 6 }, 7),
            (Newest { offset: 9, time: 4, total_bytes: 6 }, 10),
        ] {
            recent.forget(&last);
            assert_eq!((recent.first, offsets(&recent, first - 2)), (first, None));
        }
        push(&mut recent, 10, "x", "a");
        assert_eq!(offsets(&recent, 9), Some(vec![10]));
    }

    #[test]
    fn a_row_is_parsed_once() {
        let mut recent = Recent::after(0);
        let text = r#"{"type":"broadcast","event":"e","payload":1}"#.to_owned();
        let row = StoredPublication { offset: 1, time: 1, version: STORED_VERSION, text };
        let first = recent.parse(&row).unwrap();
        assert!(Rc::ptr_eq(&first, &recent.parse(&row).unwrap()));
        assert!(recent.parse(&StoredPublication { version: 0, text: String::new(), ..row.clone() }).is_none());
        recent.forget(&Newest { offset: 1, time: 0, total_bytes: 0 });
        assert_eq!((recent.parsed.len(), recent.parsed_bytes), (0, 0));
    }
}
