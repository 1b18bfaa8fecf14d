//! What a person asked for beside the running device, and what is to be done about it: a pure rule.

use crate::state::Flag;

/// Flags as they are set, and how many deletions are held.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wishes {
    /// Nothing is to be changed.
    pub paused: bool,
    /// So many held deletions may pass.
    pub approve: Option<i64>,
    /// The held deletions are to be undone.
    pub restore: bool,
}

/// What follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing (yet).
    Nothing,
    /// Let the held deletions pass, and forget the wish.
    Approve,
    /// Undo them, and forget the wish.
    Restore,
    /// Forget the wish: nothing is held.
    Void,
    /// Forget the wish: more is held than the person was shown.
    More,
}

impl Wishes {
    /// From the flags that are set.
    pub fn of(flags: &[(Flag, i64)]) -> Self {
        let value = |wanted: Flag| flags.iter().find(|(flag, _)| *flag == wanted).map(|(_, value)| *value);
        Self { paused: value(Flag::Paused).is_some(), approve: value(Flag::Approve), restore: value(Flag::Restore).is_some() }
    }

    /// What to do about the held deletions. `known`: the disk was looked at, so that all that is held is counted.
    pub fn about_held(&self, held: usize, known: bool) -> Verdict {
        if !known || (self.approve.is_none() && !self.restore) {
            return Verdict::Nothing;
        }
        match self.approve {
            _ if held == 0 => Verdict::Void,
            _ if self.restore => Verdict::Restore,
            Some(shown) if i64::try_from(held).is_ok_and(|held| held <= shown) => Verdict::Approve,
            Some(_) | None => Verdict::More,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_person_was_shown_is_approved() {
        let approve = |shown| Wishes { approve: Some(shown), ..Wishes::default() };
        let restore = Wishes { restore: true, ..Wishes::default() };
        for (wishes, held, known, expected) in [
            (Wishes::default(), 5, true, Verdict::Nothing),
            (approve(5), 5, false, Verdict::Nothing),
            (approve(5), 5, true, Verdict::Approve),
            (approve(5), 3, true, Verdict::Approve),
            (approve(5), 6, true, Verdict::More),
            (approve(5), 0, true, Verdict::Void),
            (restore, 5, true, Verdict::Restore),
            (restore, 0, true, Verdict::Void),
            // Whoever asked for both gets the one that loses nothing.
            (Wishes { restore: true, ..approve(5) }, 5, true, Verdict::Restore),
        ] {
            assert_eq!(wishes.about_held(held, known), expected, "{wishes:?} {held} {known}");
        }
    }

    #[test]
    fn flags_become_wishes() {
        let wishes = Wishes::of(&[(Flag::Paused, 1), (Flag::Approve, 7)]);
        assert_eq!(wishes, Wishes { paused: true, approve: Some(7), restore: false });
        assert_eq!(Wishes::of(&[]), Wishes::default());
    }
}
