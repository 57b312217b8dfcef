use std::fmt;
use std::ops::Deref;

/// A list that nearly always has one item, which then needs no allocation of its own: a mesh has hundreds of thousands.
#[derive(Clone)]
pub struct Few<T>(List<T>);

#[derive(Clone)]
enum List<T> {
    One(T),
    /// None, or several.
    Other(Box<[T]>),
}

impl<T> Deref for Few<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        match &self.0 {
            List::One(one) => std::slice::from_ref(one),
            List::Other(all) => all,
        }
    }
}

impl<T> FromIterator<T> for Few<T> {
    fn from_iter<I: IntoIterator<Item = T>>(items: I) -> Self {
        let mut items = items.into_iter();
        let Some(first) = items.next() else { return Self::default() };
        Self(match items.next() {
            None => List::One(first),
            Some(second) => List::Other([first, second].into_iter().chain(items).collect()),
        })
    }
}

impl<T, const N: usize> From<[T; N]> for Few<T> {
    fn from(items: [T; N]) -> Self {
        items.into_iter().collect()
    }
}

impl<T> From<Vec<T>> for Few<T> {
    fn from(items: Vec<T>) -> Self {
        items.into_iter().collect()
    }
}

impl<T> Default for Few<T> {
    fn default() -> Self {
        Self(List::Other(Box::default()))
    }
}

impl<'f, T> IntoIterator for &'f Few<T> {
    type Item = &'f T;
    type IntoIter = std::slice::Iter<'f, T>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl<T: PartialEq> PartialEq for Few<T> {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl<T: Eq> Eq for Few<T> {}

impl<T: fmt::Debug> fmt::Debug for Few<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_a_list_of_whatever_length() {
        for length in 0..4 {
            let list: Vec<u16> = (0..length).collect();
            let few: Few<u16> = list.clone().into();
            assert_eq!((&*few, few.iter().count()), (&*list, usize::from(length)));
            assert_eq!(matches!(few.0, List::One(_)), length == 1);
        }
    }

    #[test]
    fn one_item_takes_no_more_room_than_a_list() {
        assert_eq!(size_of::<Few<u32>>(), size_of::<Box<[u32]>>());
    }
}
