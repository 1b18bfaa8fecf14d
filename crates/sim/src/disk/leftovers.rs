//! Temporary names that an earlier run left in the user's folder. As `disk/leftovers.rs` of the client.

use super::calls::{Calls, OpenFolderError};
use super::rules::OWN_PREFIX;
use super::trash::Why;
use super::{Disk, Progress};
use stacksync_core::values::ItemPath;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

impl Disk {
    /// Clears away the temporary names of earlier runs that looks came across, as the client does when it has nothing else to do.
    /// Runs to its end. Returns how many.
    pub fn tidy(&mut self) -> usize {
        let leftovers = self.with(|machine| std::mem::take(&mut machine.leftovers));
        let calls = Calls::new(self.machine.clone());
        let mut cleared = 0;
        for path in leftovers {
            let mut future: Pin<Box<dyn Future<Output = bool>>> = Box::pin(clear_away(calls.clone(), path));
            while let Progress::Going = poll(&mut future, &mut cleared) {}
        }
        cleared
    }
}

fn poll(future: &mut Pin<Box<dyn Future<Output = bool>>>, cleared: &mut usize) -> Progress<()> {
    match future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Pending => Progress::Going,
        Poll::Ready(done) => {
            *cleared += usize::from(done);
            Progress::Done(())
        }
    }
}

async fn clear_away(calls: Calls, path: ItemPath) -> bool {
    let Some((folder, name)) = path.split() else { return false };
    let Ok(root) = calls.open_root().await else { return false };
    let handle = match calls.open_folder(&root, &folder).await {
        Ok(handle) => handle,
        Err(OpenFolderError::Gone | OpenFolderError::Refused(_)) => return false,
    };
    if name.as_str().starts_with(&format!("{OWN_PREFIX}new-")) {
        return calls.unlink(&handle, name).await.is_ok();
    }
    calls.copy_to_trash(&path, Why::Deleted, &handle, name).await.is_ok()
}
