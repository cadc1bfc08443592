//! A fair priority queue: the more urgent overtake, but nobody waits for ever.

use std::collections::BTreeMap;

use crate::core::priority::Priority;

/// So many may overtake whoever has waited longest; then it is let in, however urgent the others are. So at least a
/// fifth of what there is goes by age alone.
pub const OVERTAKERS: u32 = 4;

/// Those who wait, by priority, and within one in the order of arrival.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct FairQueue<T> {
    waiting: [BTreeMap<u64, T>; Priority::ALL.len()],
    arrived: u64,
    overtakers: u32,
}

impl<T> Default for FairQueue<T> {
    fn default() -> Self {
        Self { waiting: std::array::from_fn(|_| BTreeMap::new()), arrived: 0, overtakers: 0 }
    }
}

impl<T> FairQueue<T> {
    /// Waits from now on; answers its number, which is its own for as long as it waits.
    pub fn push(&mut self, priority: Priority, who: T) -> u64 {
        self.arrived += 1;
        self.waiting[priority as usize].insert(self.arrived, who);
        self.arrived
    }

    /// Gives whoever has that number another priority; among its new equals, too, it goes by its arrival.
    pub fn change(&mut self, number: u64, from: Priority, to: Priority) {
        if let Some(who) = self.remove(number, from) {
            self.waiting[to as usize].insert(number, who);
        }
    }

    /// Whoever has that number waits no longer.
    pub fn remove(&mut self, number: u64, priority: Priority) -> Option<T> {
        self.waiting[priority as usize].remove(&number)
    }

    /// Whether nobody waits.
    pub fn is_empty(&self) -> bool {
        self.waiting.iter().all(BTreeMap::is_empty)
    }

    /// Everybody, the most urgent first.
    pub fn iter(&self) -> impl Iterator<Item = (Priority, &T)> {
        Priority::ALL
            .into_iter()
            .flat_map(|priority| self.waiting[priority as usize].values().map(move |who| (priority, who)))
    }

    /// Lets the next one in. A priority that is not `open` waits for a place that is not kept for the more urgent, and
    /// gets one by age; whoever does not fit now lets the others pass.
    pub fn next(
        &mut self,
        open: impl Fn(Priority) -> bool,
        mut fits: impl FnMut(Priority, &T) -> bool,
    ) -> Option<(Priority, T)> {
        let mut first: [Option<u64>; Priority::ALL.len()] = Default::default();
        for priority in Priority::ALL {
            let mut queue = self.waiting[priority as usize].iter();
            first[priority as usize] = queue.find(|(_, who)| fits(priority, who)).map(|(number, _)| *number);
        }
        let found = |priority: Priority| first[priority as usize].map(|number| (number, priority));
        let (oldest, by_age) = Priority::ALL.into_iter().filter_map(found).min()?;
        if self.overtakers >= OVERTAKERS {
            self.overtakers = 0;
            return Some((by_age, self.remove(oldest, by_age)?));
        }
        let (number, priority) = Priority::ALL.into_iter().filter(|priority| open(*priority)).find_map(found)?;
        self.overtakers = if number == oldest { 0 } else { self.overtakers + 1 };
        Some((priority, self.remove(number, priority)?))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use proptest::prelude::*;

    use super::*;

    fn next(queue: &mut FairQueue<u32>) -> Option<u32> {
        queue.next(|_| true, |_, _| true).map(|(_, who)| who)
    }

    #[test]
    fn the_urgent_overtake_and_equals_keep_their_order() {
        let mut queue = FairQueue::default();
        for (who, priority) in
            [Priority::Background, Priority::Background, Priority::Edited, Priority::New].into_iter().enumerate()
        {
            queue.push(priority, u32::try_from(who).unwrap());
        }
        let all: Vec<_> = std::iter::from_fn(|| next(&mut queue)).collect();
        assert_eq!(all, [3, 2, 0, 1]);
        assert!(queue.is_empty());
    }

    #[test]
    fn whoever_becomes_urgent_moves_up() {
        let mut queue = FairQueue::default();
        let numbers: Vec<_> = (0..3).map(|who| queue.push(Priority::Background, who)).collect();
        queue.change(numbers[2], Priority::Background, Priority::Edited);
        assert_eq!(next(&mut queue), Some(2));
        assert_eq!(next(&mut queue), Some(0));
        queue.change(numbers[0], Priority::Background, Priority::New);
        assert_eq!(next(&mut queue), Some(1), "who is in already changes nothing");
        assert_eq!(next(&mut queue), None);
    }

    #[test]
    fn whoever_moves_up_keeps_its_age() {
        let mut queue = FairQueue::default();
        let old = queue.push(Priority::Background, 0);
        queue.push(Priority::Edited, 1);
        queue.change(old, Priority::Background, Priority::Edited);
        assert_eq!([next(&mut queue), next(&mut queue)], [Some(0), Some(1)]);
    }

    #[test]
    fn a_closed_priority_is_let_in_by_age_alone() {
        let mut queue = FairQueue::default();
        queue.push(Priority::Background, 0);
        for who in 1..=6 {
            queue.push(Priority::New, who);
        }
        let mut only_new = || queue.next(|priority| priority == Priority::New, |_, _| true).map(|(_, who)| who);
        let let_in: Vec<_> = std::iter::from_fn(&mut only_new).collect();
        assert_eq!(let_in, [1, 2, 3, 4, 0, 5, 6]);
    }

    #[test]
    fn whoever_does_not_fit_lets_the_others_pass() {
        let mut queue = FairQueue::default();
        for who in 0..4 {
            queue.push(Priority::New, who);
        }
        let odd: Vec<_> =
            std::iter::from_fn(|| queue.next(|_| true, |_, who| who % 2 == 1)).map(|(_, who)| who).collect();
        assert_eq!(odd, [1, 3]);
        assert_eq!(queue.iter().map(|(_, who)| *who).collect::<Vec<_>>(), [0, 2]);
    }

    fn priority() -> impl Strategy<Value = Priority> {
        (0..Priority::ALL.len()).prop_map(|at| Priority::ALL[at])
    }

    proptest! {
        #[test]
        fn nobody_waits_for_ever(before in proptest::collection::vec(priority(), 1..20), stream in priority()) {
            let mut queue = FairQueue::default();
            for priority in &before {
                queue.push(*priority, true);
            }
            // However many arrive meanwhile, those who were there first are in after a bounded number of others.
            let bound = before.len() * (OVERTAKERS as usize + 1);
            let mut left = before.len();
            for _ in 0..bound {
                queue.push(stream, false);
                left -= usize::from(queue.next(|_| true, |_, _| true).unwrap().1);
            }
            prop_assert_eq!(left, 0);
        }

        #[test]
        fn nobody_is_lost_or_let_in_twice(all in proptest::collection::vec(priority(), 0..50)) {
            let mut queue = FairQueue::default();
            for (who, priority) in all.iter().enumerate() {
                queue.push(*priority, who);
            }
            let mut seen: Vec<_> = std::iter::from_fn(|| queue.next(|_| true, |_, _| true)).map(|(_, who)| who).collect();
            seen.sort_unstable();
            prop_assert_eq!(seen, (0..all.len()).collect::<Vec<_>>());
        }
    }
}
