//! The calls of one side, by slot.

/// Calls in flight, found by the index that their id names. Slots are used again, lowest last
/// freed first; the table grows by one slot at a time, so that both sides agree on which ids can
/// have been used.
#[derive(Debug)]
pub(crate) struct Table<C> {
    slots: Vec<Option<C>>,
    free: Vec<u32>,
    /// How many slots are taken.
    taken: usize,
}

impl<C> Default for Table<C> {
    fn default() -> Self {
        Self {
            slots: Vec::new(),
            free: Vec::new(),
            taken: 0,
        }
    }
}

impl<C> Table<C> {
    /// How many calls are in flight.
    pub(crate) fn len(&self) -> usize {
        self.taken
    }

    /// How many slots have ever been used.
    pub(crate) fn slots(&self) -> usize {
        self.slots.len()
    }

    /// Puts a call into a free slot of our choice, and returns which.
    pub(crate) fn insert(&mut self, call: C) -> u32 {
        self.taken += 1;
        if let Some(index) = self.free.pop() {
            self.slots[index as usize] = Some(call);
            return index;
        }
        self.slots.push(Some(call));
        (self.slots.len() - 1) as u32
    }

    /// Puts a call into the slot that the other side chose, which is free, or the next new one.
    pub(crate) fn insert_at(&mut self, index: usize, call: C) {
        self.taken += 1;
        match self.slots.get_mut(index) {
            Some(slot) => *slot = Some(call),
            None => self.slots.push(Some(call)),
        }
    }

    pub(crate) fn get(&self, index: usize) -> Option<&C> {
        self.slots.get(index)?.as_ref()
    }

    pub(crate) fn get_mut(&mut self, index: usize) -> Option<&mut C> {
        self.slots.get_mut(index)?.as_mut()
    }

    /// Takes a call out of a slot that [`insert`](Self::insert) chose.
    pub(crate) fn remove(&mut self, index: usize) -> Option<C> {
        let call = self.remove_at(index)?;
        self.free.push(index as u32);
        Some(call)
    }

    /// Takes a call out of a slot that the other side chose.
    pub(crate) fn remove_at(&mut self, index: usize) -> Option<C> {
        let call = self.slots.get_mut(index)?.take()?;
        self.taken -= 1;
        Some(call)
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (u32, &mut C)> {
        let slots = self.slots.iter_mut().enumerate();
        slots.filter_map(|(index, slot)| slot.as_mut().map(|call| (index as u32, call)))
    }

    /// Takes all calls out.
    pub(crate) fn drain(&mut self) -> impl Iterator<Item = C> {
        self.free.clear();
        self.taken = 0;
        std::mem::take(&mut self.slots).into_iter().flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::Table;

    #[test]
    fn slots_are_used_again_and_grow_one_at_a_time() {
        let mut table = Table::default();
        assert_eq!((table.insert('a'), table.insert('b')), (0, 1));
        assert_eq!(table.remove(0), Some('a'));
        assert_eq!(table.remove(0), None);
        assert_eq!((table.len(), table.slots()), (1, 2));
        assert_eq!(table.insert('c'), 0);
        assert_eq!(table.insert('d'), 2);
        let calls: String = table.iter_mut().map(|(_, call)| *call).collect();
        assert_eq!(calls, "cbd");
        assert_eq!(table.drain().count(), 3);
        assert_eq!(table.len(), 0);
    }
}
