//! Values by a small number, made when first asked for, without a lock.

use std::sync::OnceLock;

/// Values in the first block; each further one holds as many as all before it and as many as this.
const FIRST: usize = 8;
const BLOCKS: usize = 15;

/// Up to 262,136 values. A block is allocated when one of its values is.
#[derive(Debug)]
pub(super) struct Table<T>([OnceLock<Box<[OnceLock<T>]>>; BLOCKS]);

impl<T> Default for Table<T> {
    fn default() -> Self {
        Self([const { OnceLock::new() }; BLOCKS])
    }
}

impl<T> Table<T> {
    /// The value at `place`, if there is one.
    pub(super) fn get(&self, place: usize) -> Option<&T> {
        let (block, at) = address(place);
        self.0.get(block)?.get()?.get(at)?.get()
    }

    /// The value at `place`, and whether it is the one just made; `None` if there is none and `make` gives none, or there is no such
    /// place. Of two threads that make one at the same time one does it in vain.
    pub(super) fn get_or_make(
        &self,
        place: usize,
        make: impl FnOnce() -> Option<T>,
    ) -> Option<(&T, bool)> {
        if let Some(found) = self.get(place) {
            return Some((found, false));
        }
        let (block, at) = address(place);
        let slots = self.0.get(block)?.get_or_init(|| {
            let slots = (0..FIRST << block).map(|_| OnceLock::new());
            slots.collect()
        });
        let slot = slots.get(at)?;
        let is_made = slot.set(make()?).is_ok();
        Some((slot.get()?, is_made))
    }

    /// All values with their places, in order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (usize, &T)> {
        let blocks = self.0.iter().enumerate();
        blocks.flat_map(|(block, slots)| {
            let slots = slots.get().map_or(&[][..], |slots| slots);
            let before = (FIRST << block) - FIRST;
            let values = slots.iter().enumerate();
            values.filter_map(move |(at, slot)| Some((before + at, slot.get()?)))
        })
    }
}

/// The block of a place, and the place in it.
fn address(place: usize) -> (usize, usize) {
    let step = place.saturating_add(FIRST) / FIRST;
    let block = step.ilog2() as usize;
    (block, place.saturating_sub((FIRST << block) - FIRST))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_place_has_an_address_of_its_own() {
        let table = Table::default();
        for place in [0, 1, 7, 8, 9, 23, 24, 55, 56, 1000, 262_135] {
            assert_eq!(table.get(place), None);
            assert_eq!(
                table.get_or_make(place, || Some(place)),
                Some((&place, true))
            );
            assert_eq!(table.get_or_make(place, || None), Some((&place, false)));
        }
        for place in [262_136, usize::MAX] {
            assert_eq!(table.get_or_make(place, || Some(place)), None);
        }
        let all: Vec<_> = table.iter().map(|(place, value)| (place, *value)).collect();
        assert!(all.iter().all(|(place, value)| place == value), "{all:?}");
        assert!(all.is_sorted() && all.len() == 11);
        assert_eq!(table.get_or_make(2, || None), None);
        assert_eq!(table.get_or_make(2, || Some(5)), Some((&5, true)));
    }
}
