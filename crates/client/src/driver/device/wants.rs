//! What a person asked the device for, carried out.

use super::Device;
use crate::driver::wishes::{Verdict, Wishes};
use crate::state::Flag;
use stacksync_core::engine::Input;

impl Device {
    pub(super) async fn read_flags(&mut self) {
        let flags = match self.flags.flags() {
            Ok(flags) => flags,
            Err(error) => return tracing::warn!("{error}"),
        };
        let wishes = Wishes::of(&flags);
        if wishes.paused != self.wishes.paused {
            for member in self.members.values() {
                if wishes.paused {
                    member.inputs.pause().await;
                } else {
                    member.inputs.resume().await;
                }
            }
        }
        self.wishes = wishes;
        if flags.contains(&(Flag::Paused, Flag::WANTED)) {
            self.around.shared.state.flag(Flag::Paused, Some(Flag::IN_EFFECT)).await;
        }
    }

    pub(super) async fn mind_held(&mut self) {
        let known = self.members.values().all(|member| member.status.borrow().current);
        let held = self.members.values().map(|member| member.status.borrow().held).sum();
        let input = match self.wishes.about_held(held, known && !self.members.is_empty()) {
            Verdict::Nothing => return,
            Verdict::Approve => Some(Input::Approve),
            Verdict::Restore => Some(Input::Restore),
            Verdict::Void => None,
            Verdict::More => {
                tracing::warn!("more deletions are held than were approved: see `stacksync status`, then approve again");
                None
            }
        };
        if let Some(input) = input {
            for member in self.members.values() {
                member.inputs.ask(input.clone()).await;
            }
        }
        self.wishes = Wishes { paused: self.wishes.paused, ..Wishes::default() };
        self.around.shared.state.flag(Flag::Approve, None).await;
        self.around.shared.state.flag(Flag::Restore, None).await;
        self.around.shared.state.flush().await;
    }
}
